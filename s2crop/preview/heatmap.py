"""What drove the scores, drawn over a picture: for looking."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s2crop.cropping.request import Heatmap
from s2crop.preview import overlay
from s2crop.preview.overlay import Outline

# Matplotlib's inferno at even steps, without its dark end: each is lighter than the one before.
RAMP = ("#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4")
CROP = "#48cae4"  # not on the ramp
BRIGHTNESS = 0.6  # of the grey picture below
OPACITY = 0.75  # of the hottest place
MIN_SHARE = 0.02  # proposals with less are not outlined
CONSTANT = 1e-5  # a map with a spread of less than this share of its largest value shows nothing


def draw(
    picture: Image.Image, size: tuple[int, int], heatmaps: Sequence[Heatmap], crops: Sequence[Outline]
) -> Image.Image:
    """Draw each map over a picture: upright ones side by side, wide ones one below the other.

    Args:
        picture: RGB, upright.
        size: (width, height) that the boxes are in.
        crops: to outline on each.
    """
    panels = [_panel(picture, size, heatmap, crops) for heatmap in heatmaps]
    width, height = panels[0].size
    across = picture.height > picture.width
    page = Image.new("RGB", (width * len(panels), height) if across else (width, height * len(panels)))
    for i, panel in enumerate(panels):
        page.paste(panel, (i * width, 0) if across else (0, i * height))
    return page


def _panel(picture: Image.Image, size: tuple[int, int], heatmap: Heatmap, crops: Sequence[Outline]) -> Image.Image:
    scale = picture.width / size[0], picture.height / size[1]
    image = picture.convert("L").point(lambda grey: grey * BRIGHTNESS).convert("RGB")
    x1, y1, x2, y2 = overlay.scaled(heatmap.place, scale)
    levels = _levels(heatmap.values, (x2 - x1 + 1, y2 - y1 + 1))
    image.paste(_coloured(levels), (x1, y1), levels.point(lambda level: 255 * OPACITY * (1 - (1 - level / 255) ** 2)))
    seen = [
        Outline(box, f"{kind} {share:.0%}", overlay.SEEN, dashed=True)
        for box, share, kind in sorted(heatmap.marks, key=lambda mark: -mark[1]) if share >= MIN_SHARE
    ]  # fmt: skip
    overlay.draw(image, size, [replace(crop, colour=CROP, whole=None) for crop in crops], seen, shade=False)
    return _titled(image, heatmap.title)


def _levels(values: np.ndarray, size_wh: tuple[int, int]) -> Image.Image:
    """The map from its least to its largest value as 0 to 255, resized."""
    low, spread = values.min(), np.ptp(values)
    if not CONSTANT * np.abs(values).max() < spread < np.inf:
        return Image.new("L", size_wh)
    shares = Image.fromarray(((values - low) / spread).astype(np.float32)).resize(size_wh, Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(shares).clip(0, 1) * 255).round().astype(np.uint8))


def _coloured(levels: Image.Image) -> Image.Image:
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RAMP])
    steps = np.linspace(0, 255, len(RAMP))
    ramp = np.stack([np.interp(np.arange(256), steps, channel) for channel in anchors.T], axis=1)
    coloured = levels.copy()
    coloured.putpalette(ramp.round().astype(np.uint8).tobytes())
    return coloured.convert("RGB")


def _titled(image: Image.Image, title: str) -> Image.Image:
    """The image below a line with its title and, where there is room, the scale of colours."""
    height = max(12, max(image.size) // 36)
    page = Image.new("RGB", (image.width, image.height + height), "#111111")
    page.paste(image, (0, height))
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(height * 0.5)
    pen.text((height // 3, height / 2), title, fill="white", font=font, anchor="lm")
    left, bar = image.width - 7 * height, (4 * height, height // 2)
    if pen.textlength(title, font) < left - 2 * height:
        page.paste(_coloured(Image.linear_gradient("L").rotate(90).resize(bar)), (left, height // 4))
        pen.text((left - height // 4, height / 2), "less", fill="white", font=font, anchor="rm")
        pen.text((left + bar[0] + height // 4, height / 2), "more", fill="white", font=font, anchor="lm")
    return page
