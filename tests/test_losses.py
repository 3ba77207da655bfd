"""Losses of the sibling networks against loops, and saliency."""

import math

import numpy as np
import pytest
import torch

from s2crop.training.losses import clear_pairs, consistency_loss, draw_pairs, hinge_loss, pair_loss, saliency_loss
from s2crop.training.saliency import _filtered, spectral_residual

RNG = np.random.default_rng(0)


def test_clear_pairs_and_hinge_loss_equal_the_loops():
    scores, targets = RNG.normal(size=(2, 6)), RNG.uniform(1, 5, size=(2, 6))
    pairs = clear_pairs(torch.tensor(targets), 0.9)
    total, count = 0.0, 0
    for b in range(2):
        for k in range(6):
            for t in range(6):
                wanted = k != t and targets[b, k] - targets[b, t] >= 0.9
                assert pairs[b, k, t] == wanted
                if wanted:
                    total += max(0.0, 1 + scores[b, t] - scores[b, k])
                    count += 1
    assert 0 < count < 30
    assert hinge_loss(torch.tensor(scores), pairs).item() == pytest.approx(total / count)
    assert hinge_loss(torch.tensor(scores), torch.zeros_like(pairs)) == 0


def test_no_margin_makes_a_pair_of_every_two_crops():
    assert clear_pairs(torch.tensor([[1.0, 2, 3, 4]]), 0.0).sum() == 6


def test_saliency_loss_equals_the_loop():
    sensitivity, saliency = RNG.uniform(0, 2, (2, 3, 4)), RNG.uniform(0, 1, (2, 3, 4))
    total = 0.0
    for b in range(2):
        mean = sensitivity[b].mean()
        total += sum((1 - saliency[b, i, j]) * sensitivity[b, i, j] / mean for i in range(3) for j in range(4)) / 12 / 2
    assert saliency_loss(torch.tensor(sensitivity), torch.tensor(saliency)).item() == pytest.approx(total)
    # what is sensitive where it is salient costs nothing; elsewhere it does
    map_ = torch.tensor([[[0.0, 3.0]]])
    assert (
        saliency_loss(map_, torch.tensor([[[0.0, 1.0]]])) == 0
        and saliency_loss(map_, torch.tensor([[[1.0, 0.0]]])) == 1
    )


def test_drawn_pairs_are_clear_and_labelled():
    targets = torch.tensor(RNG.uniform(1, 5, 20))
    all_pairs = {(i, j) for i in range(20) for j in range(i + 1, 20) if abs(targets[i] - targets[j]) >= 0.5}
    indices, labels = draw_pairs(targets, 0.5, 1000)
    assert {tuple(p) for p in indices.tolist()} == all_pairs
    for (i, j), label in zip(indices.tolist(), labels.tolist(), strict=True):
        assert label == (1 if targets[i] > targets[j] else 0)
    some, _ = draw_pairs(targets, 0.5, 7)
    assert len({tuple(p) for p in some.tolist()}) == 7
    assert len(draw_pairs(torch.ones(5), 0.5, 9)[0]) == 0


def test_pair_loss_equals_the_loop():
    logits, labels = RNG.normal(size=8), RNG.integers(0, 2, 8).astype(float)
    p = [1 / (1 + math.exp(-v)) for v in logits]
    expected = sum(-q * math.log(v) - (1 - q) * math.log(1 - v) for v, q in zip(p, labels, strict=True)) / 8
    assert pair_loss(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected)


def test_consistency_loss_equals_the_loop():
    scores, logits = RNG.normal(size=(2, 5)), RNG.normal(size=(2, 5, 5))
    total = 0.0
    for b in range(2):
        for i in range(5):
            for j in range(i + 1, 5):
                p = 1 / (1 + math.exp(-logits[b, i, j]))
                total += 2 / (25 - 5) / 2 * max(0.0, 0.1 + np.sign(p - 0.5) * (scores[b, j] - scores[b, i]))
    scores, logits = torch.tensor(scores, requires_grad=True), torch.tensor(logits, requires_grad=True)
    loss = consistency_loss(scores, logits, 0.1)
    assert loss.item() == pytest.approx(total)
    loss.backward()
    assert scores.grad.abs().max() > 0 and (logits.grad is None or logits.grad.abs().max() == 0)


def test_saliency_finds_the_one_that_is_different():
    grass = RNG.normal(size=(124, 164))
    grass = sum(grass[i : i + 120, j : j + 160] for i in range(5) for j in range(5)) * 5
    pixels = np.repeat((110 + grass)[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    pixels[52:62, 84:94] = 240  # something white in the grass
    saliency = spectral_residual(pixels)
    assert saliency.shape == (48, 64) and saliency.min() == 0 and saliency.max() == 1 and saliency.dtype == np.float32
    row, column = np.unravel_index(saliency.argmax(), saliency.shape)
    assert abs(row / 48 - 57 / 120) < 0.05 and abs(column / 64 - 89 / 160) < 0.05


def test_saliency_of_one_colour_is_nothing():
    assert spectral_residual(np.full((40, 60, 3), 77, np.uint8)).max() == 0
    assert np.isfinite(spectral_residual(RNG.integers(0, 255, (3, 400, 3), dtype=np.uint8))).all()


def test_separable_filter_equals_the_loop():
    values = RNG.normal(size=(5, 6))
    kernel = np.array([0.2, 0.5, 0.3])
    for mode, at in (
        ("wrap", lambda i, n: i % n),
        ("symmetric", lambda i, n: -1 - i if i < 0 else 2 * n - 1 - i if i >= n else i),
    ):
        found = _filtered(values, kernel, mode)
        for i, j in np.ndindex(5, 6):
            expected = sum(
                kernel[a] * kernel[b] * values[at(i + a - 1, 5), at(j + b - 1, 6)] for a in range(3) for b in range(3)
            )
            assert found[i, j] == pytest.approx(expected)


def test_giou_is_torchvisions():
    from torchvision.ops import generalized_box_iou_loss

    from s2crop.training.views import giou_loss

    generator = torch.Generator().manual_seed(0)
    starts = torch.rand(2, 200, 2, generator=generator) * 20
    boxes, targets = torch.cat([starts, starts + 0.5 + 20 * torch.rand(2, 200, 2, generator=generator)], dim=2)
    mine, its = boxes.clone().requires_grad_(), boxes.clone().requires_grad_()
    loss, expected = giou_loss(mine, targets), generalized_box_iou_loss(its, targets)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(mine.grad, its.grad)
