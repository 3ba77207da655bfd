"""Pixel modes and colour profiles: what a file's pixels become before they are looked at or written."""

import io

import numpy as np
from PIL import Image, ImageCms, ImageColor

LARGE_PROFILE_BYTES = 16 << 10  # of cameras and screens they have 0.5 to 4 kB, of printers 500 and more
WEB_SIDE = 2560  # pixels: of what is shown on pages; larger outputs are for print and archives
_AS_GOOD_AS_WHITE = 215  # of 255: lighter than this can hardly be told from white


def natural(image: Image.Image) -> Image.Image:
    """The same pixels in the nearest mode that can be resized and written: L, LA, RGB, RGBA, CMYK or I;16."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _without_colour(image)
    if image.mode == "CMYK":
        return image
    if image.mode == "LAB":
        return to_srgb(image)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def _without_colour(image: Image.Image) -> Image.Image:
    """Deep grey as I;16, or as LA where one of its values stands for nothing at all (PNG)."""
    hidden = image.info.get("transparency")
    grey = sixteen_bit(image)
    if not isinstance(hidden, int):
        return grey
    alpha = Image.fromarray(np.where(np.asarray(image) == hidden, 0, 255).astype(np.uint8))
    grey = eight_bit(grey)
    made = Image.merge("LA", (grey, alpha))
    made.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return made


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


def on_ground(image: Image.Image, ground: str = "white") -> Image.Image:
    """LA or RGBA laid on a colour, as L or RGB; other modes as they are.

    Args:
        ground: as Pillow writes colours, in sRGB.
    """
    if image.mode not in ("LA", "RGBA"):
        return image
    red, green, blue = ImageColor.getrgb(ground)[:3]
    opaque = image.convert("L" if image.mode == "LA" and red == green == blue else "RGB")
    page = Image.new(opaque.mode, image.size, red if opaque.mode == "L" else (red, green, blue))
    page.paste(opaque, mask=image.getchannel("A"))
    page.info = dict(image.info)
    return page


def ground_for(image: Image.Image) -> str:
    """The ground that shows a picture best: white, or black where on white most of it would be lost."""
    if image.mode not in ("LA", "RGBA"):
        return "white"
    small = image.reduce(max(1, max(image.size) // 128)).convert("RGBA")
    values = np.asarray(small, dtype=np.float32)
    weight = values[..., 3] / 255.0
    if weight.mean() > 0.99 or not weight.any():
        return "white"
    luma = values[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    lost_on_white = float((weight * (luma > _AS_GOOD_AS_WHITE)).sum() / weight.sum())
    lost_on_black = float((weight * (luma < 255 - _AS_GOOD_AS_WHITE)).sum() / weight.sum())
    return "black" if lost_on_white > 0.5 and lost_on_black < 0.2 else "white"


def managed(image: Image.Image, policy: str) -> Image.Image:
    """The colours of an output, and the profile that goes along, under a policy.

    "keep" leaves both alone, and "srgb" makes everything sRGB. "auto" does so for outputs of up to the size of pages on
    the web where they are in CMYK, which few programs show right, or where the profile is large: those of printers can
    be ten times the picture that they come with.
    """
    profile = image.info.get("icc_profile") or b""
    if policy == "keep" or not profile and image.mode != "CMYK":
        return image
    heavy = image.mode == "CMYK" or len(profile) > LARGE_PROFILE_BYTES
    if policy == "auto" and not (heavy and max(image.size) <= WEB_SIDE):
        return image
    return to_srgb(eight_bit(image))


def rgb(image: Image.Image, ground: str = "white") -> Image.Image:
    """Any of the natural modes as opaque 8-bit RGB for looking at."""
    image = on_ground(eight_bit(image), ground)
    return to_srgb(image) if image.mode == "CMYK" else image.convert("RGB")


def for_screens(image: Image.Image, ground: str = "white") -> Image.Image:
    """Any of the natural modes as opaque 8-bit RGB in sRGB."""
    return to_srgb(on_ground(eight_bit(image), ground))
