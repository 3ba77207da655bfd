"""Pixel modes and colour profiles: what a file's pixels become before they are looked at or written."""

import io

import numpy as np
from PIL import Image, ImageCms


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
            colours = ImageCms.profileToProfile(colours, source, srgb, outputMode="RGB") or colours
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


def resized(image: Image.Image, size_wh: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """A box of the image resized with a Lanczos filter (three lobes, widened where it shrinks).

    Pillow's, as torch has none in its older versions and another one in the newer.
    """
    gap = None if image.mode == "I;16" else 3.0  # Pillow takes the short cut in 8 bits only
    return image.resize(size_wh, Image.Resampling.LANCZOS, box, gap)
