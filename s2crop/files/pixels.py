"""Pixel modes and colour profiles: what a file's pixels become before they are looked at or written."""

import io
import sys
from functools import cache

import numpy as np
from PIL import Image, ImageCms

Raster = Image.Image | np.ndarray  # an array is uint8, [H, W] grey or [H, W, 3] RGB


def natural(image: Image.Image) -> Image.Image:
    """The same pixels in the nearest mode that can be resized and written: L, LA, RGB, RGBA, CMYK or I;16."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return sixteen_bit(image)
    if image.mode == "CMYK":
        return image
    if image.mode == "LAB":
        return to_srgb(image)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def sixteen_bit(image: Image.Image) -> Image.Image:
    """Integer, big-endian or floating-point grey as I;16; values outside 0 to 65535 are scaled to fit."""
    if image.mode == "I;16":
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0).clip(min=0.0)
    # Integers are 16-bit (PPM) or wider; floats are meant for 0 to 1, 0 to 255 or 0 to 65535.
    usual_tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    highest = values.max()
    top = next((top for top in usual_tops if highest <= top), highest)
    grey = Image.fromarray(np.rint(values * (65535.0 / top)).astype(np.uint16))
    grey.info = dict(image.info)
    return grey


def eight_bit(image: Image.Image) -> Image.Image:
    """I;16 as L, each value rounded to the nearest of 256; other modes as they are."""
    if image.mode != "I;16":
        return image
    values = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 / 255 = 257
    grey.info = dict(image.info)
    return grey


def to_srgb(image: Image.Image) -> Image.Image:
    """CMYK, grey, LAB or RGB as RGB in sRGB, through its own profile if it has a usable one; alpha is kept."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode[:-1]) if alpha else image
    profile = image.info.get("icc_profile")
    if profile or colours.mode == "LAB":
        try:
            source = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
            srgb = ImageCms.createProfile("sRGB")
            colours = ImageCms.profileToProfile(colours, source, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # the profile is damaged or made for another mode: the plain conversion is what is left
    colours = colours.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    colours.info.pop("icc_profile", None)
    return colours


def on_white(image: Image.Image) -> Image.Image:
    """LA or RGBA laid on white, as L or RGB; other modes as they are."""
    if image.mode not in ("LA", "RGBA"):
        return image
    opaque = image.convert(image.mode[:-1])
    page = Image.new(opaque.mode, image.size, "white")
    page.paste(opaque, mask=image.getchannel("A"))
    page.info = dict(image.info)
    return page


def rgb(image: Image.Image) -> Image.Image:
    """Any of the natural modes as opaque 8-bit RGB for looking at."""
    image = on_white(eight_bit(image))
    return to_srgb(image) if image.mode == "CMYK" else image.convert("RGB")


def for_screens(image: Image.Image) -> Image.Image:
    """Any of the natural modes as opaque 8-bit RGB in sRGB."""
    return to_srgb(on_white(eight_bit(image)))


def for_resizing(image: Raster) -> Raster:
    """The same pixels as `resized` cuts and resizes them fastest several times."""
    if isinstance(image, Image.Image) and image.mode in ("L", "RGB") and _torch_resizes():
        return np.array(image)
    return image


def cut(image: Raster, box: tuple[int, int, int, int]) -> Image.Image:
    """A box of whole pixels."""
    if isinstance(image, Image.Image):
        return image.crop(box)
    x1, y1, x2, y2 = box
    return Image.fromarray(image[y1:y2, x1:x2])


def resized(image: Raster, size_wh: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """A box of the image resized with a Lanczos filter (three lobes, widened where it shrinks).

    An array's box is rounded to whole pixels.
    """
    if isinstance(image, Image.Image):
        gap = None if image.mode == "I;16" else 3.0  # Pillow takes the short cut in 8 bits only
        return image.resize(size_wh, Image.Resampling.LANCZOS, box, gap)
    height, width = image.shape[:2]
    x1, y1 = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    x2, y2 = max(round(box[2]), x1 + 1), max(round(box[3]), y1 + 1)
    return Image.fromarray(_torch_resized(image[y1:y2, x1:x2], size_wh))


def _torch_resizes() -> bool:
    """Whether torch, some six times as fast as Pillow, can resize: it is loaded (that takes seconds) and not too old."""
    return "torch" in sys.modules and _torch_has_lanczos()


@cache
def _torch_has_lanczos() -> bool:
    try:
        _torch_resized(np.zeros((2, 2, 3), np.uint8), (1, 1))
    except (ValueError, NotImplementedError, RuntimeError):
        return False
    return True


def _torch_resized(image: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    import torch

    tensor = torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(tensor, size_wh[::-1], mode="lanczos", antialias=True)
    made = made[0].permute(1, 2, 0).numpy()
    return made if image.ndim == 3 else made[..., 0]
