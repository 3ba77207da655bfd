"""Names of outputs, filled in."""

import os
import string
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from s2crop.files.lengths import cut
from s2crop.files.sizes import Size, sides_of
from s2crop.files.sources import Source
from s2crop.geometry.ratio import Ratio

FRAME = "{stem}{cover}"  # of whole frames

_FIELDS = ("stem", "cover", "ratio", "rank", "ext", "width", "height", "size")
_STEM_SHARE = 0.6  # of the bytes of a name, that a stem is cut to where a name would be too long


class Template:
    """What names of outputs below a folder are made of, without suffix.

    Args:
        text: with fields to fill in.
        most_bytes: that a part of a name may have.
    Raises:
        ValueError: it has unknown fields, or leads out of the folder.
    """

    def __init__(self, text: str, most_bytes: int):
        self.text, self._most_bytes = text, most_bytes
        self.fields = set()
        try:
            for _, field, spec, conversion in string.Formatter().parse(text):
                if field is not None:
                    self.fields.add(field)
                    if field not in _FIELDS or spec or conversion:
                        raise ValueError(f"unknown field {{{field}}}")
        except ValueError as error:
            known = " ".join(f"{{{field}}}" for field in _FIELDS)
            raise ValueError(f"bad template {text!r}: {error} (known: {known})") from None
        for kind in (PurePosixPath, PureWindowsPath):  # one template means the same everywhere
            if kind(text).anchor or ".." in kind(text).parts or "\0" in text:
                raise ValueError(f"{text!r} leads outside of the output folder")

    def sides(self, ratio: Ratio, size: Size | None, exact: bool) -> dict[str, Any]:
        """The {size}, {width} and {height} of the outputs of a ratio, as far as they are among the fields.

        Args:
            exact: outputs have the size, however small the crop is.
        Raises:
            ValueError: one is not known before the crops are chosen.
        """
        known: dict[str, Any] = {"width": None, "height": None, "size": None if size is None else str(size)}
        if size and exact:
            known["width"], known["height"] = sides_of(size, ratio.value) if ratio.value else (size.width, size.height)
        wanted = {name: side for name, side in known.items() if name in self.fields}
        for name, side in wanted.items():
            if not side and name == "size":
                raise ValueError("{size} is the size that is asked for: give one")
            if not side:
                raise ValueError(
                    f"{{{name}}} of {ratio.label} crops is not known beforehand: give a size that says it, and let "
                    "crops that are smaller be enlarged"
                )
        return wanted

    def name(self, source: Source, tag: str, end: str, **values: Any) -> PurePosixPath:
        """The path of an output below the folder that mirrors its source's, none of whose parts is too long.

        Args:
            tag: what tells it from those of others; stands behind the stem.
            end: what it ends with, the suffix among it.
            values: of the fields that do not follow from the source.
        Raises:
            ValueError: the name is empty, or lies outside of the folder.
        """
        stem, most = source.relative.stem, self._most_bytes
        for part in (stem, cut(stem, int(most * _STEM_SHARE))):
            name = self._filled(source, part, tag, values)
            name = name.with_name(name.name + end)
            if all(len(os.fsencode(part)) <= most for part in name.parts):
                return name
        *folders, last = name.parts
        last = cut(last.removesuffix(end), most - len(end)) + end
        return PurePosixPath(*(cut(part, most) for part in folders), last)

    def _filled(self, source: Source, stem: str, tag: str, values: dict[str, Any]) -> PurePosixPath:
        name = self.text.format(stem=stem + tag, ext=source.relative.suffix[1:], **values)
        if "stem" not in self.fields:
            name += tag
        path = PurePosixPath(name)
        last = name.rpartition("/")[2]
        if path.is_absolute() or ".." in path.parts or not last.strip("."):
            raise ValueError(f"{self.text!r} gives {source.name} no name inside the output folder: {name!r}")
        return path
