"""Candidates: the grid anchors of the literature, and anchors of a ratio."""

import numpy as np
import pytest

from s2crop.geometry.anchors import FEW, RATIO_ANCHORS, border_anchors, grid_anchors, ratio_anchors

SIZES = [
    (500, 500),
    (768, 512),
    (512, 768),
    (1920, 1080),
    (700, 256),
    (256, 700),
    (4000, 100),
    (100, 4000),
    (3, 2),
    (1, 1),
]
RATIOS = [1.0, 16 / 9, 4 / 5, 9 / 16, 1.91, 20.0, 0.05]


def test_square_picture_has_exactly_ninety_grid_anchors():
    boxes = grid_anchors(120, 120)
    assert boxes.shape == (90, 4)
    assert set(np.unique(boxes[:, :2])) == {5, 15, 25, 35} and set(np.unique(boxes[:, 2:])) == {85, 95, 105, 115}


def test_usual_pictures_have_the_anchors_of_the_literature():
    """Half the area and ratio between 0.5 and 2, by counting one by one."""
    for width, height in SIZES[:4]:
        expected = []
        for x1 in range(4):
            for y1 in range(4):
                for x2 in range(8, 12):
                    for y2 in range(8, 12):
                        ratio = (x2 - x1) * width / ((y2 - y1) * height)
                        if (x2 - x1) * (y2 - y1) >= 72 and 0.5 < ratio < 2:
                            expected.append(
                                [
                                    (x1 + 0.5) / 12 * width,
                                    (y1 + 0.5) / 12 * height,
                                    (x2 + 0.5) / 12 * width,
                                    (y2 + 0.5) / 12 * height,
                                ]
                            )
        np.testing.assert_allclose(grid_anchors(width, height), expected)


def test_every_picture_has_enough_candidates_inside_it():
    for width, height in SIZES:
        for boxes in (grid_anchors(width, height), border_anchors(width, height)):
            assert len(boxes) >= FEW
            assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= np.array([width, height]) + 1e-9).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_some_border_anchors_touch_each_side_and_one_is_the_whole_picture():
    boxes = border_anchors(300, 200)
    whole = np.array([0, 0, 300, 200])
    assert ((boxes == whole).sum(axis=0) > 20).all() and (boxes == whole).all(axis=1).sum() == 1


@pytest.mark.parametrize("ratio", RATIOS)
def test_ratio_anchors_have_the_ratio_and_cover_the_picture(ratio):
    for width, height in SIZES:
        boxes = ratio_anchors(ratio, width, height)
        sides = boxes[:, 2:] - boxes[:, :2]
        np.testing.assert_allclose(sides[:, 0] / sides[:, 1], ratio, rtol=1e-9)
        assert (boxes >= -1e-6).all() and (boxes[:, 2:] <= np.array([width, height]) * (1 + 1e-9)).all()
        assert len(boxes) <= RATIO_ANCHORS
        np.testing.assert_allclose([boxes[:, 0].min(), boxes[:, 1].min()], 0, atol=1e-9)
        np.testing.assert_allclose(boxes[:, 2:].max(axis=0), [width, height])
        largest = sides.max(axis=0)
        assert np.isclose(largest, [width, height]).any()  # touches a pair of opposite sides


def test_about_two_hundred_for_usual_ratios():
    for ratio in RATIOS[:5]:
        for width, height in SIZES[:6]:
            assert 180 <= len(ratio_anchors(ratio, width, height)) <= 200
