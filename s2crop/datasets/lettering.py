"""Lettering drawn over pictures, with known boxes: banners, titles, subtitles, lyrics, signs."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LAYOUTS = ("banner", "title", "subtitle", "lyrics", "sign")
LETTERS = "aaabcdeeeeefghiiijklmnnoooprrssstttuuvwyz"
HEIGHTS = (0.035, 0.16)  # of a line's letters, in picture heights, from small to large
MIN_LETTER_PX = 6  # a smaller line cannot be read


Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def letter(
    picture: np.ndarray, rng: np.random.Generator, fonts: tuple[Path, ...] = (), layout: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Letter a picture in one of the LAYOUTS.

    Args:
        picture: uint8 [H, W, 3].
        fonts: scalable font files to choose from; Pillow's own font where there are none.
        layout: one of LAYOUTS; None chooses one at random.
    Returns:
        The lettered copy; boxes [K, 4] of its lines in pixels (x1, y1, x2, y2); the box [4] that was
        painted over behind them, without area where nothing was.
    """
    height, width = picture.shape[:2]
    layout = layout or LAYOUTS[rng.integers(len(LAYOUTS))]
    small, large = (max(MIN_LETTER_PX, share * height) for share in HEIGHTS)
    if layout in ("subtitle", "lyrics"):
        large = max(small, large / 2)
    size = float(np.exp(rng.uniform(np.log(small), np.log(large))))
    count = {
        "banner": 1,
        "title": int(rng.integers(1, 4)),
        "subtitle": int(rng.integers(1, 3)),
        "lyrics": int(rng.integers(2, 6)),
        "sign": int(rng.integers(1, 3)),
    }[layout]
    font = _font(fonts[rng.integers(len(fonts))] if fonts else None, max(6, round(size * 1.35)))
    lines = [_line(rng, font, 0.92 * width if layout != "sign" else 0.5 * width) for _ in range(count)]
    gap = size * rng.uniform(0.3, 0.9)
    extents = np.array([font.getbbox(text, stroke_width=0) for text in lines], float)  # [K, 4] about the pen
    sides = extents[:, 2:] - extents[:, :2]
    block = np.array([sides[:, 0].max(), sides[:, 1].sum() + gap * (count - 1)])
    free = np.maximum([width, height] - block - 4, 0)
    x, y = rng.uniform(0, free) + 2
    if layout in ("subtitle", "lyrics"):
        x, y = free[0] / 2 + 2, free[1] * (rng.uniform(0.8, 1.0) if layout == "subtitle" else rng.uniform(0.2, 0.9)) + 2
    if layout == "banner":
        y = free[1] * rng.choice([rng.uniform(0, 0.15), rng.uniform(0.85, 1.0)]) + 2
    align = 0.5 if layout in ("subtitle", "lyrics") else rng.choice([0.0, 0.5, 1.0])
    tops = y + np.concatenate([[0], np.cumsum(sides[:-1, 1] + gap)])
    lefts = x + align * (block[0] - sides[:, 0])
    boxes = np.stack([lefts, tops, lefts + sides[:, 0], tops + sides[:, 1]], axis=1)

    behind, ink = _colours(picture, boxes, rng)
    pad = size * rng.uniform(0.2, 0.6)
    plate = np.array(
        [boxes[:, 0].min() - pad, boxes[:, 1].min() - pad, boxes[:, 2].max() + pad, boxes[:, 3].max() + pad]
    )
    if layout == "banner":
        plate[[0, 2]] = 0, width
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    painted = layout in ("banner", "sign") or rng.random() < 0.2
    opaque = rng.random() < 0.6
    if painted:
        draw.rectangle(tuple(plate), fill=(*behind, 255 if opaque else int(rng.uniform(90, 200))))
    outline = 0 if painted else int(np.ceil(size * rng.uniform(0.04, 0.12)))
    for text, box, extent in zip(lines, boxes, extents, strict=True):
        pen = box[:2] - extent[:2]
        if not painted and rng.random() < 0.5:  # a shadow
            draw.text(tuple(pen + max(1, size * 0.06)), text, font=font, fill=(*behind, 180))
        draw.text(tuple(pen), text, font=font, fill=(*ink, 255), stroke_width=outline, stroke_fill=(*behind, 255))
    if layout == "sign":
        layer, boxes, plate = _turned(layer, boxes, plate, rng.uniform(-20, 20))
    out = Image.fromarray(picture).convert("RGBA")
    out.alpha_composite(layer)
    covered = plate if painted and opaque else np.zeros(4)
    limit = [width, height, width, height]
    return np.asarray(out.convert("RGB")), np.clip(boxes, 0, limit).astype(np.float32), np.clip(covered, 0, limit)


def find_fonts(folder: Path) -> tuple[Path, ...]:
    """The font files in the `fonts` of a data folder; empty where there are none."""
    return tuple(sorted(path for path in (folder / "fonts").glob("*") if path.suffix.lower() in (".ttf", ".otf")))


@lru_cache(maxsize=512)
def _font(path: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _line(rng: np.random.Generator, font: Font, max_width: float) -> str:
    """Made-up words that fit; at least one letter."""
    text = ""
    for _ in range(rng.integers(1, 8)):
        word = "".join(rng.choice(list(LETTERS), rng.integers(1, 10)))
        if rng.random() < 0.1:
            word = str(rng.integers(1, 10_000))
        longer = f"{text} {word}".strip()
        if font.getlength(longer) > max_width:
            break
        text = longer
    text = text or "".join(rng.choice(list(LETTERS), 3))
    while len(text) > 1 and font.getlength(text.upper()) > max_width:
        text = text[:-1].strip()
    return (text.upper, text.title, text.capitalize, lambda: text)[rng.integers(4)]()


def _colours(picture: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> tuple[Colour, Colour]:
    """A colour for what lies behind the letters, and one for letters that is legible on it and on the picture."""
    x1, y1 = np.maximum(boxes[:, :2].min(axis=0), 0).astype(int)
    x2, y2 = np.maximum(boxes[:, 2:].max(axis=0), (x1 + 1, y1 + 1)).astype(int)
    light = picture[y1:y2, x1:x2].mean() > 127 if picture[y1:y2, x1:x2].size else True
    dark, bright = rng.integers(0, 90, 3), rng.integers(170, 256, 3)
    if rng.random() < 0.3:
        dark, bright = np.full(3, rng.integers(0, 40)), np.full(3, rng.integers(230, 256))
    behind, ink = (bright, dark) if light else (dark, bright)
    return _colour(behind), _colour(ink)


def _colour(channels: np.ndarray) -> Colour:
    red, green, blue = map(int, channels)
    return red, green, blue


def _turned(
    layer: Image.Image, boxes: np.ndarray, plate: np.ndarray, degrees: float
) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """Layer and boxes turned about the plate's centre; boxes become upright hulls of what they were."""
    centre = (plate[:2] + plate[2:]) / 2
    layer = layer.rotate(degrees, Image.Resampling.BILINEAR, center=tuple(centre))
    angle = np.deg2rad(-degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def hull(box: np.ndarray) -> np.ndarray:
        corners = np.array([[box[i], box[j]] for i in (0, 2) for j in (1, 3)]) - centre
        turned = corners @ matrix.T + centre
        return np.concatenate([turned.min(axis=0), turned.max(axis=0)])

    return layer, np.stack([hull(box) for box in boxes]), hull(plate)
