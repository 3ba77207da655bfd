"""Draw the example pictures and the clip beside this file: `python draw.py [news group landscape phone clip]`.

Everything is drawn from shapes that are shaded as if they were round, with blur for depth and grain on top.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HERE = Path(__file__).parent
SCALE = 2  # everything is drawn twice as large and reduced at the end
LIGHT = (-0.55, -0.75)  # where it comes from: left and above

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


# Outlines, as lists of points


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    return [(x + rx * np.cos(a) * c - ry * np.sin(a) * s, y + rx * np.cos(a) * s + ry * np.sin(a) * c) for a in angles]


def box(x1: float, y1: float, x2: float, y2: float) -> Points:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def smooth(points: Points, closed: bool = True) -> Points:
    """A soft curve through the points (Catmull-Rom)."""
    p = np.array(points, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None]
    curve = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return [tuple(point) for point in np.vstack([*curve, p[-2:-1]])]


def stroke(points: Points, width: float, end_width: float | None = None) -> Points:
    """The outline of a soft line that may grow thinner."""
    line = np.array(smooth(points, closed=False))
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    half = np.linspace(width, width if end_width is None else end_width, len(line))[:, None] / 2
    return [tuple(point) for point in np.vstack([line + across * half, (line - across * half)[::-1]])]


def noise(width: int, height: int, cell: float, seed: int, octaves: int = 4) -> np.ndarray:
    """Soft noise in 0 to 1, [height, width]: random grids, each twice as fine and half as strong."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = cell / 2**octave
        grid = rng.random((int(height / size) + 3, int(width / size) + 3), np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / 2**octave
    return (total - total.min()) / (np.ptp(total) + 1e-6)


def _smoothed(image: Image.Image, cell: float) -> np.ndarray:
    """A blurred 8-bit image without its 256 steps, which shading would show as rings."""
    if cell <= 1:
        return np.asarray(image, np.float32)
    small = max(2, int(image.width / cell)), max(2, int(image.height / cell))
    coarse = image.convert("F").resize(small, Image.Resampling.HAMMING)
    return np.asarray(coarse.resize(image.size, Image.Resampling.BICUBIC))


class Scene:
    """A canvas; positions are in pixels of the finished picture."""

    def __init__(self, width: int, height: int, top: Colour, bottom: Colour):
        self.width, self.height = width, height
        rows = np.linspace(0, 1, height * SCALE, dtype=np.float32)[:, None, None]
        column = np.array(top, np.float32) * (1 - rows) + np.array(bottom, np.float32) * rows
        self.pixels = np.repeat(column, width * SCALE, axis=1)

    def shape(
        self,
        outline: Points,
        colour: Colour,
        *,
        to: Colour | None = None,  # the colour at the bottom of the shape
        curve: float = 0.0,  # how far from the edge the surface curves, in pixels
        soft: float = 0.0,  # blur of the edge
        alpha: float = 1.0,
        strength: float = 0.55,  # of the shading that roundness gives
        texture: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Fill an outline, shaded as if it were round."""
        p = np.array(outline) * SCALE
        margin = int((soft * 3 + 2) * SCALE)
        x1, y1 = np.maximum(np.floor(p.min(0)).astype(int) - margin, 0)
        x2, y2 = np.minimum(np.ceil(p.max(0)).astype(int) + margin, (self.width * SCALE, self.height * SCALE))
        if x2 <= x1 or y2 <= y1:
            return
        # The mask is taken wider than what is seen of it: roundness is not to start at the picture's edge.
        pad = int(curve * SCALE * 2)
        mask = Image.new("L", (x2 - x1 + 2 * pad, y2 - y1 + 2 * pad))
        ImageDraw.Draw(mask).polygon([(x - x1 + pad, y - y1 + pad) for x, y in p], fill=255)
        shade = 0.0
        if curve:
            height = _smoothed(mask.filter(ImageFilter.GaussianBlur(curve * SCALE * 0.7)), curve * SCALE / 4) / 255
            dy, dx = np.gradient(height)
            shade = (dx * -LIGHT[0] + dy * -LIGHT[1]) * -curve * SCALE * strength
            shade = shade[pad : pad + y2 - y1, pad : pad + x2 - x1, None]
        if soft:
            mask = mask.filter(ImageFilter.GaussianBlur(soft * SCALE))
        cover = np.asarray(mask, np.float32)[pad : pad + y2 - y1, pad : pad + x2 - x1, None] / 255 * alpha
        fall = np.clip((np.arange(y1, y2) - p[:, 1].min()) / max(1e-6, np.ptp(p[:, 1])), 0, 1)[:, None, None]
        paint = np.array(colour, np.float32) * (1 - fall) + np.array(to or colour, np.float32) * fall
        paint = paint * (1 - np.maximum(shade, 0)) + np.minimum(shade, 0) * (paint - 255) * 0.6
        if texture:
            paint = paint * (1 + texture * (noise(x2 - x1, y2 - y1, 24 * SCALE, seed)[..., None] - 0.5))
        area = self.pixels[y1:y2, x1:x2]
        area += (np.clip(paint, 0, 255) - area) * cover

    def glow(self, x: float, y: float, radius: float, colour: Colour, alpha: float) -> None:
        """Light added around a point."""
        rows, columns = np.ogrid[: self.height * SCALE, : self.width * SCALE]
        distance = np.hypot(columns - x * SCALE, rows - y * SCALE) / (radius * SCALE)
        light = np.exp(-(distance**2) * 2).astype(np.float32)[..., None] * alpha
        self.pixels += (255 - self.pixels) * light * (np.array(colour, np.float32) / 255)

    def text(
        self, x: float, y: float, text: str, size: float, colour: Colour, anchor: str = "ls", bold: float = 0
    ) -> None:
        image = Image.fromarray(self.pixels.clip(0, 255).astype(np.uint8))
        ImageDraw.Draw(image).text(
            (x * SCALE, y * SCALE), text, fill=colour, anchor=anchor, font=ImageFont.load_default(size * SCALE),
            stroke_width=bold * SCALE, stroke_fill=colour,
        )  # fmt: skip
        self.pixels = np.asarray(image, np.float32).copy()

    def blur(self, radius: float) -> None:
        """Put all that was drawn so far out of focus."""
        image = Image.fromarray(self.pixels.clip(0, 255).astype(np.uint8))
        image = image.filter(ImageFilter.GaussianBlur(radius * SCALE))
        self.pixels = np.asarray(image, np.float32).copy()

    def finished(self, grain: float = 3.0, vignette: float = 0.25, seed: int = 7) -> Image.Image:
        """The picture at its own size, with what a lens and a sensor add."""
        image = Image.fromarray(self.pixels.clip(0, 255).astype(np.uint8)).reduce(SCALE)
        data = np.asarray(image, np.float32)
        y, x = np.mgrid[-1 : 1 : self.height * 1j, -1 : 1 : self.width * 1j]
        data = data * (1 - vignette * (np.hypot(x, y) / 1.42) ** 3)[..., None]
        data += np.random.default_rng(seed).normal(0, grain, data.shape[:2])[..., None]
        return Image.fromarray(data.clip(0, 255).astype(np.uint8))


# People


@dataclass(frozen=True)
class Look:
    """What one person looks like."""

    skin: Colour
    hair: Colour
    clothes: Colour
    style: str = "short"  # short, long, bun, curls, bald
    trousers: Colour = (52, 62, 92)
    shirt: Colour | None = None  # seen in the neck of a jacket
    eyes: Colour = (70, 50, 35)
    beard: bool = False
    glasses: bool = False
    mouth: float = 0.5  # 0 closed, 1 laughing
    eyes_open: float = 1.0
    tilt: float = 0.0  # of the head, in head heights to the side


def darker(colour: Colour, factor: float) -> Colour:
    return tuple(int(min(255, c * factor)) for c in colour)


def person(
    scene: Scene, x: float, y: float, head: float, look: Look, *, standing: bool = True, width: float = 1.0
) -> None:
    """A person from the front.

    Args:
        x, y: the middle of the face, in pixels.
        head: height of the head, in pixels.
        standing: or behind a desk: without hands and legs.
        width: of the shoulders, 1 for most.
    """
    u = head
    shoulder, w = y + 0.82 * u, 0.98 * u * width
    face_x = x + look.tilt * u
    hair_dark = darker(look.hair, 0.75)

    # Behind the head
    if look.style == "long":
        lock = [(-0.40, -0.30), (-0.24, -0.55), (0.06, -0.60), (0.32, -0.48), (0.46, -0.15), (0.48, 0.35), (0.52, 0.80),
                (0.20, 0.95), (-0.20, 0.95), (-0.52, 0.80), (-0.48, 0.35)]  # fmt: skip
        scene.shape(smooth([(face_x + a * u, y + b * u) for a, b in lock]), hair_dark, curve=0.14 * u, strength=0.8)
    if look.style == "bun":
        scene.shape(ellipse(face_x + 0.10 * u, y - 0.62 * u, 0.19 * u, 0.17 * u), look.hair, curve=0.10 * u)
    if look.style == "curls":
        rng = np.random.default_rng(5)
        for angle in np.linspace(np.pi * 0.80, np.pi * 2.20, 15):
            r = 0.17 * u * rng.uniform(0.9, 1.2)
            scene.shape(
                ellipse(face_x + 0.37 * u * np.cos(angle), y - 0.13 * u + 0.42 * u * np.sin(angle), r, r),
                darker(look.hair, rng.uniform(0.8, 1.1)), curve=0.10 * u, strength=0.8,
            )  # fmt: skip

    # Legs, arms, hands and torso
    def at(points: Points, side: int = 1) -> Points:
        return [(x + side * a * w, y + b * u) for a, b in points]

    if standing:
        for side in (-1, 1):
            leg = [
                (0.02, 2.6),
                (0.66, 2.6),
                (0.68, 3.4),
                (0.60, 4.8),
                (0.54, 6.7),
                (0.14, 6.7),
                (0.10, 4.8),
                (0.02, 3.4),
            ]
            scene.shape(
                smooth(at(leg, side)), look.trousers, to=darker(look.trousers, 0.8), curve=0.17 * u, texture=0.15
            )
            shoe = [(0.12, 6.55), (0.54, 6.55), (0.64, 6.82), (0.56, 6.92), (0.10, 6.92), (0.04, 6.82)]
            scene.shape(smooth(at(shoe, side)), (238, 234, 228), to=(172, 166, 162), curve=0.09 * u)
    for side in (-1, 1):
        if standing:
            hand = [(0.90, 2.75), (1.05, 2.78), (1.08, 3.02), (1.02, 3.24), (0.92, 3.22), (0.86, 3.02)]
            scene.shape(smooth(at(hand, side)), darker(look.skin, 0.95), to=darker(look.skin, 0.82), curve=0.07 * u)
        arm = [(0.52, 0.80), (0.80, 0.86), (0.99, 1.08), (1.08, 1.55), (1.12, 2.1), (1.11, 2.82),
               (0.86, 2.84), (0.80, 2.1),
               (0.72, 1.4)]  # fmt: skip
        scene.shape(smooth(at(arm, side)), look.clothes, to=darker(look.clothes, 0.82), curve=0.16 * u, texture=0.12)
    hip = 2.95 if standing else 9.0
    torso = [(-0.20, 0.46), (-0.34, 0.64), (-0.70, 0.77), (-0.86, 0.98), (-0.82, 1.6), (-0.74, 2.2), (-0.77, hip),
             (0.77, hip), (0.74, 2.2), (0.82, 1.6), (0.86, 0.98), (0.70, 0.77), (0.34, 0.64), (0.20, 0.46)]  # fmt: skip
    outline = smooth(at(torso))
    for side in (-1, 1):  # what the arms leave in shadow
        gap = [(x + side * a * w, y + b * u) for a, b in ((0.80, 1.15), (0.77, 1.8), (0.72, 2.3), (0.76, 2.9))]
        scene.shape(stroke(gap, 0.05 * u, 0.14 * u), darker(look.clothes, 0.35), soft=0.04 * u, alpha=0.6)
    scene.shape(
        outline, look.clothes, to=darker(look.clothes, 0.78), curve=0.24 * u, texture=0.14, strength=0.7, seed=int(x)
    )
    rng = np.random.default_rng(int(x))
    for _ in range(7):  # folds
        a, b = rng.uniform(-0.55, 0.55), rng.uniform(1.2, 2.6)
        fold = at([(a, b), (a + rng.uniform(-0.06, 0.06), b + 0.22), (a * 0.9, b + rng.uniform(0.35, 0.6))])
        scene.shape(stroke(fold, 0.05 * u, 0.02 * u), darker(look.clothes, 0.5), soft=0.04 * u, alpha=0.22)
    # Neck and collar
    scene.shape(
        smooth([(x - 0.19 * u, y + 0.25 * u), (x + 0.19 * u, y + 0.25 * u), (x + 0.19 * u, shoulder - 0.13 * u),
                (x, shoulder + 0.08 * u), (x - 0.19 * u, shoulder - 0.13 * u)]),
        darker(look.skin, 0.86), to=darker(look.skin, 0.80), curve=0.10 * u,
    )  # fmt: skip
    if look.shirt:
        v = [(x - 0.27 * u, shoulder - 0.17 * u), (x, shoulder + 0.03 * u), (x + 0.27 * u, shoulder - 0.17 * u),
             (x + 0.10 * u, shoulder + 0.75 * u), (x, shoulder + 1.05 * u),
             (x - 0.10 * u, shoulder + 0.75 * u)]  # fmt: skip
        scene.shape(v, look.shirt, to=darker(look.shirt, 0.9))
        for side in (-1, 1):  # lapels
            lapel = [(x + side * 0.26 * u, shoulder - 0.23 * u), (x + side * 0.43 * u, shoulder + 0.10 * u),
                     (x + side * 0.30 * u, shoulder + 0.25 * u), (x, shoulder + 1.10 * u),
                     (x + side * 0.08 * u, shoulder + 0.45 * u)]  # fmt: skip
            scene.shape(lapel, darker(look.clothes, 1.25), curve=0.05 * u)
    chin_shadow = [(face_x - 0.26 * u, y + 0.33 * u), (face_x, y + 0.40 * u), (face_x + 0.26 * u, y + 0.33 * u),
                   (face_x + 0.17 * u, y + 0.54 * u), (face_x, y + 0.60 * u),
                   (face_x - 0.17 * u, y + 0.54 * u)]  # fmt: skip
    scene.shape(smooth(chin_shadow), darker(look.skin, 0.5), soft=0.045 * u, alpha=0.55)

    # Head
    for side in (-1, 1):
        ear = ellipse(face_x + side * 0.365 * u, y + 0.03 * u, 0.06 * u, 0.105 * u, side * 0.15)
        scene.shape(ear, darker(look.skin, 0.88), curve=0.04 * u)
    outline = [(0, -0.50), (0.26, -0.43), (0.37, -0.18), (0.36, 0.10), (0.28, 0.34), (0.12, 0.48), (0, 0.505),
               (-0.12, 0.48), (-0.28, 0.34), (-0.36, 0.10), (-0.37, -0.18), (-0.26, -0.43)]  # fmt: skip
    outline = smooth([(face_x + a * u, y + b * u) for a, b in outline])
    scene.shape(outline, look.skin, to=darker(look.skin, 0.94), curve=0.20 * u, strength=0.6, texture=0.03)
    if look.beard:
        beard = [(-0.355, 0.02), (-0.30, 0.14), (-0.17, 0.17), (0, 0.155), (0.17, 0.17), (0.30, 0.14), (0.355, 0.02),
                 (0.345, 0.18), (0.29, 0.36), (0.13, 0.52), (0, 0.55), (-0.13, 0.52), (-0.29, 0.36),
                 (-0.345, 0.18)]  # fmt: skip
        scene.shape(
            smooth([(face_x + a * u, y + b * u) for a, b in beard]),
            look.hair,
            soft=0.012 * u,
            curve=0.1 * u,
            alpha=0.93,
        )
    face(scene, face_x, y, u, look)

    # Hair over the forehead
    fringe = {
        "short": [(-0.385, 0.0), (-0.41, -0.25), (-0.30, -0.50), (0, -0.60), (0.30, -0.52), (0.41, -0.25), (0.385, 0.0),
                  (0.345, -0.10), (0.325, -0.24), (0.18, -0.33), (-0.05, -0.30), (-0.25, -0.27), (-0.335, -0.12)],
        "long": [(-0.41, 0.25), (-0.43, -0.22), (-0.30, -0.50), (0, -0.60), (0.30, -0.52), (0.43, -0.22), (0.41, 0.25),
                 (0.35, 0.0), (0.30, -0.20), (0.10, -0.36), (-0.08, -0.39), (-0.24, -0.25), (-0.345, 0.0)],
        "bun": [(-0.375, -0.05), (-0.40, -0.25), (-0.28, -0.49), (0, -0.58), (0.28, -0.49), (0.40, -0.25),
                (0.375, -0.05),
                (0.33, -0.20), (0.20, -0.36), (0, -0.40), (-0.20, -0.36), (-0.33, -0.20)],
        "curls": [(-0.38, -0.05), (-0.40, -0.30), (-0.25, -0.53), (0, -0.59), (0.25, -0.53), (0.40, -0.30),
                  (0.38, -0.05),
                  (0.32, -0.18), (0.22, -0.34), (0.10, -0.29), (-0.02, -0.36), (-0.14, -0.29), (-0.25, -0.33),
                  (-0.32, -0.18)],
    }  # fmt: skip
    if look.style in fringe:
        cap = smooth([(face_x + a * u, y + b * u) for a, b in fringe[look.style]])
        scene.shape(cap, look.hair, to=hair_dark, curve=0.12 * u, strength=0.8, texture=0.35, seed=3)
        rng = np.random.default_rng(9)
        for _ in range(26):  # single strands
            a = rng.uniform(-0.30, 0.30)
            strand = [(a * 0.5, -0.57), (a * 0.95, -0.50 + abs(a) * 0.25), (a * 1.22, -0.40 + abs(a) * 0.55)]
            tone = darker(look.hair, rng.choice([0.6, 1.5]))
            strand = stroke([(face_x + p * u, y + q * u) for p, q in strand], 0.010 * u, 0.003 * u)
            scene.shape(strand, tone, alpha=0.35, soft=0.004 * u)


def face(scene: Scene, x: float, y: float, u: float, look: Look) -> None:
    """Eyes, nose and mouth."""

    def at(points: Points, side: int = 1) -> Points:
        return [(x + side * a * u, y + b * u) for a, b in points]

    dark = darker(look.skin, 0.55)
    brow = darker(look.hair if sum(look.hair) < 420 else (120, 95, 70), 0.8)
    for side in (-1, 1):
        ex, ey = x + side * 0.165 * u, y - 0.02 * u
        scene.shape(ellipse(ex, ey - 0.01 * u, 0.12 * u, 0.075 * u), dark, soft=0.03 * u, alpha=0.40)
        opened = 0.84 * max(0.06, look.eyes_open)
        corner = 0.088
        almond = [(-corner, 0.008), (-0.04, -0.042 * opened), (0.03, -0.044 * opened), (corner, -0.004),
                  (0.03, 0.030 * opened), (-0.04, 0.030 * opened)]  # fmt: skip
        almond = smooth([(ex + side * a * u, ey + b * u) for a, b in almond])
        scene.shape(almond, (240, 236, 232), to=(215, 208, 205))
        if look.eyes_open > 0.5:
            scene.shape(ellipse(ex, ey - 0.004 * u, 0.035 * u, 0.034 * u), look.eyes, curve=0.02 * u)
            scene.shape(ellipse(ex, ey - 0.004 * u, 0.017 * u, 0.017 * u), (12, 10, 10))
            scene.shape(ellipse(ex - 0.013 * u, ey - 0.018 * u, 0.009 * u, 0.009 * u), (255, 255, 255))
        lid = [(-corner, 0.010), (-0.04, -0.046 * opened), (0.03, -0.048 * opened), (corner + 0.008, -0.006)]
        scene.shape(
            stroke([(ex + side * a * u, ey + b * u) for a, b in lid], 0.017 * u),
            darker(look.skin, 0.25),
            soft=0.003 * u,
        )
        arch = at([(0.06, -0.105), (0.15, -0.135), (0.265, -0.105)], side)
        scene.shape(stroke(arch, 0.042 * u, 0.014 * u), brow, soft=0.008 * u, alpha=0.9)
        scene.shape(
            ellipse(x + side * 0.21 * u, y + 0.15 * u, 0.09 * u, 0.065 * u), (225, 95, 85), soft=0.05 * u, alpha=0.22
        )
        if look.glasses:
            ring = at([(0.066, -0.085), (0.27, -0.085), (0.27, 0.055), (0.17, 0.085), (0.066, 0.05)], side)
            scene.shape(stroke(smooth(ring) + smooth(ring)[:2], 0.016 * u), (35, 30, 32))
            scene.shape(stroke(at([(0.27, -0.04), (0.36, -0.05)], side), 0.014 * u), (35, 30, 32))
    if look.glasses:
        scene.shape(stroke(at([(-0.066, -0.035), (0, -0.05), (0.066, -0.035)]), 0.014 * u), (35, 30, 32))
    # Nose: light on the ridge, shadow on the side away from the light and below
    scene.shape(
        stroke(at([(-0.008, -0.06), (-0.015, 0.05), (-0.01, 0.11)]), 0.03 * u, 0.055 * u),
        (255, 245, 235),
        soft=0.014 * u,
        alpha=0.28,
    )
    scene.shape(
        stroke(at([(0.045, -0.05), (0.045, 0.05), (0.07, 0.125)]), 0.02 * u, 0.05 * u), dark, soft=0.016 * u, alpha=0.35
    )
    scene.shape(
        smooth(at([(-0.075, 0.125), (-0.04, 0.147), (0, 0.155), (0.04, 0.147), (0.075, 0.125), (0, 0.175)])),
        dark,
        soft=0.010 * u,
        alpha=0.7,
    )
    for side in (-1, 1):
        scene.shape(
            ellipse(x + side * 0.032 * u, y + 0.142 * u, 0.015 * u, 0.009 * u),
            darker(look.skin, 0.3),
            soft=0.004 * u,
            alpha=0.8,
        )
        scene.shape(
            stroke(at([(0.09, 0.13), (0.16, 0.21), (0.175, 0.27)], side), 0.02 * u, 0.008 * u),
            dark,
            soft=0.014 * u,
            alpha=0.35,
        )
    # Mouth
    lips = (176, 82, 78) if sum(look.skin) > 420 else (120, 55, 52)
    m = look.mouth
    curve = [(-0.145, 0.238), (-0.07, 0.254), (0, 0.262), (0.07, 0.254), (0.145, 0.238)]
    low = [(0.11, 0.278 + 0.020 * m), (0.05, 0.312 + 0.040 * m), (0, 0.318 + 0.045 * m), (-0.05, 0.312 + 0.040 * m),
           (-0.11, 0.278 + 0.020 * m)]  # fmt: skip
    scene.shape(smooth(at(curve + low)), lips, curve=0.02 * u)
    if m > 0.2:
        teeth = [(-0.118, 0.254), (-0.05, 0.268), (0, 0.273), (0.05, 0.268), (0.118, 0.254), (0.085, 0.272 + 0.020 * m),
                 (0.04, 0.286 + 0.036 * m), (-0.04, 0.286 + 0.036 * m), (-0.085, 0.272 + 0.020 * m)]  # fmt: skip
        scene.shape(smooth(at(teeth)), (246, 242, 236), to=(206, 192, 188))
    else:
        closed = at([(-0.14, 0.241), (-0.06, 0.272), (0, 0.279), (0.06, 0.272), (0.14, 0.241)])
        scene.shape(stroke(closed, 0.012 * u), darker(lips, 0.4), soft=0.003 * u)
    scene.shape(ellipse(x, y + 0.385 * u + 0.03 * m * u, 0.07 * u, 0.016 * u), dark, soft=0.014 * u, alpha=0.4)


# The pictures

ANCHOR = Look(
    (226, 178, 150), (62, 38, 26), (34, 46, 84), style="long", shirt=(238, 238, 240), eyes=(66, 92, 84), mouth=0.35
)


def news(look: Look = ANCHOR) -> Scene:
    """A presenter in a studio, with a headline and a ticker."""
    scene = Scene(1280, 720, (14, 30, 66), (24, 66, 124))
    rng = np.random.default_rng(11)
    # A city at night on the wall, out of focus
    for i in range(46):
        x, width, height = i * 29 - 20 + rng.uniform(-8, 8), rng.uniform(24, 60), rng.uniform(80, 330)
        scene.shape(box(x, 560 - height, x + width, 600), (16, 28, 60), to=(30, 50, 96))
        for _ in range(int(height / 18)):
            wx, wy = x + rng.uniform(4, width - 6), 560 - rng.uniform(6, height - 8)
            scene.shape(box(wx, wy, wx + 4, wy + 6), tuple(rng.choice([(255, 214, 130), (150, 200, 255)])), alpha=0.9)
    scene.blur(4)
    for _ in range(16):
        r = rng.uniform(9, 22)
        tone = tuple(rng.choice([(255, 190, 110), (130, 190, 255), (255, 120, 110)]))
        scene.shape(ellipse(rng.uniform(0, 1280), rng.uniform(250, 560), r, r), tone, soft=1.5, alpha=0.20)
    for x in (40, 600, 1130):  # columns of light
        scene.shape(box(x, -20, x + 62, 740), (70, 140, 220), to=(30, 70, 140), soft=3, alpha=0.75)
        scene.shape(box(x + 27, -20, x + 35, 740), (220, 240, 255), soft=2, alpha=0.9)
    # A screen with the picture of the story
    scene.shape(box(118, 92, 566, 366), (8, 12, 26), soft=10, alpha=0.6)
    scene.shape(box(112, 84, 560, 356), (206, 214, 226), to=(150, 160, 180))
    scene.shape(box(120, 92, 552, 348), (116, 176, 226), to=(226, 232, 232))
    hills = smooth([(120, 262), (190, 236), (280, 262), (380, 226), (470, 256), (552, 232)], closed=False)
    scene.shape([*hills, (552, 300), (120, 300)], (96, 124, 120), to=(120, 146, 134))
    scene.shape(box(120, 288, 552, 348), (52, 104, 138), to=(30, 66, 100))
    for x in (220, 440):  # the bridge
        scene.shape(box(x - 7, 150, x + 7, 318), (196, 72, 54), to=(150, 50, 40), curve=4)
        for reach in (-108, 108):
            scene.shape(stroke([(x, 154), (x + reach * 0.5, 226), (x + reach, 262)], 3), (196, 72, 54))
    for x in range(124, 552, 14):
        scene.shape(box(x, 240, x + 1.6, 282), (196, 82, 64), alpha=0.6)
    scene.shape(box(120, 272, 552, 282), (176, 62, 48))
    # The presenter, and the desk
    scene.shape(ellipse(850, 470, 270, 300), (4, 10, 30), soft=40, alpha=0.45)
    person(scene, 850, 276, 212, look, standing=False, width=0.95)
    scene.shape(
        smooth([(470, 590), (850, 556), (1290, 588), (1330, 760), (420, 760)]),
        (230, 236, 244),
        to=(120, 140, 176),
        curve=14,
    )
    scene.shape(
        smooth([(470, 602), (850, 570), (1290, 602), (1330, 780), (420, 780)]), (30, 56, 110), to=(14, 26, 60), curve=10
    )
    scene.shape([(762, 584), (938, 582), (962, 606), (740, 608)], (246, 246, 242), to=(214, 214, 214))
    for side in (-1, 1):  # forearms and folded hands
        sleeve = [(216, 524), (206, 580), (146, 604), (66, 596), (66, 566), (130, 556), (164, 500)]
        scene.shape(
            smooth([(850 + side * a, b) for a, b in sleeve]),
            look.clothes,
            to=darker(look.clothes, 0.7),
            curve=22,
            texture=0.1,
        )
        scene.shape(stroke([(850 + side * 72, 564), (850 + side * 70, 597)], 9), (236, 236, 240), curve=3)
    for side in (1, -1):
        hand = [(70, 568), (70, 594), (30, 604), (-24, 600), (-34, 586), (-20, 572), (26, 562)]
        scene.shape(
            smooth([(850 + side * a, b) for a, b in hand]),
            darker(look.skin, 0.97),
            to=darker(look.skin, 0.85),
            curve=13,
            soft=0.4,
        )
    for i in range(4):
        finger = [(850 - 26 + i * 2, 574 + i * 7), (850 + 8, 573 + i * 7), (850 + 26, 577 + i * 6)]
        scene.shape(stroke(finger, 8, 6), darker(look.skin, 0.99), to=darker(look.skin, 0.8), curve=3, strength=0.8)
    scene.glow(640, -60, 620, (180, 210, 255), 0.30)
    scene.shape(box(64, 548, 760, 668), (0, 0, 0), soft=8, alpha=0.5)
    scene.shape(box(60, 540, 170, 572), (196, 24, 36), to=(160, 14, 28))
    scene.text(115, 564, "LIVE", 22, (255, 255, 255), "ms", 0.5)
    scene.shape(box(60, 572, 760, 628), (250, 250, 252), to=(226, 230, 238))
    scene.text(80, 612, "HARBOUR BRIDGE REOPENS TODAY", 35, (16, 24, 52), bold=0.6)
    scene.shape(box(60, 628, 760, 664), (20, 44, 100), to=(14, 30, 74))
    scene.text(80, 653, "First trains cross at noon after ten years of work", 21, (236, 240, 250))
    scene.shape(box(0, 680, 1280, 720), (12, 16, 30), to=(6, 8, 18))
    scene.shape(box(0, 680, 128, 720), (196, 24, 36), to=(160, 14, 28))
    scene.text(64, 708, "12:04", 22, (255, 255, 255), "ms", 0.4)
    scene.text(
        150,
        707,
        "Ferries run every ten minutes   |   Sunny, 24 degrees   |   Museum free all weekend   |   City wins 3:1",
        20,
        (232, 234, 240),
    )
    scene.shape(box(1142, 36, 1240, 82), (196, 24, 36), to=(160, 14, 28))
    scene.text(1191, 70, "S2 TV", 26, (255, 255, 255), "ms", 0.6)
    return scene


def foliage(scene: Scene, x: float, y: float, radius: float, colour: Colour, seed: int) -> None:
    """The crown of a tree: many leaves' worth of round shapes, light above."""
    rng = np.random.default_rng(seed)
    for depth in np.linspace(0.55, 1.15, 60):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 1)) * 0.85
        r = radius * rng.uniform(0.16, 0.32)
        cx, cy = x + distance * np.cos(angle), y + distance * np.sin(angle) * 0.8
        lit = depth * (1.1 - 0.35 * (cy - y) / radius - 0.15 * (cx - x) / radius)
        scene.shape(ellipse(cx, cy, r, r * 0.85), darker(colour, lit), curve=r * 0.5, soft=1, texture=0.5, seed=seed)


def group() -> Scene:
    """Five people in a park, left of the middle."""
    scene = Scene(1200, 800, (150, 196, 236), (226, 236, 240))
    rng = np.random.default_rng(4)
    for i in range(15):  # far trees
        foliage(scene, i * 90 - 20, 270 + rng.uniform(-50, 40), rng.uniform(120, 190), (86, 128, 78), i)
    for i in range(16):  # bushes before them
        foliage(scene, i * 80 - 10, 380 + rng.uniform(-15, 10), rng.uniform(50, 80), (104, 146, 80), 50 + i)
    scene.shape(box(-10, 400, 1210, 810), (142, 178, 86), to=(84, 128, 52), texture=0.4)
    path = smooth([(880, 404), (960, 404), (1010, 520), (1210, 690), (1210, 810), (900, 810), (880, 560)])
    scene.shape(path, (214, 198, 168), to=(190, 172, 142), texture=0.2)
    for x, size in ((1010, 150), (1150, 120)):
        scene.shape(stroke([(x, 300), (x + 4, 380), (x - 4, 470)], 22, 34), (96, 72, 54), curve=9)
        foliage(scene, x, 230, size, (104, 150, 70), int(x))
    scene.blur(5)
    for _ in range(26):  # light between the leaves
        r = rng.uniform(6, 17)
        scene.shape(ellipse(rng.uniform(0, 1200), rng.uniform(190, 380), r, r), (255, 250, 214), soft=1.2, alpha=0.20)
    # A bench at the right, half out of focus
    for y in (470, 494, 518):
        scene.shape(box(1010, y, 1180, y + 13), (150, 100, 62), to=(110, 70, 42), curve=4, soft=1.5)
    for x in (1030, 1156):
        scene.shape(box(x, 468, x + 8, 586), (60, 58, 60), soft=1.5)
    for x, r in ((130, 100), (300, 110), (470, 100), (620, 90), (760, 90)):
        scene.shape(ellipse(x + 30, 800, r * 1.4, 50), (30, 50, 20), soft=16, alpha=0.5)
    people = (  # x, y of the face, head, who; the tall ones stand behind
        (318, 212, 122, Look((198, 142, 106), (34, 26, 24), (52, 76, 112), "short",
        (70, 66, 66), beard=True, mouth=0.6, tilt=0.03), 1.02),
        (612, 262, 116, Look((112, 74, 54), (24, 18, 18), (206, 152, 60), "curls",
        (96, 70, 58), mouth=0.9, tilt=-0.03), 0.86),
        (152, 306, 114, Look((238, 198, 172), (176, 122, 66),
        (160, 62, 76), "long", mouth=0.7, eyes=(74, 112, 140)), 0.84),
        (470, 372, 112, Look((232, 188, 156), (196, 192, 188), (96, 126, 104), "bun",
        (122, 112, 104), glasses=True, mouth=0.5), 0.86),
        (742, 470, 100, Look((214, 164, 128), (70, 44, 30), (214, 84, 62), "short", mouth=1.0, tilt=0.04), 0.76),
    )  # fmt: skip
    for x, y, head, look, width in people:
        scene.shape(ellipse(x + 14, y + 3 * head, head * 0.9, head * 2.2), (20, 34, 16), soft=18, alpha=0.35)
        person(scene, x, y, head, look, width=width)
    scene.glow(60, -40, 620, (255, 236, 190), 0.35)
    return scene


def boat(scene: Scene, x: float, y: float, size: float) -> None:
    """A sailing boat and its reflection; `y` is the water line."""
    s = size
    for mirror, alpha in ((-0.75, 0.30), (1, 1.0)):
        soft = 0.0 if mirror > 0 else 0.035 * s

        def at(points: Points, mirror: float = mirror) -> Points:
            return [(x + a * s, y - mirror * b * s) for a, b in points]

        scene.shape(
            smooth(at([(0.02, 0.13), (0.03, 0.6), (0.06, 1.12), (0.30, 0.62), (0.47, 0.15)]), closed=True),
            (252, 244, 226),
            to=(236, 206, 170),
            curve=0.07 * s,
            soft=soft,
            alpha=alpha,
        )
        scene.shape(
            smooth(at([(-0.03, 0.15), (-0.03, 0.55), (0.0, 0.98), (-0.20, 0.52), (-0.36, 0.15)])),
            (214, 84, 58),
            to=(176, 56, 42),
            curve=0.06 * s,
            soft=soft,
            alpha=alpha,
        )
        scene.shape(
            at([(-0.012, 0.05), (-0.012, 1.18), (0.012, 1.18), (0.012, 0.05)]), (74, 56, 44), soft=soft, alpha=alpha
        )
        scene.shape(
            smooth(
                at([(-0.46, 0.13), (-0.1, 0.10), (0.3, 0.10), (0.54, 0.15), (0.40, -0.01), (0, -0.03), (-0.34, -0.01)])
            ),
            (52, 66, 98),
            to=(30, 38, 62),
            curve=0.05 * s,
            soft=soft,
            alpha=alpha,
        )
        scene.shape(
            stroke(at([(-0.44, 0.125), (0, 0.10), (0.52, 0.142)]), 0.022 * s), (240, 236, 228), soft=soft, alpha=alpha
        )


def ridge(width: int, base: float, height: float, rough: float, seed: int) -> Points:
    """The outline of hills from side to side, down to far below."""
    line = noise(int(width * 1.1) + 20, 4, rough, seed, 5)[2]
    return [(x - 10, base - height * line[x]) for x in range(0, width + 20, 3)] + [(width + 10, 2000), (-10, 2000)]


def landscape(with_boat: bool = True) -> Scene:
    """Hills and a lake in evening light; a boat at the right."""
    scene = Scene(1200, 800, (72, 112, 176), (250, 206, 150))
    water = 500
    scene.pixels[: water * SCALE] = np.asarray(
        Image.fromarray(scene.pixels.astype(np.uint8)).resize((1200 * SCALE, water * SCALE)), np.float32
    )
    clouds = noise(1200, water, 260, 21, 6) * np.linspace(1.1, 0.7, water)[:, None]
    stretched = np.asarray(Image.fromarray(clouds).resize((2400, water)).crop((300, 0, 1500, water)))
    cover = np.clip((stretched - 0.52) * 2.6, 0, 0.85)
    cover = np.asarray(Image.fromarray(cover.astype(np.float32)).resize((1200 * SCALE, water * SCALE)))[..., None]
    tint = np.linspace(0, 1, water * SCALE)[:, None, None]
    sky = scene.pixels[: water * SCALE]
    sky += (np.array((214, 204, 214)) * (1 - tint) + np.array((255, 214, 164)) * tint - sky) * cover
    sun = 330, 372
    scene.glow(*sun, 420, (255, 190, 110), 0.55)
    scene.glow(*sun, 120, (255, 226, 170), 0.8)
    scene.shape(ellipse(*sun, 34, 34), (255, 250, 226), soft=1.5)
    layers = (
        (452, 130, 420, (150, 148, 172)),
        (470, 110, 300, (112, 118, 146)),
        (486, 84, 220, (78, 92, 112)),
        (498, 46, 150, (52, 72, 76)),
    )
    for i, (base, height, rough, tone) in enumerate(layers):
        scene.shape(
            ridge(1200, base, height, rough, 40 + i), tone, to=darker(tone, 1.2), soft=0.6, texture=0.18, seed=i
        )
        scene.glow(sun[0], base, 330, (255, 184, 110), 0.16)
    rng = np.random.default_rng(3)
    for x in np.cumsum(rng.uniform(2.5, 7, 270)):  # woods on the far shore
        tall = rng.uniform(8, 24) * (1.3 if x < 200 or x > 780 else 0.7)
        scene.shape(
            [(x - tall * 0.28, water), (x, water - tall), (x + tall * 0.28, water)],
            darker((40, 58, 56), rng.uniform(0.8, 1.2)),
            soft=0.4,
        )
    # The lake mirrors what stands above it, stirred by ripples that grow nearer
    mirrored = scene.pixels[: water * SCALE][::-1]
    rows = (800 - water) * SCALE
    depth = np.arange(rows)
    ripples = noise(300 * SCALE, rows, 14 * SCALE, 77, 4)
    ripples = np.asarray(Image.fromarray(ripples).resize((1200 * SCALE, rows), Image.Resampling.BICUBIC))
    shift = (ripples - 0.5) * (6 + depth[:, None] * 0.07) * SCALE
    source = np.clip(depth[:, None] * 1.25 + shift * 1.6, 0, water * SCALE - 1).astype(int)
    lake = mirrored[source, np.arange(1200 * SCALE)[None, :]]
    fade = (depth / rows)[:, None, None]
    scene.pixels[water * SCALE :] = lake * (0.86 - 0.34 * fade) + np.array((14, 34, 62)) * (0.14 + 0.34 * fade)
    for _ in range(420):  # the sun's path on the water
        y = water + 4 + (rng.uniform() ** 1.4) * 290
        spread = 14 + (y - water) * 0.36
        x = sun[0] + rng.normal(0, spread * 0.55)
        length = rng.uniform(4, 10) * (1 + (y - water) / 110)
        scene.shape(
            ellipse(x, y, length, 0.5 + (y - water) / 260), (255, 224, 164), soft=0.7, alpha=rng.uniform(0.2, 0.65)
        )
    if with_boat:
        boat(scene, 858, 572, 150)
    for x, lean in zip(rng.uniform(-10, 300, 90), rng.normal(0, 14, 90), strict=True):  # reeds at the near shore
        tall = rng.uniform(40, 120) * (1 - x / 420)
        scene.shape(
            stroke([(x, 812), (x + lean * 0.3, 812 - tall * 0.6), (x + lean, 812 - tall)], 3.2, 0.8),
            darker((46, 52, 40), rng.uniform(0.5, 1.0)),
        )
    scene.glow(*sun, 700, (255, 170, 90), 0.12)
    return scene


def house(scene: Scene, near: float, far: float, tone: Colour, floors: int, seed: int) -> None:
    """A front that runs towards the vanishing point; `near` and `far` are its x positions."""
    vx, vy = 330.0, 560.0
    rng = np.random.default_rng(seed)

    def at(x: float, level: float) -> tuple[float, float]:  # level 0 is the street, 1 the top of the house
        reach = (x - vx) / (-40 - vx) if near < vx else (x - vx) / (715 - vx)
        return x, vy + reach * (400 - level * 1150)

    def wall(x1: float, x2: float, low: float, high: float) -> Points:
        return [at(x1, high), at(x2, high), at(x2, low), at(x1, low)]

    top = rng.uniform(0.72, 0.98)
    scene.shape(wall(near, far, 0, top), tone, to=darker(tone, 0.82), texture=0.12, seed=seed)
    scene.shape(wall(near, far, top - 0.03, top + 0.01), darker(tone, 1.15))
    scene.shape(wall(near, far, 0, 0.17), darker(tone, 0.55))
    count = max(2, int(abs(near - far) / 38))
    for floor in range(floors):
        low = 0.25 + floor * (top - 0.28) / floors
        for i in range(count):
            x1, x2 = (near + (far - near) * (i + f) / count for f in (0.25, 0.72))
            high = low + (top - 0.28) / floors * 0.62
            scene.shape(wall(x1, x2, low - 0.008, high + 0.01), darker(tone, 1.2))
            glass = (250, 222, 160) if rng.uniform() < 0.15 else darker((120, 146, 172), rng.uniform(0.6, 1.1))
            scene.shape(wall(x1 + (x2 - x1) * 0.08, x2 - (x2 - x1) * 0.08, low, high), glass, to=darker(glass, 0.7))
            scene.shape(wall(x1 + (x2 - x1) * 0.47, x1 + (x2 - x1) * 0.53, low, high), darker(tone, 1.15))
    for i in range(count):  # shops
        x1, x2 = (near + (far - near) * (i + f) / count for f in (0.12, 0.88))
        scene.shape(wall(x1, x2, 0.02, 0.125), (250, 214, 150), to=(150, 116, 84))
        awning = tuple(rng.choice([(172, 60, 56), (60, 104, 92), (206, 160, 70), (70, 84, 130)]))
        scene.shape(wall(x1, x2, 0.12, 0.16), awning, to=darker(awning, 0.75))


def dog(scene: Scene, x: float, y: float, s: float) -> None:
    """A dog that sits facing us; `y` is the ground."""
    fur, dark, white = (186, 124, 66), (120, 74, 40), (244, 234, 220)

    def at(points: Points) -> Points:
        return [(x + a * s, y - b * s) for a, b in points]

    scene.shape(ellipse(x + 0.12 * s, y, 0.62 * s, 0.10 * s), (24, 22, 26), soft=0.06 * s, alpha=0.55)
    scene.shape(stroke(at([(0.30, 0.08), (0.56, 0.12), (0.66, 0.34)]), 0.13 * s, 0.05 * s), fur, curve=0.05 * s)
    for side in (-1, 1):
        scene.shape(
            smooth(at([(side * 0.20, 0.40), (side * 0.44, 0.26), (side * 0.44, 0.04), (side * 0.20, 0.0)])),
            darker(fur, 0.9),
            curve=0.09 * s,
        )
    scene.shape(
        smooth(at([(-0.20, 0.80), (0.20, 0.80), (0.33, 0.35), (0.25, 0.02), (-0.25, 0.02), (-0.33, 0.35)])),
        fur,
        to=darker(fur, 0.85),
        curve=0.14 * s,
        texture=0.25,
    )
    scene.shape(
        smooth(at([(-0.11, 0.76), (0.11, 0.76), (0.14, 0.46), (0, 0.30), (-0.14, 0.46)])),
        white,
        curve=0.05 * s,
        soft=0.02 * s,
    )
    for side in (-1, 1):
        scene.shape(
            smooth(at([(side * 0.05, 0.45), (side * 0.19, 0.45), (side * 0.17, 0.02), (side * 0.04, 0.02)])),
            fur,
            curve=0.05 * s,
        )
        scene.shape(ellipse(x + side * 0.11 * s, y - 0.03 * s, 0.10 * s, 0.05 * s), white, curve=0.04 * s)
    scene.shape(stroke(at([(-0.19, 0.72), (0, 0.66), (0.19, 0.72)]), 0.06 * s), (196, 40, 44), curve=0.02 * s)
    head = 0.98
    scene.shape(ellipse(x, y - head * s, 0.29 * s, 0.27 * s), fur, curve=0.13 * s, texture=0.15)
    scene.shape(
        smooth(at([(-0.05, 1.22), (0.05, 1.22), (0.07, 1.0), (0.12, 0.88), (-0.12, 0.88), (-0.07, 1.0)])),
        white,
        soft=0.015 * s,
    )
    for side in (-1, 1):
        scene.shape(
            smooth(
                at(
                    [
                        (side * 0.17, 1.22),
                        (side * 0.33, 1.14),
                        (side * 0.40, 0.86),
                        (side * 0.29, 0.80),
                        (side * 0.22, 1.02),
                    ]
                )
            ),
            dark,
            curve=0.07 * s,
        )
    scene.shape(ellipse(x, y - 0.87 * s, 0.155 * s, 0.125 * s), white, curve=0.07 * s)
    scene.shape(ellipse(x, y - 0.92 * s, 0.062 * s, 0.045 * s), (26, 22, 24), curve=0.03 * s)
    scene.shape(
        smooth(at([(-0.05, 0.81), (0.05, 0.81), (0.045, 0.70), (0, 0.67), (-0.045, 0.70)])),
        (222, 104, 112),
        curve=0.03 * s,
    )
    scene.shape(
        stroke(at([(-0.10, 0.83), (-0.04, 0.805), (0, 0.84), (0.04, 0.805), (0.10, 0.83)]), 0.014 * s), (50, 34, 30)
    )
    for side in (-1, 1):
        scene.shape(ellipse(x + side * 0.115 * s, y - 1.03 * s, 0.036 * s, 0.038 * s), (30, 20, 16))
        scene.shape(ellipse(x + side * 0.115 * s - 0.012 * s, y - 1.045 * s, 0.011 * s, 0.011 * s), (255, 255, 255))


def phone() -> Scene:
    """Someone with a dog in a street, as a telephone held upright sees them."""
    scene = Scene(675, 1200, (112, 166, 222), (246, 230, 206))
    scene.glow(330, 480, 320, (255, 236, 196), 0.7)
    scene.shape(
        [(-10, 1210), (-10, 880), (322, 566), (338, 566), (685, 900), (685, 1210)],
        (168, 160, 154),
        to=(128, 122, 120),
        texture=0.2,
    )
    for x1, x2, tone, floors, seed in (
        (236, 296, (196, 178, 164), 5, 1), (140, 236, (186, 120, 92), 5, 2), (-40, 140, (214, 190, 146), 5, 3),
        (440, 366, (190, 176, 170), 5, 4), (560, 440, (156, 164, 172), 5, 5), (715, 560, (204, 148, 118), 5, 6),
    ):  # fmt: skip
        house(scene, x1, x2, tone, floors, seed)
    road = [(20, 1210), (314, 568), (334, 568), (430, 1210)]
    scene.shape(road, (116, 114, 118), to=(84, 82, 88), texture=0.25)
    for i in range(9):  # the broken line in the middle
        a, b = (1 - 0.62**k for k in (i * 0.6 + 0.0, i * 0.6 + 0.26))
        points = [(225 + (324 - 225) * t, 1210 + (568 - 1210) * t, 9 * (1 - t)) for t in (a, b)]
        (xa, ya, wa), (xb, yb, wb) = points
        scene.shape([(xa - wa, ya), (xa + wa, ya), (xb + wb, yb), (xb - wb, yb)], (232, 228, 214), alpha=0.8)
    for x, size, y in ((214, 60, 500), (448, 66, 490), (120, 96, 440)):
        scene.shape(
            stroke([(x, y), (x + 2, y + size), (x, y + size * 2.4)], size * 0.1, size * 0.14), (84, 66, 54), curve=3
        )
        foliage(scene, x, y, size, (110, 142, 70), int(x))
    # A car that is parked at the left
    scene.shape(ellipse(120, 838, 112, 16), (20, 20, 24), soft=8, alpha=0.6)
    scene.shape(
        smooth([(22, 800), (30, 766), (58, 724), (180, 724), (208, 766), (218, 804), (206, 832), (34, 832)]),
        (54, 92, 128),
        to=(30, 54, 84),
        curve=20,
    )
    scene.shape(smooth([(58, 764), (76, 733), (164, 733), (182, 764)]), (196, 214, 226), to=(120, 140, 160), curve=5)
    for x in (48, 192):
        scene.shape(ellipse(x, 790, 15, 11), (255, 246, 214), curve=5)
        scene.shape(box(x - 16, 822, x + 16, 846), (24, 24, 28), curve=4)
    scene.shape(box(92, 804, 148, 820), (236, 236, 230))
    scene.blur(2.2)
    scene.glow(330, 520, 420, (255, 226, 180), 0.35)
    # Someone at the right
    x, y, head = 456, 478, 100
    walker = Look((206, 150, 116), (40, 28, 26), (196, 62, 48), "bun", shirt=(236, 232, 222), mouth=0.7, tilt=-0.02)
    scene.shape(ellipse(x + 60, 1164, 190, 24), (26, 24, 28), soft=14, alpha=0.6)
    person(scene, x, y, head, walker, width=0.92)
    scene.shape(stroke([(x - 88, y + 300), (x - 120, y + 420), (x - 190, y + 530)], 5), (40, 36, 40), curve=2)
    dog(scene, 246, 1150, 168)
    return scene


# The clip


def clip_frames() -> Iterator[np.ndarray]:
    """Two shots, 2 s each at 25 frames/s: a boat sails by; then a presenter speaks."""
    size = 480, 270
    lake = landscape(with_boat=False)
    still = lake.pixels.copy()
    for i in range(50):
        lake.pixels = still.copy()
        boat(lake, 560 + i * 5.2, 572 + 1.5 * np.sin(i / 6), 150)
        left = 150 + i * 3.2
        yield np.asarray(
            lake.finished(grain=0, vignette=0.2).resize(size, Image.Resampling.LANCZOS, (left, 250, left + 720, 655))
        )
    closed, speaking, blinking = (
        news(look).finished(grain=0)
        for look in (replace(ANCHOR, mouth=0.0), replace(ANCHOR, mouth=0.7), replace(ANCHOR, eyes_open=0.1))
    )  # fmt: skip
    for i in range(50):
        image = blinking if i in (20, 21, 22) else speaking if i // 4 % 2 else closed
        zoom = 1 - i * 0.0016
        width, height = 1280 * zoom, 720 * zoom
        left, top = (1280 - width) * 0.66, (720 - height) * 0.4
        yield np.asarray(image.resize(size, Image.Resampling.LANCZOS, (left, top, left + width, top + height)))


def clip(path: Path) -> None:
    options = ["-crf", "21", "-preset", "slow", "-movflags", "+faststart", "-map_metadata", "-1", "-threads", "1"]
    writer = imageio_ffmpeg.write_frames(
        str(path), (480, 270), fps=25, codec="libx264", quality=None, macro_block_size=2, output_params=options
    )
    writer.send(None)
    for frame in clip_frames():
        writer.send(np.ascontiguousarray(frame))
    writer.close()


SCENES: dict[str, Callable[[], Scene]] = {"news": news, "group": group, "landscape": landscape, "phone": phone}


def main(names: list[str]) -> None:
    for name in names or [*SCENES, "clip"]:
        path = HERE / f"{name}.{'mp4' if name == 'clip' else 'jpg'}"
        if name == "clip":
            clip(path)
        else:
            SCENES[name]().finished().save(path, quality=86, optimize=True, progressive=True)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
