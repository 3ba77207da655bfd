"""SFRC: layer responses, attention, masks, the encoder's shared part, the classifier."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from networks import SIBLINGS
from s2crop.models import sfrc
from s2crop.models.sfrc import SFRC, SFRCConfig, crop_masks

SMALL = SFRCConfig(**SIBLINGS["sfrc"] | {"second_dim": 5, "spatial_dim": 10})
ATOL = 1e-5  # float32 sums in another order


def network(config=SMALL):
    torch.manual_seed(0)
    net = SFRC(config).eval()
    torch.nn.init.normal_(net.response_mean)
    torch.nn.init.uniform_(net.response_std, 0.5, 2.0)
    return net


def boxes(count, width=96, height=64, seed=0):
    corner = np.random.default_rng(seed).uniform(0, 0.5, (count, 2)) * [width, height]
    return torch.tensor(np.concatenate([corner, corner + [width * 0.4, height * 0.45]], axis=1), dtype=torch.float32)


def test_sizes_are_the_papers():
    config = SFRCConfig()
    assert (config.reduced_dim, config.align_size, config.map_size, config.region_dim, config.spatial_dim) == (
        32,
        9,
        64,
        256,
        256,
    )
    net = SFRC(config)
    assert net.attention.excite.out_features == 19 and net.encoder.first.in_channels == 20
    assert net.encoder.first.kernel_size == net.encoder.second.kernel_size == (5, 5)
    assert net.head.in_features == 512 and net.classifier.in_features == 1024
    assert net.region.layers[0].in_features == 2 * 32 * 81


def test_masks_equal_the_loop():
    crops = boxes(4)[None]
    masks = crop_masks(crops, (64, 96), 8)[0]
    for n, (x1, y1, x2, y2) in enumerate(crops[0].tolist()):
        for i, j in np.ndindex(8, 8):
            y, x = (i + 0.5) * 8, (j + 0.5) * 12
            assert masks[n, i, j] == (x1 <= x < x2 and y1 <= y < y2)


@pytest.mark.parametrize("padding", ["one", "same"])
def test_responses_are_the_largest_channel_of_every_layer(padding):
    net = network(SFRCConfig(padding=padding, map_size=16))
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        maps, responses = net.look(image)
        x = net.backbone.upright(image)
        for k, layer in enumerate([*net.backbone.layers, net.last_layer]):
            x = layer(x)
            x = F.relu6(x) if k in (0, 18) else x
            upright = net.backbone.upright(x)[0].numpy()
            strongest = torch.from_numpy(np.max(upright, axis=0))[None, None]
            expected = F.interpolate(strongest, size=(16, 16), mode="bilinear")[0, 0]
            torch.testing.assert_close(responses[0, k], expected, atol=ATOL, rtol=1e-5)
        for own, other in zip(maps, net.backbone(image), strict=True):
            torch.testing.assert_close(own, other)
    assert responses.shape[1] == 19


def test_attention_weighs_each_layer_by_its_mean_response():
    net = network()
    responses = torch.randn(2, 19, 16, 16)
    with torch.inference_mode():
        found = net.attention(responses)
        for b in range(2):
            means = torch.tensor([responses[b, k].mean() for k in range(19)])
            hidden = (net.attention.squeeze.weight @ means + net.attention.squeeze.bias).clamp(min=0)
            expected = 1 / (1 + (-(net.attention.excite.weight @ hidden + net.attention.excite.bias)).exp())
            torch.testing.assert_close(found[b], expected, atol=ATOL, rtol=ATOL)
        features = net.head_features(*net.look(torch.randn(1, 3, 64, 96)), (64, 96))
    assert features.weighted.shape == (1, 19, 16, 16) and ((features.attention > 0) & (features.attention < 1)).all()


def test_encoder_equals_convolutions_over_maps_and_mask_together():
    """The mask is channel k + 1; what the maps give is computed once."""
    net = network()
    encoder = net.encoder
    weighted, crops = torch.randn(1, 19, 16, 16), boxes(3)[None]
    masks = crop_masks(crops, (64, 96), 16)[0]
    with torch.inference_mode():
        found = encoder(encoder.shared(weighted)[0], masks)
        for n in range(3):
            x = torch.cat([weighted[0], masks[n, None]])[None]
            x = F.max_pool2d(F.relu(encoder.first(x)), 2)
            x = F.max_pool2d(F.relu(encoder.second(x)), 2)
            torch.testing.assert_close(found[n], F.relu(encoder.out(x.flatten(1)))[0], atol=ATOL, rtol=ATOL)


def test_score_is_a_layer_over_both_features_and_depends_on_each():
    net = network()
    with torch.inference_mode():
        features = net.features(torch.randn(1, 3, 64, 96))
        crops = boxes(5)[None]
        both = net.crop_features(features, crops)
        assert both.shape == (1, 5, 22)
        torch.testing.assert_close(net.rate(features, crops), (both @ net.head.weight.T + net.head.bias)[..., 0])
        assert both[..., :12].std(dim=1).max() > 0 and both[..., 12:].std(dim=1).max() > 0


def test_any_number_of_crops_at_once_scores_the_same(monkeypatch):
    net = network()
    image, crops = torch.randn(2, 3, 64, 96), torch.stack([boxes(7, seed=1), boxes(7, seed=2)])
    with torch.inference_mode():
        together = net.rate(net.features(image), crops)
        monkeypatch.setattr(sfrc, "CHUNK", 3)
        for b in range(2):
            alone = net.rate(net.features(image[b, None]), crops[b, None])[0]
            torch.testing.assert_close(together[b], alone, atol=ATOL, rtol=ATOL)
        rows = torch.cat([torch.full((7, 1), 1.0), crops[1]], dim=1)
        rows = torch.cat([torch.cat([torch.zeros(7, 1), crops[0]], dim=1), rows])
        proposals = torch.tensor([[0.0, 0, 0, 9, 9], [1, 0, 0, 9, 9]])
        torch.testing.assert_close(net(image, rows, proposals).view(2, 7), together, atol=ATOL, rtol=ATOL)


def test_classifier_sees_the_two_crops_side_by_side():
    net = network()
    crop_features = torch.randn(2, 4, 22)
    with torch.inference_mode():
        logits = net.compare(crop_features)
        for b, i, j in np.ndindex(2, 4, 4):
            expected = net.classifier(torch.cat([crop_features[b, i], crop_features[b, j]]))
            torch.testing.assert_close(logits[b, i, j, None], expected, atol=ATOL, rtol=ATOL)


def test_choices_that_do_not_exist_are_refused():
    for wrong in ({"padding": "two"}, {"map_size": 30}, {"align_size": 0}):
        with pytest.raises(ValueError):
            SFRCConfig(**wrong)
