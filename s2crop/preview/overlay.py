"""The chosen boxes, and what the network saw, drawn on a picture: for looking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw, ImageFont

from s2crop.geometry.boxes import moved

LONGEST, SHORTEST = 1600, 1024  # pixels of an overlay's long side, whatever the picture has
# One for each ratio, in their order: apart in hue and light enough for dark lettering, on photos of any colour.
COLOURS = ("#ffb000", "#48cae4", "#ff6b9d", "#80ed99", "#c4a7ff", "#ff8a5b", "#f1f08a", "#2ec4b6")
SEEN = "#ffffff"  # proposals
MOST_SEEN = 10  # proposals, the best: those that the graph takes
_DARK = (0, 0, 0, 150)  # on both sides of a line, so that it is seen on white too
_SHADE = (0, 0, 0, 96)  # on what no crop holds
_PAGE = "#8a8f98"  # beside the picture, where crops are filled up past it

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class Outline:
    """A box to draw, in pixels of the upright picture."""

    box: Box
    label: str
    colour: str
    thin: bool = False
    dashed: bool = False
    circle: bool = False  # the inscribed one of the whole too
    whole: Box | None = None  # with what is filled up around the box, reaching past the picture


def size_wh(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the overlay of a picture."""
    long_side = max(width, height)
    scale = min(max(long_side, SHORTEST), LONGEST) / long_side
    return max(1, round(width * scale)), max(1, round(height * scale))


def crop_outlines(crops: Sequence, ratios: Sequence[str], circle: bool) -> list[Outline]:
    """Of crops, coloured by ratio; labelled with rank where there are several, worth, score, what they cut or lose,
    as far as that is known."""
    ranked = any(crop.rank > 1 for crop in crops)
    outlines = []
    for crop in crops:
        words = [crop.ratio, *([f"#{crop.rank}"] if ranked else [])]
        if figures := [f"{value:.2f}" for value in (crop.worth, crop.score) if math.isfinite(value)]:
            words.append(" " + "  ".join(figures))  # a box that was given need have none
        label = " ".join(words + faults(crop.cut, crop.lost))
        colour = COLOURS[ratios.index(crop.ratio) % len(COLOURS)]
        whole = None
        if crop.padded is not None:
            x1, y1, x2, y2 = crop.box
            left, top, right, bottom = crop.padded
            whole = x1 - left, y1 - top, x2 + right, y2 + bottom
        outlines.append(Outline(crop.box, label, colour, thin=crop.rank > 1, circle=circle, whole=whole))
    return outlines


def faults(cut: Sequence[tuple[str, Box]] | None, lost: Sequence[tuple[str, Box]] | None) -> list[str]:
    """ "cuts face, text", "loses subject": what of protected things a crop does not hold."""
    return [
        f"{word} {', '.join(dict.fromkeys(kind for kind, _ in things))}"
        for word, things in (("cuts", cut), ("loses", lost)) if things
    ]  # fmt: skip


def proposal_outlines(proposals: Sequence[tuple[Box, float, str]]) -> list[Outline]:
    """Of proposals (box, score, kind), best first: dashed."""
    return [Outline(box, f"{kind} {score:.2f}", SEEN, dashed=True) for box, score, kind in proposals[:MOST_SEEN]]


def draw(
    picture: Image.Image,
    size: tuple[int, int],
    crops: Sequence[Outline],
    seen: Sequence[Outline] = (),
    *,
    shade: bool = True,
) -> Image.Image:
    """Draw outlines on a picture.

    Where crops are filled up past the picture, it is laid on a page that shows how far.

    Args:
        picture: RGB, upright; drawn on.
        size: (width, height) that the boxes are in.
        crops: best first.
        seen: proposals.
        shade: darken what no crop holds a little.
    """
    picture, size, shift = _with_room(picture, size, crops)
    if any(shift):
        crops, seen = ([_shifted(outline, shift) for outline in some] for some in (crops, seen))
    scale = picture.width / size[0], picture.height / size[1]
    line = max(2, round(max(picture.size) / 530))
    pen = ImageDraw.Draw(picture, "RGBA")
    boxes = [scaled(outline.whole or outline.box, scale) for outline in crops]
    for outline in crops:
        if outline.whole:
            inner = replace(outline, whole=None, dashed=True)
            _rectangle(pen, scaled(outline.box, scale), inner, max(1, line // 2))
    if shade:
        _shade(picture, boxes)
    for outline in seen:
        _rectangle(pen, scaled(outline.box, scale), outline, max(1, line // 2))
    edges: list[set[int]] = [set(), set(), set(), set()]
    apart = [_beside(box, edges, line + 2) for box in boxes]
    for outline, box in reversed(list(zip(crops, apart, strict=True))):  # the best on top
        _rectangle(pen, box, outline, line - outline.thin)
    labels: list[tuple[int, ...]] = []
    for outline, box in zip(crops, apart, strict=True):
        _label(pen, box, outline, 11 * line, picture.size, labels)
    for outline in seen:
        _label(pen, scaled(outline.box, scale), outline, 8 * line, picture.size, labels)
    return picture


def _with_room(
    picture: Image.Image, size: tuple[int, int], crops: Sequence[Outline]
) -> tuple[Image.Image, tuple[int, int], tuple[int, int]]:
    """The picture on a page that holds all that crops are filled up with, the page's size in pixels that boxes are in,
    and where on it the picture begins."""
    wholes = [(0, 0, *size), *(outline.whole for outline in crops if outline.whole)]
    x1, y1, x2, y2 = (choose(whole[i] for whole in wholes) for i, choose in enumerate((min, min, max, max)))
    page = math.ceil(x2) - math.floor(x1), math.ceil(y2) - math.floor(y1)
    if page == size:
        return picture, size, (0, 0)
    shift = -math.floor(x1), -math.floor(y1)
    scale = min(picture.width / size[0], LONGEST / max(page))
    picture = picture.resize((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    made = Image.new("RGB", (max(1, round(page[0] * scale)), max(1, round(page[1] * scale))), _PAGE)
    made.paste(picture, (round(shift[0] * scale), round(shift[1] * scale)))
    return made, page, shift


def _shifted(outline: Outline, shift: tuple[int, int]) -> Outline:
    return replace(outline, box=moved(outline.box, shift), whole=outline.whole and moved(outline.whole, shift))


def scaled(box: Box, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """In pixels of the overlay, the last ones included, as `ImageDraw` takes boxes."""
    x1, y1, x2, y2 = (round(edge * scale[i % 2]) for i, edge in enumerate(box))
    return x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)


def _beside(box: tuple[int, ...], edges: list[set[int]], step: int) -> tuple[int, int, int, int]:
    """The box, drawn in where its edges would lie on those of others; a box with no room for that stays."""
    moved = []
    for edge, others, inwards in zip(box, edges, (step, step, -step, -step), strict=True):
        while any(abs(edge - other) < step for other in others):
            edge += inwards
        others.add(edge)
        moved.append(edge)
    x1, y1, x2, y2 = moved if moved[0] < moved[2] and moved[1] < moved[3] else box
    return x1, y1, x2, y2


def _shade(picture: Image.Image, boxes: Sequence[tuple[int, ...]]) -> None:
    mask = Image.new("L", picture.size, _SHADE[3])
    for box in boxes:
        mask.paste(0, (box[0], box[1], box[2] + 1, box[3] + 1))
    picture.paste(_SHADE[:3], mask=mask)


def _rectangle(pen: ImageDraw.ImageDraw, box: tuple[int, ...], outline: Outline, line: int) -> None:
    x1, y1, x2, y2 = box
    if outline.dashed:
        for shift, colour in ((1, _DARK), (0, outline.colour)):
            _dashes(pen, (x1 + shift, y1 + shift, x2 - shift, y2 - shift), line, colour)
        return
    shapes = [pen.rectangle] + [pen.ellipse] * outline.circle
    for shape in shapes:
        for inset, colour, width in ((line, _DARK, 1), (-1, _DARK, 1), (0, outline.colour, line)):
            inner = (x1 + inset, y1 + inset, x2 - inset, y2 - inset)
            if inner[0] <= inner[2] and inner[1] <= inner[3]:
                shape(inner, outline=colour, width=width)


def _dashes(pen: ImageDraw.ImageDraw, box: tuple[int, ...], line: int, colour: str | tuple[int, ...]) -> None:
    x1, y1, x2, y2 = box
    on, period = 4 * line + 2, 7 * line + 3
    for x in range(x1, x2, period):
        for y in (y1, y2):
            pen.line((x, y, min(x + on, x2), y), fill=colour, width=line)
    for y in range(y1, y2, period):
        for x in (x1, x2):
            pen.line((x, y, x, min(y + on, y2)), fill=colour, width=line)


def _label(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, ...],
    outline: Outline,
    height: int,
    size: tuple[int, int],
    labels: list[tuple[int, ...]],
) -> None:
    """A tag in a corner of the box or along its sides, where none is yet; none where there is no room."""
    font = ImageFont.load_default(height * 0.62)
    pad = height // 4
    width = round(pen.textlength(outline.label, font)) + 2 * pad
    x1, y1, x2, y2 = box
    if outline.dashed:  # small, and out of the way of what was seen
        lines, columns = [y2 + 1, y1 - height, y1, y2 - height], [x1, x2 - width]
    else:
        lines = [y1, y2 - height + 1, *range(y1 + height, y2 - height, height)]
        columns = [x1, x2 - width + 1]
    for y in lines:
        for x in columns:
            tag = (x, y, x + width - 1, y + height - 1)
            if x < 0 or y < 0 or tag[2] >= size[0] or tag[3] >= size[1]:
                continue
            if any(
                x < other[2] + 2 and other[0] < tag[2] + 2 and y < other[3] + 2 and other[1] < tag[3] + 2
                for other in labels
            ):
                continue
            labels.append(tag)
            pen.rectangle(tag, fill=(0, 0, 0, 130) if outline.dashed else outline.colour)
            ink = outline.colour if outline.dashed else "#111111"
            pen.text((x + width / 2, y + height / 2), outline.label, fill=ink, font=font, anchor="mm")
            return
