"""The one table of formats: what is read, what is written, and the suffixes of their files.

Every list of formats or suffixes elsewhere derives from `TABLE`; what else a format needs to be written stands in
`files.encode`. Nothing that takes long to import is imported here, as the command's help needs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from s2crop.files.sniff import RAW

SAME = "same"  # the choice of an output format that keeps the input's


class Kind(Enum):
    """What an input is, going by its name."""

    PICTURE = "picture"
    CLIP = "clip"
    EITHER = "either"  # a clip if it is animated, else a picture


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str  # in messages
    suffixes: tuple[str, ...]
    holds: Kind = Kind.PICTURE  # EITHER counts where covers are asked for; a PICTURE otherwise
    pillow: str | None = None  # Pillow's name for it; None where Pillow does not read it
    writes: tuple[str, ...] = ()  # suffixes that outputs may have; the first, without its dot, is the choice of -f
    lossy: bool = False  # has a quality
    alpha: bool = False  # outputs hold transparency
    max_side: int | None = None  # pixels of an output that the encoder takes
    walked: bool = True  # found in folders, not by name only
    same: str | None = None  # suffix that SAME writes where this format is not written; None: PNG, which loses nothing

    @property
    def choice(self) -> str:
        """What users call it as an output format."""
        return self.writes[0][1:]


def _split(suffixes: str) -> tuple[str, ...]:
    return tuple(suffixes.split())


# Raster formats only: nothing here starts another program (EPS) or reads a drawing (WMF). Pictures stand in the order
# in which Pillow tries them, outputs in the order in which they are offered.
TABLE = (
    Format(
        "JPEG",
        _split(".jpg .jpeg .jpe .jfif .mpo .jpg_large .jpg_orig"),
        pillow="JPEG",
        writes=(".jpg", ".jpeg"),
        lossy=True,
        max_side=65500,  # JPEG_MAX_DIMENSION of libjpeg
    ),
    Format("PNG", _split(".png .apng"), Kind.EITHER, pillow="PNG", writes=(".png",), alpha=True),
    Format(
        "WebP",
        (".webp",),
        Kind.EITHER,
        pillow="WEBP",
        writes=(".webp",),
        lossy=True,
        alpha=True,
        max_side=16383,  # WEBP_MAX_DIMENSION of libwebp
    ),
    Format(
        "AVIF",
        _split(".avif .avifs"),
        Kind.EITHER,
        pillow="AVIF",
        writes=(".avif",),
        lossy=True,
        alpha=True,
        max_side=65536,  # what the header of AV1 can hold
    ),
    Format("GIF", (".gif",), Kind.EITHER, pillow="GIF"),
    Format("BMP", _split(".bmp .dib"), pillow="BMP"),
    Format("TIFF", _split(".tif .tiff"), pillow="TIFF"),
    Format("Netpbm", _split(".ppm .pgm .pbm .pnm .pfm"), pillow="PPM"),
    Format("JPEG 2000", _split(".jp2 .j2k .jpx"), pillow="JPEG2000"),
    Format("QOI", (".qoi",), pillow="QOI"),
    Format("HEIC", _split(".heic .heif .hif .heics .heifs"), Kind.EITHER, pillow="HEIF", same=".jpg"),
    Format("JPEG XL", (".jxl",), pillow="JXL"),
    Format(
        RAW,  # of which the JPEG in it is read
        _split(".cr2 .cr3 .nef .nrw .arw .sr2 .dng .orf .rw2 .raf .pef .srw .3fr .iiq .erf .mef .mos .rwl"),
        same=".jpg",
    ),
    Format(
        "video",
        _split(
            ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg"
            " .mts .mxf .nut .ogm .ogv .rm .rmvb .vob .webm .wmv .wtv .y4m"
        ),
        Kind.CLIP,
    ),
    # A name that far more often means TypeScript.
    Format("MPEG transport stream", (".ts",), Kind.CLIP, walked=False),
)

_BY_SUFFIX = {suffix: row for row in TABLE for suffix in row.suffixes}
_BY_PILLOW = {row.pillow: row for row in TABLE if row.pillow}
_BY_OUTPUT = {suffix: row for row in TABLE for suffix in row.writes}
_PNG = _BY_SUFFIX[".png"]
_RAW = next(row for row in TABLE if row.name == RAW)

PILLOW_FORMATS = tuple(_BY_PILLOW)  # that may be opened
VIDEO_SUFFIXES = frozenset(suffix for suffix, row in _BY_SUFFIX.items() if row.holds is Kind.CLIP)
WRITTEN = tuple(row for row in TABLE if row.writes)
FORMATS = (SAME, *(row.choice for row in WRITTEN))  # what -f takes
ALPHA_FORMATS = tuple(row.choice for row in WRITTEN if row.alpha)  # of these, those for circles
# Suffixes that make an output path a file, whether or not that format is written.
FILE_SUFFIXES = frozenset(s for s, row in _BY_SUFFIX.items() if row.holds is not Kind.CLIP and row.walked)


def format_of_name(name: str | Path) -> Format | None:
    """The format of a file with this name; None for a suffix that is not known."""
    return _BY_SUFFIX.get(Path(name).suffix.lower())


def format_of_content(kind: str) -> Format | None:
    """The format that `sniff` found in a file; None for clips and raw files."""
    return _BY_PILLOW.get(kind)


def format_to_write(suffix: str) -> Format | None:
    """The format of an output with this suffix; None where there is none."""
    return _BY_OUTPUT.get(suffix.lower())


def can_hold_circles(fmt: str) -> bool:
    """Whether an output format, "same" among them, has transparency for what lies outside of a circle."""
    return fmt == SAME or fmt in ALPHA_FORMATS


def suffix_for_name(name: str, fmt: str, circle: bool, inside: str | None = None) -> str:
    """The suffix of the outputs of a picture of this name.

    "same" keeps the formats that are written, turns photos of telephones and cameras in others (HEIC, raw) into JPEG,
    and the rest into PNG, which loses nothing; covers of clips are named "x.jpg". A circle, or what else needs
    transparency, is a PNG under "same" where the format has none.

    Args:
        inside: what the first bytes say, as `sniff` does; the name counts where they don't tell, and of raw files,
            many of which begin as a TIFF.
    """
    named = format_of_name(name)
    if inside == RAW or named is not None and (inside, named.name) == ("TIFF", RAW):
        return _suffix(_RAW, fmt, circle)
    return _suffix(format_of_content(inside or "") or named, fmt, circle)


def output_suffix(source_format: str | None, fmt: str, circle: bool) -> str:
    """The same for an input whose format (Pillow's name) is known: for outputs that have no name."""
    return _suffix(_BY_PILLOW.get(source_format or ""), fmt, circle)


def either(choices: Iterable[str]) -> str:
    """ "jpg, png or webp" """
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _suffix(source: Format | None, fmt: str, circle: bool) -> str:
    if fmt != SAME:
        return f".{fmt}"
    kept = source if source is not None and source.writes else _PNG
    if source is not None and source.same:
        kept = _BY_OUTPUT[source.same]
    return (kept if kept.alpha or not circle else _PNG).writes[0]
