"""Pads: how far what is filled up to a ratio reaches past a box. Pads are (left, top, right, bottom) in pixels."""

import math

Pads = tuple[int, int, int, int]

NEARLY = 0.005  # of a side: a pad thinner than that would look like a mistake, so there is none


def pads_around(box_wh: tuple[int, int], ratio: float, circle: bool = False) -> Pads | None:
    """What to put around a box, at its own scale, so that it has a ratio; None where it nearly has it.

    Args:
        ratio: width over height.
        circle: fill up to a square whose inscribed circle the box lies in.
    """
    width, height = box_wh
    if circle:
        whole = math.ceil(math.hypot(width, height))
        across, down = whole - width, whole - height
    else:
        across, down = max(0, round(height * ratio) - width), max(0, round(width / ratio) - height)
        if width / height > ratio:
            across = 0
        else:
            down = 0
        if across <= max(1, NEARLY * width) and down <= max(1, NEARLY * height):
            return None
    return across // 2, down // 2, across - across // 2, down - down // 2


def pads_in(output_wh: tuple[int, int], box_wh: tuple[int, int], pads: Pads) -> Pads:
    """Such pads in an output of any size: what lies between them is in the middle, and at least a pixel."""
    found = []
    both = all(before + after for before, after in zip(pads[:2], pads[2:], strict=True))
    for whole, side, before, after in zip(output_wh, box_wh, pads[:2], pads[2:], strict=True):
        inside = whole * side / (before + side + after)
        # In a circle, whose border the corners touch, none may be rounded up past it.
        room = whole - min(max(1, math.floor(inside) if both else round(inside)), whole)
        found.append((room // 2, room - room // 2))
    (left, right), (top, bottom) = found
    return left, top, right, bottom
