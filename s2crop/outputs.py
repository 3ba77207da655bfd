"""Name the outputs before anything is decoded, encode them, and write each whole or not at all."""

import io
import os
import re
import string
import unicodedata
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops

from s2crop import pixels
from s2crop.errors import OutputError
from s2crop.geometry.boxes import largest_of_ratio
from s2crop.geometry.ratio import Ratio
from s2crop.inputs import Kind, Picture, Source, decoder_scale

FORMATS = ("same", "jpg", "png", "webp", "avif")
DEFAULT_TEMPLATE = "{stem}{cover}_{ratio}{rank}"
OVERLAY = "overlay", 0  # stands in a plan, where crops have (ratio label, rank), for the input with their boxes
HEATMAP = "heatmap", 0  # likewise for the input with what its scores rest on
FRAME = "frame", 0  # likewise for the whole frame of a cover
Plan = dict[tuple, Path]  # (ratio label, rank) -> output; in clips (ratio label, rank, cover)
PNG_LEVEL = 3  # of 9: photos take 40 % of the time of Pillow's 6 and are no larger, drawings grow by 8 %
MAX_SIDE = 65535  # pixels; what a JPEG header can hold

_FIELDS = ("stem", "cover", "ratio", "rank", "ext")
_KEPT_SUFFIXES = {  # "same" writes these formats as they are read, and every other as PNG
    ".jpg": ".jpg", ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".mpo": ".jpg",
    ".png": ".png", ".webp": ".webp", ".avif": ".avif",
}  # fmt: skip
_ENCODERS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".avif": "AVIF"}
_JPEG_END = b"\xff\xd9"
_LIKELY_SIDE = 0.84  # of the largest box of its ratio; 98 of 100 crops of 365 photos at three ratios were no smaller
_DIGITS = r"([0-9]{1,6})"
_SIZE = re.compile(f"(?=.){_DIGITS}?(?:x{_DIGITS})?")


@dataclass(frozen=True)
class Size:
    """An exact output size in pixels; what is None follows from the ratio of the crop."""

    width: int | None
    height: int | None


def parse_size(text: str) -> Size:
    """Read `640` (width), `x360` (height) or `640x360`.

    Raises:
        ValueError: anything else, or a side that is not 1 to 65535.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"not a size: {text!r} (like 640, x360, 640x360)")
    width, height = (int(side) if side else None for side in match.groups())
    if not all(1 <= side <= MAX_SIDE for side in (width, height) if side is not None):
        raise ValueError(f"size out of range: {text!r} (sides of 1 to {MAX_SIDE} pixels)")
    return Size(width, height)


def output_size(
    box: tuple[int, int, int, int], size: Size | None, no_upscale: bool, ratio: Ratio | None = None
) -> tuple[int, int] | None:
    """The exact (width, height) of a crop's output; None where the crop stays as it is.

    Args:
        box: the crop, in pixels.
        size: what was asked for, if anything.
        no_upscale: leave a crop as it is that would have to grow in either direction.
        ratio: what was asked for; a side that `size` leaves open follows from it, or else from the box.
    Raises:
        OutputError: a side that follows from the ratio is longer than a file can hold.
    """
    if size is None:
        return None
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    aspect = (ratio.value if ratio else None) or box_width / box_height
    width = size.width or max(1, round(size.height * aspect))
    height = size.height or max(1, round(size.width / aspect))
    if no_upscale and (width > box_width or height > box_height):
        return None
    if max(width, height) > MAX_SIDE:
        raise OutputError(f"{width}x{height} is too large to write")
    return width, height


def suffix_for_name(name: str, fmt: str, circle: bool) -> str:
    """The suffix of the outputs of a picture of this name.

    "same" keeps JPEG, PNG, WebP and AVIF, and turns the rest, standard input included, into PNG, which loses
    nothing; covers of clips are named "x.jpg". A circle under "same" is never a JPEG, which has no transparency.
    """
    suffix = _KEPT_SUFFIXES.get(Path(name).suffix.lower(), ".png") if fmt == "same" else f".{fmt}"
    return ".png" if circle and fmt == "same" and suffix == ".jpg" else suffix


def output_suffix(source_format: str | None, fmt: str, circle: bool) -> str:
    """The same for an input whose format (Pillow's name) is known: for outputs that have no name."""
    return suffix_for_name(f"x.{source_format or ''}", fmt, circle)


def plan_names(
    sources: Sequence[Source],
    ratios: Sequence[Ratio],
    top: int,
    *,
    template: str = DEFAULT_TEMPLATE,
    folder: Path,
    fmt: str,
    circle: bool,
    overlay: bool = False,
    heatmap: bool = False,
    covers: int = 1,
    keep_frames: bool = False,
) -> list[Plan]:
    """Give each crop of each source a path of its own, which depends on the names of all sources only.

    Where two inputs would share a path, also on a file system that does not tell case or Unicode forms apart,
    the later one gets its extension in the stem ("a_png_16x9.jpg"), or else a number ("a_2_16x9.jpg").

    Args:
        template: of the name below `folder`, without suffix; {stem}, {cover} (empty for pictures), {ratio},
            {rank} (empty if `top` is 1) and {ext} are filled in, and `/` makes folders.
        overlay, heatmap: name a JPEG for these too, under OVERLAY and HEATMAP.
        covers: how many each clip has.
        keep_frames: name the whole frames of covers too, "{stem}{cover}", under FRAME.
    Returns:
        For each source its paths by (ratio label, rank), for clips by (ratio label, rank, cover from 1).
    Raises:
        ValueError: a template with another field, without {ratio}, {rank} or {cover} where it takes them to tell
            crops apart, or whose names are empty or lie outside `folder`.
    """
    fields = _check_template(template)
    crops = list(dict.fromkeys((ratio, rank) for ratio in ratios for rank in range(1, top + 1)))
    taken: set[str] = set()
    next_number: dict[str, int] = {}
    plans = []
    for source in sources:
        place = folder / source.relative.parent
        for tag in _tags(source, next_number):
            plan = {}
            for cover in _covers(source, covers):
                word, end = ("", ()) if cover is None else (f"_cover{cover}", (cover,))
                name = source.relative.name if cover is None else "x.jpg"
                suffix = suffix_for_name(name, fmt, circle)
                for ratio, rank in crops:
                    name = _fill(template, fields, source, tag, word, ratio, f"_{rank}" if top > 1 else "")
                    plan[ratio.label, rank, *end] = place / f"{name}{suffix}"
                for key in [OVERLAY] * overlay + [HEATMAP] * heatmap:
                    name = _fill(template, fields, source, tag, word, Ratio(key[0], None), "")
                    plan[*key, *end] = place / f"{name}{'' if 'ratio' in fields else f'_{key[0]}'}.jpg"
                if keep_frames and cover is not None:
                    name = _fill("{stem}{cover}", {"stem"}, source, tag, word, ratio, "")
                    plan[*FRAME, *end] = place / f"{name}{suffix_for_name('x.jpg', fmt, False)}"
            keys = {_key(path) for path in plan.values()}
            if len(keys) < len(plan):
                missing = "{ratio}, {rank} or {cover}" if source.kind != Kind.PICTURE else "{ratio} or {rank}"
                raise ValueError(f"{template!r} gives crops of one input the same name: add {missing}")
            if not keys & taken:
                break
        taken |= keys
        plans.append(plan)
    return plans


def part_of_plan(plan: Plan, cover: int | None) -> Plan:
    """What is planned for one cover of a clip, or for a picture, by (ratio label, rank)."""
    end = () if cover is None else (cover,)
    return {key[:2]: path for key, path in plan.items() if key[2:] == end}


def likely_scale(picture: Picture, ratios: Mapping[str, Ratio], size: Size | None, no_upscale: bool) -> int:
    """How many times smaller the JPEG decoder may make a picture for the crops that are likely.

    Args:
        ratios: by their labels.
    """
    boxes = []
    for label, ratio in ratios.items():
        aspect = ratio.for_size(picture.width, picture.height) or picture.width / picture.height
        sides = largest_of_ratio(aspect, picture.width, picture.height)
        boxes.append((label, (0, 0, *(max(1, round(side * _LIKELY_SIDE)) for side in sides))))
    return needed_scale(boxes, ratios, size, no_upscale)


def needed_scale(
    boxes: Sequence[tuple[str, tuple[int, int, int, int]]], ratios: Mapping[str, Ratio], size: Size | None, no_upscale: bool
) -> int:
    """How many times smaller the JPEG decoder may make a picture for crops with these labels of ratios."""
    scales = []
    for label, box in boxes:
        box_wh = box[2] - box[0], box[3] - box[1]
        try:
            size_wh = output_size(box, size, no_upscale, ratios[label])
        except OutputError:  # too long; what becomes of the crop itself will tell
            size_wh = None
        scales.append(decoder_scale(box_wh, size_wh or box_wh))
    return min(scales, default=1)


def encode(image: Image.Image, fmt_suffix: str, quality: int, *, circle: bool = False) -> bytes:
    """The image as the bytes of a file; its colour profile (`.info["icc_profile"]`) goes along.

    JPEG lays transparency on white and keeps CMYK; PNG keeps 16-bit grey; WebP and AVIF take 8-bit RGB, which
    CMYK, and grey with a grey profile, are turned into by way of sRGB.

    Args:
        fmt_suffix: ".jpg", ".png", ".webp" or ".avif".
        quality: 1 to 100; PNG has none.
        circle: make what lies outside the inscribed circle transparent.
    Raises:
        OutputError: the format cannot hold the image.
        ValueError: an unknown suffix, or a circle as JPEG.
    """
    encoder = _ENCODERS.get(fmt_suffix.lower())
    if encoder is None or (circle and encoder == "JPEG"):
        raise ValueError(f"cannot write {'a circle' if circle else 'pictures'} as {fmt_suffix!r}")
    image = pixels.natural(image)
    if circle:
        image = _cut_circle(image)
    options: dict[str, object] = {"quality": quality}
    if encoder == "JPEG":
        image = pixels.on_white(pixels.eight_bit(image))
        # At this quality half-resolution colour would be what is seen first, above all in lettering.
        options |= {"subsampling": "4:4:4" if quality >= 95 else "4:2:0"}
    elif encoder == "PNG":
        image = pixels.to_srgb(image) if image.mode == "CMYK" else image
        options = {"compress_level": PNG_LEVEL}
    else:
        image = _as_colour(pixels.eight_bit(image))
    try:
        with _file_in_memory(encoder) as file:
            image.save(file, encoder, icc_profile=image.info.get("icc_profile"), **options)
            file.seek(0)
            data = file.read()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise OutputError(f"cannot write {image.width}x{image.height} as {encoder}: {error}") from error
    if encoder == "JPEG" and not data.endswith(_JPEG_END):  # Pillow does not look at how much of it was written
        raise OutputError(f"cannot write {image.width}x{image.height} as JPEG: out of memory")
    return data


def _file_in_memory(encoder: str) -> BinaryIO:
    """Where a picture is encoded to. Pillow lets other threads run while it encodes JPEG into a file that the system knows."""
    if encoder == "JPEG" and hasattr(os, "memfd_create"):
        return open(os.memfd_create("s2crop"), "w+b")
    return io.BytesIO()


def write_atomic(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    protected: Collection[Path] = (),
    folder: Path | None = None,
) -> bool:
    """Write a file whole or not at all, whatever happens meanwhile; its parent folders are made.

    Args:
        overwrite: replace a file that exists.
        protected: resolved paths that are never written: the inputs.
        folder: where the path must lie once its links are followed.
    Returns:
        False if the file exists and was left as it is.
    Raises:
        OutputError: the path is protected, taken by a folder, outside `folder` or cannot be written.
    """
    if _real(path) in protected:
        raise OutputError(f"{path} is an input; inputs are never overwritten")
    if folder is not None and not _real(path.parent).is_relative_to(_real(folder)):
        raise OutputError(f"{path} leads outside of {folder} by a link")
    if os.path.isdir(path):
        raise OutputError(f"cannot write {path}: a folder is in the way")
    if not overwrite and os.path.lexists(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = None if overwrite else _write_unnamed(path, data)
        return _write_named(path, data, overwrite) if written is None else written
    except OSError as error:
        raise OutputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def _write_unnamed(path: Path, data: bytes) -> bool | None:
    """Write a file that has no name until it is whole, so that a run that is killed leaves nothing behind.

    Returns:
        False if another file has the name; None where the system knows no such files.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # the file system has none; what else is wrong shows when a named file is written
        return None
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        try:
            # With a folder's descriptor given, which an absolute path makes no use of, Python lets links be followed.
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
        except FileExistsError:
            return False
        except OSError:  # no /proc, or no links
            return None
    return True


def _write_named(path: Path, data: bytes, overwrite: bool) -> bool:
    """Write a file under a name of its own, then give it the one it is to have."""
    temporary = path.parent / f".s2crop-{uuid.uuid4().hex}.tmp"
    try:
        if not _write_unnamed(temporary, data):
            with open(temporary, "xb") as file:
                file.write(data)
        if not overwrite:
            return _link(temporary, path)
        os.replace(temporary, path)
        return True
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve it takes loops of links


def _link(temporary: Path, path: Path) -> bool:
    """Give a finished file its name, unless another has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: take the name first, then put the file there
        try:
            open(path, "xb").close()
        except FileExistsError:
            return False
        try:
            os.replace(temporary, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return True


def _check_template(template: str) -> set[str]:
    """The fields of a template; ValueError where it cannot give names inside a folder."""
    fields = set()
    try:
        for _, field, spec, conversion in string.Formatter().parse(template):
            if field is not None:
                fields.add(field)
                if field not in _FIELDS or spec or conversion:
                    raise ValueError(f"unknown field {{{field}}}")
    except ValueError as error:
        known = " ".join(f"{{{field}}}" for field in _FIELDS)
        raise ValueError(f"bad template {template!r}: {error} (known: {known})") from None
    for kind in (PurePosixPath, PureWindowsPath):  # one template means the same everywhere
        if kind(template).anchor or ".." in kind(template).parts or "\0" in template:
            raise ValueError(f"{template!r} leads outside of the output folder")
    return fields


def _tags(source: Source, next_number: dict[str, int]) -> Iterator[str]:
    """What to tell a name apart by, until one is free: nothing, the extension, numbers from 2."""
    yield ""
    if extension := source.relative.suffix[1:]:
        yield f"_{extension}"
    # Numbers go on from the last that was tried: many inputs of one name stay cheap.
    key = _key(source.relative.parent / source.relative.stem)
    while True:
        next_number[key] = next_number.get(key, 1) + 1
        yield f"_{next_number[key]}"


def _covers(source: Source, count: int) -> list[int | None]:
    """Numbers of the covers of a source, from 1; None stands for the source as a picture."""
    as_picture = [None] if source.kind != Kind.CLIP else []
    return as_picture + (list(range(1, count + 1)) if source.kind != Kind.PICTURE else [])


def _fill(
    template: str, fields: set[str], source: Source, tag: str, cover: str, ratio: Ratio, rank: str
) -> PurePosixPath:
    stem, extension = source.relative.stem, source.relative.suffix[1:]
    name = template.format(stem=stem + tag, cover=cover, ratio=ratio.file_label, rank=rank, ext=extension)
    if "stem" not in fields:
        name += tag
    path = PurePosixPath(name)
    last = name.rpartition("/")[2]
    if path.is_absolute() or ".." in path.parts or not last.strip("."):
        raise ValueError(f"{template!r} gives {source.name} no name inside the output folder: {name!r}")
    return path


def _key(path: Path) -> str:
    """Equal for paths that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def _as_colour(image: Image.Image) -> Image.Image:
    """RGB or RGBA, for formats that have no other modes."""
    profile = image.info.get("icc_profile") or b""
    if image.mode == "CMYK" or profile[16:20] == b"GRAY":  # the colour space that a profile is made for
        return pixels.to_srgb(image)
    return image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")


def _cut_circle(image: Image.Image) -> Image.Image:
    """L or RGB with an alpha that ends, over one pixel, at the inscribed circle; nothing is left outside."""
    image = pixels.to_srgb(image) if image.mode == "CMYK" else pixels.eight_bit(image)
    width, height = image.size
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    distance = np.hypot(x[None, :], y[:, None], dtype=np.float32)  # of pixel centres from the middle
    coverage = (min(width, height) / 2 + 0.5 - distance).clip(0, 1)
    mask = Image.fromarray(np.rint(coverage * 255).astype(np.uint8))
    if image.mode in ("LA", "RGBA"):
        mask = ImageChops.multiply(mask, image.getchannel("A"))
    colours = image.convert("L" if image.mode in ("L", "LA") else "RGB")
    cut = Image.new(colours.mode, image.size)
    cut.paste(colours, mask=mask.point(lambda alpha: 255 if alpha else 0))
    cut.putalpha(mask)
    cut.info = dict(image.info)
    return cut
