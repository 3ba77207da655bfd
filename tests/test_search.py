"""Whole pixels, hard constraints, and the choice among scored candidates."""

import numpy as np
import pytest

from s2crop.errors import InputError
from s2crop.geometry.boxes import inside_circle_share, inside_share, iou_matrix, to_pixels
from s2crop.geometry.search import (
    SAME_CROP_IOU,
    candidates,
    choose,
    neighbours,
    scales,
    worth,
)


def test_iou_and_share_by_hand():
    a, b = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 2, 6, 6], [0, 0, 4, 4], [5, 5, 6, 6]])
    np.testing.assert_allclose(iou_matrix(a, b), [[4 / 28, 1, 0]])
    np.testing.assert_allclose(inside_share(a, b), [[0.25, 1, 0]])


@pytest.mark.parametrize("seed", range(20))
def test_whole_pixel_boxes_stay_inside_keep_the_ratio_and_what_they_must_hold(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        size = tuple(int(v) for v in rng.integers(3, 900, 2))
        ratio = float(rng.choice([1, 16 / 9, 4 / 5, 9 / 16, 1.91, 3.7]))
        must = None
        if rng.random() < 0.5:
            corner = rng.uniform(0, 0.8, 2) * size
            must = np.concatenate([corner, corner + rng.uniform(0, 0.15, 2) * size])
        try:
            boxes = candidates(ratio, size, must)
        except InputError:
            continue
        for box in boxes[rng.integers(len(boxes), size=5)]:
            x1, y1, x2, y2 = to_pixels(box, size, ratio, must)
            width, height = x2 - x1, y2 - y1
            assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
            if must is not None:
                assert x1 <= must[0] + 1e-6 and y1 <= must[1] + 1e-6 and x2 >= must[2] - 1e-6 and y2 >= must[3] - 1e-6
            # the longer side is whole; the shorter is its nearest match, or 1, or what must be held
            shorter, exact = (height, width / ratio) if ratio >= 1 else (width, height * ratio)
            limit = 0.5 if must is None else 1.5
            assert abs(shorter - exact) <= limit + 1e-9 or shorter == 1


def test_focus_and_keep_hold_for_every_candidate_of_every_ratio():
    size, must = (640, 480), np.array([600.0, 10.0, 635.0, 60.0])
    for ratio in (None, 1.0, 16 / 9, 9 / 16):
        boxes = candidates(ratio, size, must)
        assert len(boxes) >= 10
        assert (boxes[:, :2] <= must[:2] + 1e-6).all() and (boxes[:, 2:] >= must[2:] - 1e-6).all()
        assert (boxes >= -1e-6).all() and (boxes[:, 2:] <= np.array(size) + 1e-6).all()


def test_keep_that_is_larger_than_half_gives_the_larger_scales_alone():
    must = np.array([0.0, 0.0, 470.0, 470.0])
    boxes = candidates(1.0, (640, 480), must)
    sides = boxes[:, 2] - boxes[:, 0]
    assert len(boxes) and sides.min() >= 470


def test_keep_too_large_for_the_ratio_is_an_input_error():
    with pytest.raises(InputError, match="too large"):
        candidates(1.0, (640, 480), np.array([10.0, 10.0, 600.0, 100.0]))


def test_expected_agreement_outweighs_one_outlier():
    """One outlier has the highest utility; the good neighbours together outweigh it."""
    cluster = np.array([[10.0, 10, 90, 90], [12, 10, 92, 90], [10, 12, 90, 92], [11, 11, 91, 91]])
    boxes = np.concatenate([[[0.0, 0, 30, 30]], cluster])
    utilities = np.array([1.1, 1.0, 1.0, 1.0, 1.0])
    assert worth(boxes, utilities, 1e-3).argmax() == 0
    assert worth(boxes, utilities, 1.0).argmax() in (1, 2, 3, 4)


def test_low_temperature_is_argmax():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (50, 2))
    boxes, utilities = np.concatenate([corner, corner + 50], axis=1), rng.normal(size=50)
    assert worth(boxes, utilities, 1e-4).argmax() == utilities.argmax()


def test_expected_iou_by_hand():
    boxes = np.array([[0.0, 0, 2, 2], [0, 0, 2, 1]])
    chance = 1 / (1 + np.exp(-1))  # of the first, whose utility is one temperature higher
    expected = [chance + 0.5 * (1 - chance), 0.5 * chance + 1 - chance]
    np.testing.assert_allclose(worth(boxes, np.array([0.3, 0.1]), 0.2), expected)


def test_scale_is_1_where_a_crop_is_as_large_as_its_shape_allows():
    boxes = np.array([[0.0, 0, 100, 50], [0, 0, 200, 20], [10, 10, 60, 60], [0, 0, 100, 100]])
    np.testing.assert_allclose(scales(boxes, (200, 100)), [0.5, 1, 0.5, 1])


@pytest.mark.parametrize("ratio", [None, 1.0, 16 / 9])
def test_neighbours_are_near_inside_and_of_the_ratio(ratio):
    size = (300, 200)
    start = candidates(ratio, size)[::17]
    found = neighbours(start, ratio, size)
    assert len(found) > len(start) and len(np.unique(found, axis=0)) == len(found)
    assert (found >= 0).all() and (found[:, 2:] <= np.array(size) + 2e-3).all()
    assert (iou_matrix(found, start).max(axis=1) > 0.75).all()
    if ratio:
        sides = found[:, 2:] - found[:, :2]
        np.testing.assert_allclose(sides[:, 0] / sides[:, 1], ratio, rtol=1e-3)
    must = np.array([100.0, 90, 160, 120])
    held = neighbours(candidates(ratio, size, must)[::17], ratio, size, must)
    assert (held[:, :2] <= must[:2] + 1e-3).all() and (held[:, 2:] >= must[2:] - 1e-3).all()


def test_top_crops_are_distinct_and_fewer_where_there_are_no_more():
    boxes = candidates(None, (300, 200))
    scores = np.random.default_rng(0).normal(size=len(boxes))
    worths = worth(boxes, scores, 0.3)
    chosen = choose(boxes, worths, 5)
    assert list(worths[chosen]) == sorted(worths[chosen], reverse=True) and chosen[0] == worths.argmax()
    assert len(chosen) == 5 == len(set(chosen))
    overlap = iou_matrix(boxes[chosen], boxes[chosen])
    assert (overlap[~np.eye(5, dtype=bool)] < SAME_CROP_IOU).all()
    assert choose(boxes[:1].repeat(3, axis=0), worths[:1].repeat(3), 5) == [0]


def test_others_than_the_best_are_those_of_the_highest_utility():
    boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [40, 0, 50, 10], [60, 0, 70, 10], [80, 0, 90, 10]], float)
    worths = np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    utilities = np.array([2.0, -np.inf, 1.0, 3.0, -1.0])
    assert choose(boxes, worths, 1, utilities) == [0]
    assert choose(boxes, worths, 2, utilities) == [0, 3]
    assert choose(boxes, worths, 3, utilities) == [0, 2, 3]  # ranked by worth all the same
    assert choose(boxes, worths, 5, utilities) == [0, 1, 2, 3, 4]  # what is not known comes last
    assert choose(boxes, worths, 3) == [0, 1, 2]


def test_share_inside_a_circle_equals_the_loop():
    rng = np.random.default_rng(5)
    start = rng.uniform(0, 60, (6, 2))
    boxes, parts = (np.concatenate([s, s + rng.uniform(10, 50, (3, 2))], axis=1) for s in (start[:3], start[3:]))
    found = inside_circle_share(boxes, parts)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        for j, (u1, v1, u2, v2) in enumerate(parts):
            u, v = np.meshgrid(np.linspace(u1, u2, 400), np.linspace(v1, v2, 400))
            inside = ((u - (x1 + x2) / 2) / (x2 - x1) * 2) ** 2 + ((v - (y1 + y2) / 2) / (y2 - y1) * 2) ** 2 <= 1
            assert found[i, j] == pytest.approx(inside.mean(), abs=0.05)
