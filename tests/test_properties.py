"""What holds for every ratio, size, name, plan, box and anchor, on cases that hypothesis makes up."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from s2crop.choices import MAX_SIDE
from s2crop.errors import OutputError
from s2crop.files.names import plan_names
from s2crop.files.sizes import Size, output_size, parse_size
from s2crop.files.sources import Kind, Source
from s2crop.geometry.anchors import FEW, RATIO_ANCHORS, border_anchors, grid_anchors, ratio_anchors
from s2crop.geometry.boxes import inside_circle_share, inside_share, iou_matrix, largest_of_ratio, mirrored, to_pixels
from s2crop.geometry.ratio import MAX_RATIO, Ratio, parse_ratio

settings.register_profile("s2crop", deadline=None, derandomize=True, max_examples=100)  # the same cases on every run
settings.load_profile("s2crop")

TINY = 1e-6  # of a picture's side: what float64 leaves over
sides = st.integers(1, 20_000)
values = st.floats(1 / MAX_RATIO, MAX_RATIO)


@st.composite
def boxes_in_pictures(draw) -> tuple[np.ndarray, tuple[int, int]]:
    """A box with area inside a picture, and the picture's (width, height)."""
    size_wh = draw(sides), draw(sides)
    ends = [sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1)))) for _ in size_wh]
    assume(all((high - low) * side > 0.01 for (low, high), side in zip(ends, size_wh, strict=True)))
    (x1, x2), (y1, y2) = ends
    return np.array([x1, y1, x2, y2]) * [*size_wh, *size_wh], size_wh


# Ratios and sizes


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([":", "x", "/", " : "]))
def test_a_pair_is_read_as_its_quotient_or_refused(width, height, separator):
    text = f"{width}{separator}{height}"
    if not 1 / MAX_RATIO <= width / height <= MAX_RATIO:
        with pytest.raises(ValueError, match="out of range"):
            parse_ratio(text)
        return
    ratio = parse_ratio(text)
    assert ratio == parse_ratio(ratio.label) == Ratio(f"{width}:{height}", width / height)
    assert not set(ratio.file_label) & set(r'<>:"/\|?*')


@given(st.text(max_size=12))
def test_any_text_is_a_ratio_in_range_or_a_clear_mistake(text):
    try:
        ratio = parse_ratio(text)
    except ValueError as error:
        assert "aspect ratio" in str(error)
    else:
        assert ratio.value is None or 1 / MAX_RATIO <= ratio.value <= MAX_RATIO


@given(st.text("0123456789x X", max_size=9) | st.text(max_size=9))
def test_any_text_is_a_size_that_files_can_hold_or_a_clear_mistake(text):
    try:
        size = parse_size(text)
    except ValueError as error:
        assert "size" in str(error)
    else:
        given_sides = [side for side in (size.width, size.height) if side is not None]
        assert given_sides and all(1 <= side <= MAX_SIDE for side in given_sides)


@given(boxes_in_pictures(), values, st.integers(1, 5000), st.sampled_from(["width", "height", "both"]), st.booleans())
def test_the_size_that_was_asked_for_comes_out(case, value, side, asked, no_upscale):
    box = to_pixels(*case, value)
    size = Size(side if asked != "height" else None, side if asked != "width" else None)
    try:
        got = output_size(box, size, no_upscale, Ratio("r", value))
    except OutputError:
        assert side * max(value, 1 / value) > MAX_SIDE - 1
        return
    if got is None:
        assert no_upscale
        return
    assert (size.width or got[0], size.height or got[1]) == got
    if asked == "width":
        assert abs(got[1] - side / value) <= 0.5 or got[1] == 1
    if no_upscale:
        assert got[0] <= box[2] - box[0] and got[1] <= box[3] - box[1]


# Boxes


@given(sides, sides, values)
def test_the_largest_box_of_a_ratio_fills_one_side(width, height, ratio):
    w, h = largest_of_ratio(ratio, width, height)
    assert w / h == pytest.approx(ratio)
    assert w <= width * (1 + TINY) and h <= height * (1 + TINY)
    assert w == pytest.approx(width) or h == pytest.approx(height)


@given(boxes_in_pictures(), st.none() | values)
def test_whole_pixels_lie_inside_and_keep_the_ratio(case, ratio):
    box, (width, height) = case
    x1, y1, x2, y2 = to_pixels(box, (width, height), ratio)
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    if ratio is None:
        assert np.abs(np.array([x1, y1, x2, y2]) - box).max() <= 1
    elif min(x2 - x1, y2 - y1) > 1 and x2 - x1 < width and y2 - y1 < height:
        long, short, times = (x2 - x1, y2 - y1, ratio) if ratio >= 1 else (y2 - y1, x2 - x1, 1 / ratio)
        assert abs(short - long / times) <= 0.5 + TINY


@given(boxes_in_pictures(), st.none() | values, st.data())
def test_what_a_box_must_hold_is_held_by_its_whole_pixels(case, ratio, data):
    box, size_wh = case
    inner = [data.draw(st.floats(0, 0.45)) for _ in range(4)]
    extent = np.tile(box[2:] - box[:2], 2)
    must = box + np.array([1, 1, -1, -1]) * inner * extent
    if ratio is not None:  # with a ratio, what is to be held fits a box of that ratio
        w, h = largest_of_ratio(ratio, *(box[2:] - box[:2]))
        centre = (box[:2] + box[2:]) / 2
        box = np.concatenate([centre - [w / 2, h / 2], centre + [w / 2, h / 2]])
        must = np.concatenate([np.maximum(must[:2], box[:2]), np.minimum(must[2:], box[2:])])
    x1, y1, x2, y2 = to_pixels(box, size_wh, ratio, must)
    assert 0 <= x1 < x2 <= size_wh[0] and 0 <= y1 < y2 <= size_wh[1]
    assert x1 <= must[0] + 1e-5 and y1 <= must[1] + 1e-5 and x2 >= must[2] - 1e-5 and y2 >= must[3] - 1e-5


@given(boxes_in_pictures(), boxes_in_pictures())
def test_iou_and_shares_are_shares(first, second):
    a, b = first[0][None], second[0][None]
    overlap = iou_matrix(a, b)[0, 0]
    assert 0 <= overlap <= 1 + TINY and overlap == pytest.approx(iou_matrix(b, a)[0, 0])
    assert iou_matrix(a, a)[0, 0] == pytest.approx(1)
    share = inside_share(a, b)[0, 0]
    assert overlap <= share + TINY and share <= 1 + TINY
    assert inside_share(a, a)[0, 0] == pytest.approx(1)
    assert 0 <= inside_circle_share(a, b)[0, 0] <= 1


@given(boxes_in_pictures())
def test_mirroring_twice_changes_nothing(case):
    box, (width, _) = case
    np.testing.assert_allclose(mirrored(mirrored(box, width), width), box, atol=TINY * width)
    assert mirrored(box, width)[0] == pytest.approx(width - box[2])


# Anchors


def assert_inside(boxes: np.ndarray, width: float, height: float) -> None:
    limit = np.array([width, height, width, height])
    assert (boxes >= -TINY * limit).all() and (boxes <= limit * (1 + TINY)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@given(sides, sides)
def test_grid_and_border_anchors_lie_inside_and_are_many(width, height):
    grid, border = grid_anchors(width, height), border_anchors(width, height)
    assert FEW <= len(grid) <= 90
    for boxes in (grid, border):
        assert_inside(boxes, width, height)
        assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (border == [0, 0, width, height]).all(axis=1).any(), "the whole picture is one of them"


@given(sides, sides, values)
def test_anchors_of_a_ratio_have_it_and_lead_with_the_largest(width, height, ratio):
    boxes = ratio_anchors(ratio, width, height)
    assert 1 <= len(boxes) <= RATIO_ANCHORS
    assert_inside(boxes, width, height)
    w, h = (boxes[:, 2:] - boxes[:, :2]).T
    np.testing.assert_allclose(w / h, ratio, rtol=1e-4)
    assert (w[0], h[0]) == pytest.approx(largest_of_ratio(ratio, width, height))


# Names and plans

stems = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name.strip(".") and not name.startswith(".")
)
relative_paths = st.builds(
    lambda folder, stem, suffix: Path(folder, stem + suffix),
    st.sampled_from(["", "sub", "sub/deeper", "Sub"]),
    st.sampled_from(["a", "A", "a_2", "a_png", "é", "e\u0301"]) | stems,
    st.sampled_from([".jpg", ".png", ".JPG", ""]),
)


@given(
    st.lists(st.tuples(relative_paths, st.sampled_from(list(Kind))), min_size=1, max_size=8),
    st.lists(st.sampled_from(["16:9", "1:1", "free"]), min_size=1, max_size=3, unique=True),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_no_two_outputs_of_a_run_share_a_path(inputs, ratios, top, covers, keep_frames):
    sources = [Source(f"in/{i}/{path}", Path(f"in/{i}") / path, path, kind) for i, (path, kind) in enumerate(inputs)]
    asked = [parse_ratio(ratio) for ratio in ratios]
    options = dict(folder=Path("out"), fmt="same", circle=False, overlay=True, covers=covers, keep_frames=keep_frames)
    plans = plan_names(sources, asked, top, **options)
    assert plans == plan_names(sources, asked, top, **options), "names depend on the inputs alone"
    paths = [path for plan in plans for path in plan.all_paths()]
    assert len({unicodedata.normalize("NFC", str(path).casefold()) for path in paths}) == len(paths)
    assert all(path.parts[0] == "out" and ".." not in path.parts for path in paths)
    for source, plan in zip(sources, plans, strict=True):
        assert len(plan.covers) == (0 if source.kind == Kind.PICTURE else covers)
        assert len(plan.crops) == (0 if source.kind == Kind.CLIP else len(ratios) * top)
        assert all(path.parent == Path("out") / source.relative.parent for path in plan.all_paths())
