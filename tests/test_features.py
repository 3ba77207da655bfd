"""What crops hold, cut and lose: integral images against loops, features by hand, and what is told of a crop."""

import dataclasses

import numpy as np
import pytest

from s2crop.choices import PROTECT
from s2crop.cropping.content import Content, with_faces
from s2crop.cropping.features import ALL_NAMES, APPEAL, NAMES, SCORE, avoidable, columns, measure
from s2crop.cropping.protect import cut_and_lost, focus_of, mask_at_borders, mask_inside, subject_box
from s2crop.geometry.integral import Integral, strips
from s2crop.models.choice import FEATURES

NOTHING = np.zeros((0, 4)), np.zeros(0)


def content(subject=None, size_wh=(120, 80), **parts):
    """A picture of 120x80 with a map of 12x8 cells; parts are boxes in fractions, all sure."""
    subject = np.zeros((8, 12)) if subject is None else subject
    found = {kind: NOTHING for kind in ("head", "eyes", "person", "object", "text")}
    found |= {kind: (np.array(boxes, float), np.ones(len(boxes))) for kind, boxes in parts.items()}
    return Content(size_wh, subject, np.full((4, 6), 1 / 24), np.zeros((2, 4, 6)), found)


def blob(x1, y1, x2, y2):
    """A subject that fills cells [y1, y2) x [x1, x2) of 8x12."""
    subject = np.zeros((8, 12))
    subject[y1:y2, x1:x2] = 1
    return subject


def of(found, name):
    return found[:, ALL_NAMES.index(name)]


def test_sums_over_boxes_equal_the_loop():
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 1, (2, 7, 9))
    corner = rng.uniform(0, 0.6, (20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.4, (20, 2))], axis=1)
    found = Integral(maps).over(boxes)
    for box, sums in zip(boxes, found, strict=True):
        x1, y1, x2, y2 = box * [9, 7, 9, 7]
        wanted = np.zeros(2)
        for row in range(7):
            for column in range(9):
                width = max(0.0, min(x2, column + 1) - max(x1, column))
                height = max(0.0, min(y2, row + 1) - max(y1, row))
                wanted += maps[:, row, column] * width * height
        np.testing.assert_allclose(sums, wanted, atol=1e-9)


def test_strips_lie_just_inside_the_borders():
    left, top, right, bottom = strips(np.array([[0.2, 0.1, 0.8, 0.9]]), np.array([0.05, 0.1]))[:, 0]
    np.testing.assert_allclose(left, [0.2, 0.1, 0.25, 0.9])
    np.testing.assert_allclose(top, [0.2, 0.1, 0.8, 0.2])
    np.testing.assert_allclose(right, [0.75, 0.1, 0.8, 0.9])
    np.testing.assert_allclose(bottom, [0.2, 0.8, 0.8, 0.9])


def test_a_subject_is_whole_halved_or_lost():
    boxes = np.array([[0.0, 0, 0.5, 1], [0.25, 0, 0.75, 1], [0.5, 0, 1, 1]])
    found = measure(content(blob(0, 2, 6, 6)), boxes, np.ones(3))  # the left half
    np.testing.assert_allclose(of(found, "lost"), [0, 0.5, 1], atol=1e-9)
    sides = of(found, "cut_sides")
    assert sides[0] > 0 and sides[1] > 0  # the first ends where the subject ends: its border lies on it
    inside = measure(content(blob(1, 2, 5, 6)), boxes, np.ones(3))
    assert of(inside, "cut_sides")[0] == 0 < of(inside, "cut_sides")[1]
    assert (of(inside, "cut_top") == 0).all()  # the picture's own border cuts nothing


def test_what_the_picture_cuts_already_is_not_held_against_a_crop():
    subject = blob(4, 4, 8, 8)  # reaches the picture's lower border
    boxes = np.array([[0.0, 0, 1, 0.75], [0.0, 0, 1, 1]])
    found = measure(content(subject), boxes, np.ones(2))
    np.testing.assert_allclose(of(found, "cut_bottom"), [0, 0], atol=1e-9)
    hanging = measure(content(blob(4, 2, 8, 7)), boxes, np.ones(2))
    assert of(hanging, "cut_bottom")[0] > 0.5 and of(hanging, "cut_bottom")[1] == 0


def test_a_faint_map_says_little():
    sure, faint = (
        of(measure(content(subject), np.array([[0.5, 0, 1, 1]]), np.ones(1)), "lost")[0]
        for subject in (blob(0, 0, 4, 8), 0.001 * blob(0, 0, 4, 8))
    )
    assert sure == pytest.approx(1) and faint < 0.05


def test_of_main_things_the_core_is_asked_for_by_itself():
    main = np.stack([blob(0, 2, 6, 6), blob(0, 2, 2, 6)])  # the left half, and its left third
    marked = dataclasses.replace(content(), main=main)
    boxes = np.array([[0.0, 0, 0.5, 1], [0.25, 0, 0.75, 1], [0.5, 0, 1, 1]])
    found = measure(marked, boxes, np.ones(3))
    np.testing.assert_allclose(of(found, "main_lost"), [0, 0.5, 1], atol=1e-9)
    np.testing.assert_allclose(of(found, "main_halved"), [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(of(found, "core_lost"), [0, 1, 1], atol=1e-9)
    np.testing.assert_allclose(of(found, "core_halved"), [0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(of(found, "main_off_x"), [0, 0.25, 0], atol=1e-9)  # of what is held
    np.testing.assert_allclose(of(found, "main_fill"), [0.5, 0.25, 0], atol=1e-9)
    cut = of(found, "main_cut")
    assert cut[1] > 0 and cut[2] == 0  # its border lies beside it
    faint = measure(dataclasses.replace(content(), main=0.2 * main), boxes, np.ones(3))
    np.testing.assert_allclose(of(faint, "main_lost"), [0, 0.1, 0.2], atol=1e-9)  # an accent of a landscape
    nothing = measure(content(), boxes, np.ones(3))
    assert not any(of(nothing, name).any() for name in ALL_NAMES if name.startswith(("main", "core")))
    high = measure(
        dataclasses.replace(content(), main=np.stack([blob(4, 0, 8, 4)] * 2)), np.array([[0, 0, 1, 1.0]]), np.ones(1)
    )
    assert of(high, "main_off_y")[0] == pytest.approx(-0.25) and of(high, "main_off_y_size")[0] == pytest.approx(0.25)
    halved = measure(marked, np.array([[0, 0, 1 / 12, 1]]), np.ones(1))  # a border runs through the core
    assert of(halved, "core_cut_worst")[0] > 0 and of(halved, "core_lost_most")[0] == pytest.approx(0.25)


def test_cuts_count_as_far_as_they_can_be_avoided():
    large = content(blob(1, 1, 11, 7))  # ten cells wide, six high
    thin = np.array([[0, y, 1, y + 1 / 8] for y in (0, 0.375, 0.875)])  # a sixth of it at the most
    half = np.array([[0.0, 0.25, 1, 0.6]])  # 2.8 of 6 rows
    names = [name for name, counts in zip(ALL_NAMES, avoidable(large, thin), strict=True) if counts == 0]
    assert {"cut_top", "cut_worst", "tight", "object_cut", "main_halved"} <= set(names)
    assert not {"lost", "main_lost", "head_cut", "text_cut", "looks_cut", "score"} & set(names)
    assert of(avoidable(large, half)[None], "cut_top") == pytest.approx((2.8 / 6 - 0.2) / 0.3, abs=0.01)
    assert (avoidable(large, np.array([[0.0, 0, 1, 0.75]])) == 1).all()
    assert (avoidable(content(), thin) == 1).all()  # nobody knows what it is about


def test_heads_and_text_by_hand():
    parts = content(head=[[0.1, 0.1, 0.3, 0.5]], eyes=[[0.1, 0.2, 0.3, 0.3]], text=[[0.6, 0.8, 0.9, 0.9]])
    boxes = np.array([[0.0, 0, 0.5, 1], [0.2, 0, 0.7, 1], [0.5, 0, 1, 1]])
    found = measure(parts, boxes, np.ones(3))
    np.testing.assert_allclose(of(found, "head_lost"), [0, 0.5, 1], atol=1e-9)
    np.testing.assert_allclose(of(found, "head_cut"), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(of(found, "eyes_lost"), [0, 0.5, 1], atol=1e-9)
    np.testing.assert_allclose(of(found, "text_lost"), [1, 2 / 3, 0], atol=1e-9)
    assert of(found, "head_off_x")[0] == pytest.approx(0.1) and of(found, "head_off_x")[2] == 0


@pytest.mark.parametrize("kind, share", [("text", 1 / 4), ("head", 1 / 2)])
def test_text_that_is_hardly_sure_counts_for_little(kind, share):
    known = content(**{kind: [[0.6, 0.8, 0.9, 0.9]]})
    boxes, _ = known.parts[kind]
    left_half = np.array([[0.0, 0, 0.5, 1]])
    lost = [
        of(
            measure(
                dataclasses.replace(known, parts=known.parts | {kind: (boxes, np.array([score]))}),
                left_half,
                np.ones(1),
            ),
            f"{kind}_lost",
        )[0]
        for score in (1.0, 0.5)
    ]
    assert lost[1] == pytest.approx(share * lost[0]) and lost[0] > 0


def test_a_head_in_the_corner_is_outside_of_the_circle():
    square = np.array([[0.0, 0, 2 / 3, 1]])  # 80x80 pixels of 120x80
    corner = content(head=[[0.0, 0, 0.08, 0.12]])
    assert of(measure(corner, square, np.ones(1)), "head_lost")[0] == 0
    assert of(measure(corner, square, np.ones(1), circle=True), "head_lost")[0] > 0.5
    middle = content(head=[[0.3, 0.4, 0.36, 0.6]])
    assert of(measure(middle, square, np.ones(1), circle=True), "head_lost")[0] == 0


def test_protection_leaves_whole_groups_out():
    assert FEATURES == len(ALL_NAMES) == len(set(ALL_NAMES))
    assert columns("all").all() and columns("none").sum() == len(NAMES["network"]) == 2
    for name in ("face", "text", "subject"):
        kept = {feature for feature, count in zip(ALL_NAMES, columns(name), strict=True) if count}
        assert kept == {*NAMES["network"], *NAMES["place"], *NAMES[name]}
    assert len({columns(name).tobytes() for name in PROTECT}) == len(PROTECT)


def test_scores_and_appeals_have_columns_of_their_own():
    found = measure(content(), np.array([[0.0, 0, 1, 1], [0.0, 0, 0.5, 1]]), np.ones(2))
    assert not found[:, [SCORE, APPEAL]].any()
    assert (ALL_NAMES[SCORE], ALL_NAMES[APPEAL]) == ("score", "appeal")


def test_a_face_without_a_head_is_grown_to_one():
    heads, faces = (
        (np.array([[0.1, 0.1, 0.3, 0.4]]), np.ones(1)),
        np.array([[0.15, 0.2, 0.25, 0.35], [0.6, 0.5, 0.7, 0.6]]),
    )
    boxes, scores = with_faces(heads, (faces, np.array([0.9, 0.8])))
    assert len(boxes) == 2 and scores.tolist() == [1, 0.8]  # the first face lies in the head
    x1, y1, x2, y2 = boxes[1]
    assert x1 < 0.6 and y1 < 0.46 and x2 > 0.7 and y2 > 0.6


def test_what_is_cut_and_lost_is_told_in_pixels_of_the_picture():
    seen = content(blob(4, 2, 8, 6), head=[[0.4, 0.3, 0.5, 0.5]], text=[[0.0, 0.9, 0.3, 1.0]])
    whole = cut_and_lost(seen, (0, 0, 120, 80), "all")
    assert whole == ([], [])
    cut, lost = cut_and_lost(seen, (55, 0, 120, 80), "all")
    assert [one.kind for one in cut] == ["face", "subject"] and [one.kind for one in lost] == ["text"]
    assert cut[0].box == (48, 24, 60, 40) and lost[0].box == (0, 72, 36, 80) and cut[1].box == (40, 20, 80, 60)
    assert [one.kind for one in cut_and_lost(seen, (55, 0, 120, 80), "text")[1]] == ["text"]
    assert cut_and_lost(seen, (55, 0, 120, 80), "none") == ([], [])
    assert [one.kind for one in cut_and_lost(seen, (85, 0, 120, 80), "subject")[1]] == ["subject"]


def test_a_border_through_a_mask_is_measured_in_roots_of_its_area():
    mask = blob(4, 2, 8, 6) > 0  # 40x40 pixels
    assert mask_inside(mask, np.array([0.0, 0, 0.5, 1]), (120, 80)) == pytest.approx((0.5, 1.0))
    assert mask_inside(mask, np.array([0.0, 0, 1, 1]), (120, 80)) == pytest.approx((1.0, 0.0))
    crops = np.array([[0.0, 0, 0.5, 1], [0, 0, 1, 1], [0.3, 0.2, 0.6, 0.9]])
    held, through = mask_at_borders(Integral(mask[None] / mask.size), crops, (120, 80))
    assert (held.shape, through.shape) == ((3,), (3, 4))
    for crop, share, ways in zip(crops, held, through, strict=True):
        assert mask_inside(mask, crop, (120, 80)) == pytest.approx((share, ways.max()))
    np.testing.assert_allclose(subject_box(mask), [1 / 3, 0.25, 2 / 3, 0.75])
    assert subject_box(np.zeros((8, 12), bool)) is None


def test_the_focus_is_on_the_subject_and_inside_the_crop():
    x, y = focus_of(content(blob(8, 0, 12, 4)), (0, 0, 120, 80))
    assert 0.7 < x < 0.9 and 0.15 < y < 0.4
    x, y = focus_of(content(blob(8, 0, 12, 4)), (0, 40, 40, 80))
    assert 0 <= x <= 1 / 3 and 0.5 <= y <= 1
