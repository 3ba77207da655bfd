"""MobileNetV2 with BatchNorm folded into its convolutions, cut at strides 4, 8, 16 and 32."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.conv import Conv

# (expansion, channels, repeats, stride) of each stage: Sandler et al. 2018, table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
CUTS = {3: 24, 6: 32, 13: 96, 17: 320}  # layer -> channels of the maps at strides 4, 8, 16 and 32
LAYERS = 18  # up to the last cut; the paper's 19th is a 1x1 convolution to 1280 channels
BATCH_NORM_EPS = 1e-5


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (Sandler et al. 2018, sec. 3.3), BatchNorm folded."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int):
        super().__init__()
        hidden = channels_in * expansion
        self.expand = Conv(channels_in, hidden, then="relu6") if expansion > 1 else None
        self.depthwise = Conv(hidden, hidden, 3, stride, 1, groups=hidden, then="relu6")
        self.project = Conv(hidden, channels_out)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.depthwise(x if self.expand is None else self.expand(x))
        return self.project(hidden, x if self.residual else None)


def inverted_residuals(stages: tuple[tuple[int, int, int, int], ...], channels: int) -> list[InvertedResidual]:
    """The layers of some of STAGES, on a map of so many channels."""
    layers = []
    for expansion, channels_out, repeats, stride in stages:
        for repeat in range(repeats):
            layers.append(InvertedResidual(channels, channels_out, stride if repeat == 0 else 1, expansion))
            channels = channels_out
    return layers


class Backbone(nn.Module):
    """MobileNetV2 1.0 up to layer 17 of 19.

    Padding "one" is torchvision's (padding 1 all round) and that of the published S2CNet
    checkpoints. Padding "same" is TensorFlow's, which at stride 2 on even sizes pads only
    after the end. A convolution with padding 1 never reads its last padded row there, so
    "same" equals "one" on a picture turned by half a turn, with kernels turned the same way:
    that costs one flip of the input instead of a copy of every padded map. Kernels are
    stored turned (see `turn_kernels`).
    """

    def __init__(self, padding: str = "one"):
        super().__init__()
        if padding not in ("one", "same"):
            raise ValueError(f"padding is 'one' or 'same', not {padding!r}")
        self.turned = padding == "same"
        self.layers = nn.ModuleList([Conv(3, 32, 3, 2, 1, then="relu6"), *inverted_residuals(STAGES, 32)])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the layers on a normalised image.

        Args:
            image: [B, 3, H, W], H and W multiples of 32.
        Returns:
            Maps [B, 24, H/4, W/4], [B, 32, H/8, W/8], [B, 96, H/16, W/16] and [B, 320, H/32, W/32].
        """
        return tuple(self.upright(x) for number, x in enumerate(self.activations(image)) if number in CUTS)

    def activations(self, image: Tensor) -> Iterator[Tensor]:
        """What each of the layers gives in turn; turned, with padding "same" (see `upright`)."""
        x = image.flip((2, 3)) if self.turned else image
        for layer in self.layers:
            x = layer(x)
            yield x

    def upright(self, x: Tensor) -> Tensor:
        """A map of `activations` the right way round."""
        return x.flip((2, 3)) if self.turned else x


def turn_kernels(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the 3x3 kernels of a folded backbone state by half a turn, for padding "same"."""
    return {k: v.flip((2, 3)).contiguous() if v.ndim == 4 and v.shape[-1] == 3 else v for k, v in state.items()}


def fold_batch_norm(weight: Tensor, norm: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Fold a BatchNorm in eval mode into the bias-free convolution (or linear layer) before it.

    Computed in float64, so that the folded network stays within 1e-5 of the original.
    """
    scale = norm["weight"].double() / (norm["running_var"].double() + BATCH_NORM_EPS).sqrt()
    bias = norm["bias"].double() - norm["running_mean"].double() * scale
    return (weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))).float(), bias.float()


class MultiScale(nn.Module):
    """Join the maps of strides 8, 16 and 32 at stride 16 and reduce them to a few channels.

    The stride-8 map is halved and the stride-32 map doubled, bilinearly with aligned corners;
    the latter counts half; their concatenation goes through a 1x1 convolution. A 1x1
    convolution and a bilinear resize commute, so each map is reduced first and resized with
    few channels.
    """

    STRIDE = 16
    CHANNELS = tuple(CUTS.values())[1:]
    DEEP_SCALE = 0.5  # the published networks halve the stride-32 map

    def __init__(self, reduced_dim: int):
        super().__init__()
        self.reduce = nn.Conv2d(sum(self.CHANNELS), reduced_dim, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The last three maps of `Backbone` -> [B, reduced_dim, H/16, W/16]."""
        shallow, middle, deep = self.reduce.weight.split(list(self.CHANNELS), dim=1)
        maps = maps[-3:]
        size = maps[1].shape[-2:]
        joined = F.conv2d(maps[1], middle, self.reduce.bias)
        joined = joined + _resize(F.conv2d(maps[0], shallow), size)
        return joined + _resize(F.conv2d(maps[2], deep * self.DEEP_SCALE), size)


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
