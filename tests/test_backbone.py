"""The folded MobileNetV2 against torchvision's, and both paddings."""

import torch
import torch.nn.functional as F
from torchvision.models import mobilenet_v2

from s2crop.models.backbone import Backbone, InvertedResidual, MultiScale, turn_kernels
from s2crop.models.weights import fold_mobilenet

TOLERANCE = 2e-5  # float32 through 18 layers, values of size one


def random_mobilenet():
    torch.manual_seed(3)
    net = mobilenet_v2(weights=None)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


def test_folded_backbone_equals_torchvision():
    reference = random_mobilenet()
    backbone = Backbone("one")
    backbone.load_state_dict(fold_mobilenet(reference.state_dict()))
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        maps = backbone(image)
        x, expected = image, []
        for number, layer in enumerate(reference.features[:18]):
            x = layer(x)
            if number in (3, 6, 13, 17):
                expected.append(x)
    for found, wanted in zip(maps, expected, strict=True):
        assert found.shape == wanted.shape and wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=1e-4)


def test_same_padding_is_tensorflows():
    """Half a turn of picture and kernels equals padding after the end at stride 2."""
    folded = fold_mobilenet(random_mobilenet().state_dict())
    plain, turned = Backbone("one"), Backbone("same")
    plain.load_state_dict(folded)
    turned.load_state_dict(turn_kernels(folded))

    def padded(convolution, x):  # TF-SAME, even sizes: nothing before, one after
        before = 0 if convolution.stride == (2, 2) else 1
        return F.conv2d(
            F.pad(x, (before, 1, before, 1)),
            convolution.weight,
            convolution.bias,
            convolution.stride,
            groups=convolution.groups,
        )

    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        x, expected = image, []
        for number, layer in enumerate(plain.layers):
            if isinstance(layer, InvertedResidual):
                hidden = x if layer.expand is None else F.relu6(layer.expand(x))
                out = layer.project(F.relu6(padded(layer.depthwise, hidden)))
                x = x + out if layer.residual else out
            else:
                x = F.relu6(padded(layer, x))
            if number in (3, 6, 13, 17):
                expected.append(x)
        maps = turned(image)
        assert (plain(image)[0] - maps[0]).abs().max() > 0.01  # it is another network
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=1e-4)


def test_reducing_before_resizing_equals_the_published_order():
    torch.manual_seed(0)
    scales = MultiScale(8)
    maps = torch.randn(2, 32, 16, 24), torch.randn(2, 96, 8, 12), torch.randn(2, 320, 4, 6)
    with torch.inference_mode():
        halved = F.interpolate(maps[0], scale_factor=0.5, mode="bilinear", align_corners=True)
        doubled = F.interpolate(maps[2], scale_factor=2, mode="bilinear", align_corners=True)
        expected = scales.reduce(torch.cat([halved, maps[1], 0.5 * doubled], dim=1))
        torch.testing.assert_close(scales(maps), expected, atol=1e-5, rtol=1e-4)
