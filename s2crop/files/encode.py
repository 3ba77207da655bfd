"""Encode pictures as the bytes of files."""

import io
import os
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageChops

from s2crop.errors import OutputError
from s2crop.files import metadata, pixels
from s2crop.files.formats import format_to_write
from s2crop.files.metadata import Metadata

PNG_LEVEL = 3  # of 9: photos take 40 % of the time of Pillow's 6 and are no larger, drawings grow by 8 %
_JPEG_END = b"\xff\xd9"


def encode(
    image: Image.Image,
    fmt_suffix: str,
    quality: int,
    *,
    circle: bool = False,
    colour: str = "keep",
    ground: str = "white",
    kept: Metadata = Metadata(),
    software: str = "",
) -> bytes:
    """The image as the bytes of a file; its colour profile (`.info["icc_profile"]`) goes along.

    JPEG lays transparency on a ground and keeps CMYK; PNG keeps 16-bit grey; WebP and AVIF take 8-bit RGB, which
    CMYK, and grey with a grey profile, are turned into by way of sRGB.

    Args:
        fmt_suffix: one that outputs may have, like ".jpg".
        quality: 1 to 100; PNG has none.
        circle: make what lies outside the inscribed circle transparent.
        colour: what becomes of the profile: see `pixels.managed`.
        ground: the colour that JPEG lays transparency on.
        kept: metadata for the file, from `metadata.kept`.
        software: what made it, in ASCII: a mark of `files.marks`; it takes the place of what `kept` says of that.
    Raises:
        OutputError: the format cannot hold the image.
        ValueError: an unknown suffix, or a circle in a format without transparency.
    """
    fmt = format_to_write(fmt_suffix)
    if fmt is None or (circle and not fmt.alpha):
        raise ValueError(f"cannot write {'a circle' if circle else 'pictures'} as {fmt_suffix!r}")
    image = pixels.managed(pixels.natural(image), colour)
    if circle:
        image = _cut_circle(image)
    check_size(image.size, fmt_suffix)
    encoder = fmt.pillow or ""
    options: dict[str, Any] = {"quality": quality} if fmt.lossy else {}
    if encoder == "JPEG":
        image = pixels.on_ground(pixels.eight_bit(image), ground)
        # At this quality half-resolution colour would be what is seen first, above all in lettering.
        options |= {"subsampling": "4:4:4" if quality >= 95 else "4:2:0"}
    elif encoder == "PNG":
        image = pixels.to_srgb(image) if image.mode == "CMYK" else image
        options |= {"compress_level": PNG_LEVEL}
    else:
        image = _as_colour(pixels.eight_bit(image))
    if software:
        kept = metadata.with_software(kept, software, encoder)
    options |= metadata.save_options(kept, encoder, software)
    try:
        with _file_in_memory(encoder) as file:
            image.save(file, encoder, icc_profile=image.info.get("icc_profile"), **options)
            file.seek(0)
            data = file.read()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise OutputError(f"cannot write {image.width}x{image.height} as {encoder}: {error}") from error
    if encoder == "JPEG" and not data.endswith(_JPEG_END):  # Pillow does not look at how much of it was written
        raise OutputError(f"cannot write {image.width}x{image.height} as JPEG: out of memory")
    return metadata.with_segments(data, kept) if encoder == "JPEG" else data


def check_size(size_wh: tuple[int, int], fmt_suffix: str) -> None:
    """Whether a format holds pictures of this size; what else one cannot hold shows when it is encoded.

    Args:
        fmt_suffix: as for `encode`.
    Raises:
        OutputError: it does not.
    """
    fmt = format_to_write(fmt_suffix)
    if fmt is not None and fmt.max_side is not None and max(size_wh) > fmt.max_side:
        what = f"{size_wh[0]}x{size_wh[1]}"
        raise OutputError(f"{what} is too large to write as {fmt.name}: a side has {fmt.max_side} pixels at most")


def _file_in_memory(encoder: str) -> BinaryIO:
    """Where a picture is encoded to. Pillow lets other threads run while it encodes JPEG into a file that the system
    knows.
    """
    if encoder == "JPEG" and hasattr(os, "memfd_create"):
        return open(os.memfd_create("s2crop"), "w+b")
    return io.BytesIO()


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
