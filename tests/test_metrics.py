"""The yardsticks on cases whose answer is known."""

import numpy as np
import pytest

from s2crop.datasets.metrics import acc, acc_n, displacement, iou, pair_agreement, pcc, srcc


def test_iou_and_displacement_by_hand():
    a, b = np.array([[0.0, 0, 0.5, 0.5], [0, 0, 1, 1]]), np.array([[0.25, 0.25, 0.75, 0.75], [0, 0, 1, 0.5]])
    np.testing.assert_allclose(iou(a, b), [1 / 7, 0.5])
    np.testing.assert_allclose(displacement(a, b), [0.25, 0.125])
    np.testing.assert_allclose(iou(a, a), 1)
    assert iou(a[0], np.array([0.6, 0.6, 1, 1])) == 0


def test_pair_agreement_perfect_reversed_tied_and_by_margin():
    votes = np.array([[5, 0], [1, 4], [2, 3]])
    assert pair_agreement(votes, votes) == (1.0, 3)
    assert pair_agreement(-votes, votes) == (0.0, 3)
    assert pair_agreement(np.zeros((3, 2)), votes) == (0.5, 3)
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # wrong on the last, whose margin is 1
    assert pair_agreement(scores, votes) == (pytest.approx(2 / 3), 3)
    assert pair_agreement(scores, votes, min_margin=3) == (1.0, 2)
    assert np.isnan(pair_agreement(scores, np.full((3, 2), 2))[0])


def test_srcc_perfect_reversed_and_with_ties():
    x = np.array([1.0, 2, 3, 4, 5])
    assert srcc(x, x**3) == pytest.approx(1)
    assert srcc(x, -x) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 1 - 0.5 / sqrt(4.5 * 5) ... by the product formula
    assert srcc(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(srcc(np.ones(4), x[:4]))


def test_pcc_perfect_reversed_and_constant():
    x = np.array([1.0, 2, 4, 5])
    assert pcc(x, 3 * x + 1) == pytest.approx(1) and pcc(x, -x) == pytest.approx(-1)
    assert np.isnan(pcc(np.ones(4), x))


def test_acc_perfect_reversed_tied_and_with_few_candidates():
    mos = np.arange(20.0)
    for n in (5, 10):
        assert acc_n(mos, mos, n) == 1 and acc_n(-mos, mos, n) == 0
    scores = mos.copy()
    scores[19], scores[0] = -1, 99  # the best is missed, the worst put first
    assert acc(scores, mos, 1, 5) == 0 and acc(scores, mos, 2, 5) == 0.5 and acc(scores, mos, 4, 5) == 0.75
    tied = np.array([5.0, 4, 3, 2, 1, 1, 1])  # three share the fifth place
    assert acc(np.array([0.0, 0, 0, 0, 1, 2, 3]), tied, 3, 5) == 1
    assert acc_n(np.array([1.0, 2, 3]), np.array([3.0, 2, 1]), 5) == 1  # fewer than five candidates
