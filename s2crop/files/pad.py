"""Pictures filled up to a ratio: what lies around a crop that does not have it."""

import io

import numpy as np
from PIL import Image, ImageCms, ImageColor

from s2crop.files import pixels
from s2crop.files.picture import Picture
from s2crop.files.sizes import Layout
from s2crop.geometry.pads import Pads

BLUR, EDGE, TRANSPARENT = "blur", "edge", "transparent"
SMALL_SIDE = 96  # pixels of the longer side at which a blurred picture is made; nothing finer is left in it
BLUR_FRAC = 0.05  # of that side: sigma
BRIGHTNESS = 0.72  # of a blurred picture, so that what it surrounds stands out
BORDER_FRAC = 0.01  # of a side: thickness of the border that is stretched
PLAIN = 6.0  # of 255: a border whose values differ less (standard deviation) is one colour


def checked(fill: str) -> str:
    """A fill that `padded` knows.

    Raises:
        ValueError: it is none.
    """
    if fill not in (BLUR, EDGE, TRANSPARENT):
        try:
            colour = ImageColor.getrgb(fill)
        except ValueError:
            raise ValueError(f"pads are filled with {BLUR}, {EDGE}, {TRANSPARENT} or a colour, not {fill!r}") from None
        if len(colour) > 3 and colour[3] < 255:
            raise ValueError(f"{fill!r} is transparent itself; {TRANSPARENT!r} fills pads with nothing")
    return fill


def cut(picture: Picture, box: tuple[int, int, int, int], layout: Layout, fill: str = BLUR) -> Image.Image:
    """A box of a picture, resized and filled up as a layout says.

    Raises:
        InputError: the file is damaged, or changed since it was opened.
    """
    image = picture.crop(box, layout.content_wh)
    return image if layout.padded is None else padded(image, layout.padded, fill)


def padded(image: Image.Image, pads: Pads, fill: str = BLUR) -> Image.Image:
    """A picture with pads around it, in its own mode and colours as far as these can hold the fill.

    Args:
        image: L, LA, RGB, RGBA, CMYK or I;16, its profile in `.info`.
        pads: left, top, right and bottom, in pixels of the image.
        fill: "blur": the picture itself, enlarged, blurred and dimmed, clear where parts of it are, or the colour of
            its borders where those are plain. "edge": the
            colour of each border, or its pixels stretched where they differ. "transparent". Or a colour in sRGB as
            Pillow writes colours, on which what is transparent in the picture lies too.
    """
    left, top, right, bottom = pads
    size_wh = left + image.width + right, top + image.height + bottom
    if fill == BLUR and _is_clear(image):
        fill = TRANSPARENT
    if fill == BLUR and _is_plain(image, pads):
        fill = EDGE  # a ground goes on as it is
    if fill == TRANSPARENT:
        image = _with_alpha(image)
        page = Image.new(image.mode, size_wh)
    elif fill == EDGE:
        return _stretched(image, pads)
    elif fill == BLUR:
        page = _blurred(image, size_wh)
    else:
        image, colour = _in_colours_of(pixels.on_ground(image, fill), fill)
        page = Image.new(image.mode, size_wh, colour)
    page.paste(image, (left, top))
    page.info = dict(image.info)
    return page


def _is_clear(image: Image.Image) -> bool:
    return image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() != (255, 255)


def _is_plain(image: Image.Image, pads: Pads) -> bool:
    """Whether each border that has a pad is of one colour."""
    (width, height), (across, down) = image.size, (max(1, round(BORDER_FRAC * side)) for side in image.size)
    left, upper = (0, 0, across, height), (0, 0, width, down)
    right, lower = (width - across, 0, width, height), (0, height - down, width, height)
    sizes = ((1, height), (width, 1)) * 2
    return all(
        _line(image, box, size_wh)[1]
        for pad, box, size_wh in zip(pads, (left, upper, right, lower), sizes, strict=True)
        if pad
    )


def _with_alpha(image: Image.Image) -> Image.Image:
    """The picture as LA or RGBA."""
    if image.mode in ("LA", "RGBA"):
        return image
    image = pixels.to_srgb(image) if image.mode == "CMYK" else pixels.eight_bit(image)
    made = image.convert("LA" if image.mode == "L" else "RGBA")
    made.info = dict(image.info)
    return made


def _in_colours_of(image: Image.Image, colour: str) -> tuple[Image.Image, tuple[int, ...] | int]:
    """A picture in a mode that holds a colour, and the colour in that mode and under the picture's profile.

    Where the profile cannot be turned round, as some of scanners and printers cannot, the picture becomes sRGB.
    """
    rgb = ImageColor.getrgb(colour)[:3]
    if len(set(rgb)) > 1 and image.mode in ("L", "I;16"):
        image = pixels.to_srgb(pixels.eight_bit(image))
    swatch, profile = Image.new("RGB", (1, 1), rgb), image.info.get("icc_profile")
    mode = "L" if image.mode == "I;16" else image.mode
    if profile:
        try:
            source, target = ImageCms.createProfile("sRGB"), io.BytesIO(profile)
            swatch = ImageCms.profileToProfile(swatch, source, target, outputMode=mode) or swatch
        except (ImageCms.PyCMSError, OSError):
            image = pixels.to_srgb(pixels.eight_bit(image))
            mode = image.mode
    value = swatch.convert(mode).getpixel((0, 0))
    assert isinstance(value, (int, tuple))
    return image, value * 257 if image.mode == "I;16" and isinstance(value, int) else value


def _blurred(image: Image.Image, size_wh: tuple[int, int]) -> Image.Image:
    """The picture enlarged so that it covers a page, blurred and dimmed."""
    scale = min(1.0, SMALL_SIDE / max(size_wh))
    small_wh = max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))
    enlarged = max(size_wh[0] / image.width, size_wh[1] / image.height)
    left, upper = (max(0.0, side - whole / enlarged) / 2 for side, whole in zip(image.size, size_wh, strict=True))
    part = (left, upper, image.width - left, image.height - upper)
    gap = None if image.mode == "I;16" else 2.0
    small = image.resize(small_wh, Image.Resampling.BOX, part, gap)
    values = np.asarray(small).astype(np.float32)
    values = values if values.ndim == 3 else values[..., None]
    for axis in (0, 1):
        values = _smooth(values, BLUR_FRAC * max(small_wh), axis)
    if image.mode == "CMYK":  # more black, as ink is counted
        values[..., 3] = 255 - (255 - values[..., 3]) * BRIGHTNESS
    else:
        colours = slice(None, -1 if image.mode in ("LA", "RGBA") else None)
        values[..., colours] *= BRIGHTNESS
    kind = "<u2" if image.mode == "I;16" else np.uint8
    small = Image.frombytes(image.mode, small_wh, np.rint(values).astype(kind).tobytes())
    return small.resize(size_wh, Image.Resampling.BICUBIC)


def _smooth(values: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """A Gaussian filter along an axis, the borders repeated."""
    reach = max(1, round(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    around = [(0, 0)] * values.ndim
    around[axis] = reach, reach
    wide, length = np.pad(values, around, mode="edge"), values.shape[axis]
    parts = [
        weight * wide.take(range(shift, shift + length), axis) for shift, weight in enumerate(weights / weights.sum())
    ]
    return np.asarray(np.sum(parts, axis=0, dtype=np.float32))


def _stretched(image: Image.Image, pads: Pads) -> Image.Image:
    """The picture with its borders drawn out: first to the sides, then up and down."""
    left, top, right, bottom = pads
    width, height = image.size
    page = Image.new(image.mode, (left + width + right, top + height + bottom))
    page.info = dict(image.info)
    page.paste(image, (left, top))
    thick = max(1, round(BORDER_FRAC * width))
    for pad, first, place in ((left, 0, 0), (right, width - thick, left + width)):
        if pad:
            line, _ = _line(image, (first, 0, first + thick, height), (1, height))
            page.paste(line.resize((pad, height), Image.Resampling.NEAREST), (place, top))
    thick, whole = max(1, round(BORDER_FRAC * height)), page.width
    for pad, first, place in ((top, top, 0), (bottom, top + height - thick, top + height)):
        if pad:
            line, _ = _line(page, (0, first, whole, first + thick), (whole, 1))
            page.paste(line.resize((whole, pad), Image.Resampling.NEAREST), (0, place))
    return page


def _line(image: Image.Image, box: tuple[int, int, int, int], size_wh: tuple[int, int]) -> tuple[Image.Image, bool]:
    """A border as one line of pixels, and whether it is plain, and so of one colour."""
    line = image.resize(size_wh, Image.Resampling.BOX, box)
    values = np.asarray(line).astype(np.float32)
    values = values.reshape(max(size_wh), -1)
    if (values.std(axis=0) > PLAIN * (257 if image.mode == "I;16" else 1)).any():
        return line, False
    colour = np.rint(np.median(values, axis=0)).astype(int).tolist()
    return Image.new(image.mode, size_wh, tuple(colour) if len(colour) > 1 else colour[0]), True
