"""What is looked at of a picture: all of it, what lies between its bars, or windows of a long one.

Each view is a picture of its own to the network. Crops and proposals of all views of a picture are put together here,
in pixels of the picture.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from s2crop.cropping import windows
from s2crop.cropping.request import Crop, CropRequest, Inside, Prepared, Proposal, required
from s2crop.errors import InputError
from s2crop.geometry.boxes import moved
from s2crop.geometry.ratio import ORIGINAL, Ratio
from s2crop.geometry.search import can_hold


class View(NamedTuple):
    """A picture, or a part of one as a picture of its own, and what is asked of it."""

    picture: Prepared
    request: CropRequest
    place: tuple[int, int] = (0, 0)  # where it begins in the whole picture
    is_window: bool = False


class Ranked(NamedTuple):
    """What comes of a view or a picture: its crops, best first in each ratio, or why there are none; its proposals."""

    crops: list[Crop] | InputError
    proposals: list[Proposal]


def views(picture: Prepared, request: CropRequest) -> list[View]:
    """What to look at for a request: the picture, what lies between its bars, or each for some of the ratios; of a long
    one its windows for ratios whose crops lie in them. Ratios of which no crop holds what is required are left out, so
    that they cost the others nothing.

    Raises:
        InputError: what the request requires lies outside the picture.
    """
    ratios = _possible(picture, request)
    if not ratios:
        return []
    asked = request if ratios == request.ratios else replace(request, ratios=ratios)
    return [part for view in _between_bars(picture, asked) for part in _in_windows(view)]


def part_of(picture: Prepared, box: Sequence[float], keep_bars: bool = False) -> Inside | None:
    """The part of a picture that a box in its pixels is looked at in: what lies between its bars, or a window; None
    where it is looked at in the whole. Args: keep_bars: bars count as picture.
    """
    inside = None if keep_bars else picture.inside
    return inside if inside is not None and inside.holds(box) else windows.holding(picture, box)


def joined(picture: Prepared, request: CropRequest, found: Sequence[tuple[View, Ranked]], temperature: float) -> Ranked:
    """What comes of a picture, from what came of its views.

    Args:
        temperature: of the softmax over the windows' scores, on the MOS scale.
    """
    crops: list[Crop] = []
    proposals: list[Proposal] = []
    error: InputError | None = None
    in_windows: dict[str, list[list[Crop]]] = {}  # by ratio, of each window
    for view, ranked in found:
        own = ranked if view.picture is picture else _in_picture(ranked, view, picture)
        if view.is_window or not proposals:
            proposals += own.proposals
        if isinstance(own.crops, InputError):
            error = error or own.crops
        elif view.is_window:
            for ratio, some in groupby(own.crops, key=lambda crop: crop.ratio):
                in_windows.setdefault(ratio, []).append(list(some))
        else:
            crops += own.crops
    if error is not None:
        return Ranked(error, proposals)
    for parts in in_windows.values():
        crops += windows.merged(parts, request.top, temperature)
    order = {ratio.label: number for number, ratio in enumerate(request.ratios)}
    return Ranked(sorted(crops, key=lambda crop: order[crop.ratio]), proposals)  # stable: ranks stay in order


def _in_picture(ranked: Ranked, view: View, picture: Prepared) -> Ranked:
    """What came of a view of a part of a picture, in pixels of the picture."""
    crops, proposals = ranked
    if not isinstance(crops, InputError):
        part_wh, size_wh = (view.picture.width, view.picture.height), (picture.width, picture.height)
        crops = [crop.moved(view.place, part_wh, size_wh) for crop in crops]
    return Ranked(crops, [(moved(box, view.place), score, kind) for box, score, kind in proposals])


def _possible(picture: Prepared, request: CropRequest) -> tuple[Ratio, ...]:
    """The ratios of which a crop holds what is required, or is filled up until it does.

    Raises:
        InputError: what the request requires lies outside the picture.
    """
    size_wh = picture.width, picture.height
    must = required(request, size_wh)
    return tuple(
        ratio
        for ratio in request.ratios
        if must is None
        or can_hold(ratio.for_size(*size_wh), size_wh, must)
        or (request.pad != "never" and ratio.value is not None)
    )


def _between_bars(picture: Prepared, request: CropRequest) -> list[View]:
    """The picture, what lies between its bars, or each for some of the ratios.

    Bars count as picture for the ratio "original", and for those of which no crop between them holds what is required.

    Raises:
        InputError: what the request requires lies outside the picture.
    """
    whole, inside = View(picture, request), picture.inside
    if inside is None or request.keep_bars:
        return [whole]
    must = required(request, (picture.width, picture.height))
    if must is not None and not inside.holds(must):
        return [whole]
    size_wh = inside.prepared.width, inside.prepared.height
    between = tuple(
        ratio
        for ratio in request.ratios
        if ratio.label != ORIGINAL and (must is None or request.pad != "never" or can_hold(ratio.value, size_wh, must))
    )
    found = []
    if between:
        found.append(View(inside.prepared, replace(inside.request(request, must), ratios=between), inside.box[:2]))
    if rest := tuple(ratio for ratio in request.ratios if ratio not in between):
        found.append(View(picture, replace(request, ratios=rest)))
    return found


def _in_windows(view: View) -> list[View]:
    """A view, or in place of it those of its windows that hold what the request requires."""
    picture, request = view.picture, view.request
    near = tuple(
        one
        for one in request.ratios
        if windows.holds_ratio(picture, one.for_size(picture.width, picture.height))
        and not (request.pad == "always" and one.value is not None)  # all of it is kept
    )
    must = required(request, (picture.width, picture.height)) if near else None
    parts = [one for one in picture.windows if must is None or one.holds(must)]
    if not near or not parts:
        return [view]
    found = [_window(part, replace(part.request(request, must), ratios=near), view.place) for part in parts]
    if far := tuple(one for one in request.ratios if one not in near):
        found.append(view._replace(request=replace(request, ratios=far)))
    return found


def _window(part: Inside, request: CropRequest, place: tuple[int, int]) -> View:
    """A window as a view. Args: where the picture begins of which it is a part."""
    return View(part.prepared, request, moved(part.box, place)[:2], is_window=True)
