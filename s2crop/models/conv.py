"""Convolutions that do what follows them in the same pass over a map, where the processor's own library can."""

import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What may follow: name -> the function, torch's name for it among oneDNN's, and the numbers that it takes
FOLLOWING: dict[str, tuple[Any, str, list[float]]] = {
    "": (None, "none", []),
    "relu": (F.relu, "relu", []),
    "relu6": (F.relu6, "hardtanh", [0.0, 6.0]),
}
OPERATORS = "_reorder_convolution_weight", "_convolution_pointwise"  # torch's own compiler makes these calls too


class Conv(nn.Conv2d):
    """A convolution, then a function or a map that the result is added to.

    Once it is packed (`pack_convolutions`) and no gradients are wanted, all of that is one pass of oneDNN, with weights
    that are laid out for it once and not at every call: the same numbers but for rounding, and 0 in place of what is no
    number where a function follows.

    Args:
        then: name in FOLLOWING.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        then: str = "",
    ):
        super().__init__(channels_in, channels_out, size, stride, padding, groups=groups)
        self.then, self._name, self._numbers = FOLLOWING[then]
        self.packs = False
        self._packed: Tensor | None = None  # as is best for the first map that comes; any other can do with it

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """A map [B, C, H, W] -> [B, C', H', W']; added to a map of that shape, where no function follows."""
        assert beside is None or self.then is None
        made: Tensor
        if not self.packs or torch.is_grad_enabled():
            made = super().forward(x)
            if self.then is not None:
                made = self.then(made, inplace=True)
            return made if beside is None else beside + made
        shape = self.padding, self.stride, self.dilation, self.groups
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *shape, x.shape)
        own = self._packed, self.bias, *shape
        if beside is None:
            made = torch.ops.mkldnn._convolution_pointwise(x, *own, self._name, self._numbers, None)
        else:
            made = torch.ops.mkldnn._convolution_pointwise.binary(x, beside, *own, "add", 1.0, None, [], None)
        return made

    def pack(self, packs: bool = True) -> None:
        """Take the weights as they are now from here on, or go the ordinary way again."""
        self.packs, self._packed = packs, None

    def _apply(self, *args: Any, **kwargs: Any) -> "Conv":  # to another device or other numbers
        self.pack(False)
        super()._apply(*args, **kwargs)
        return self

    def __getstate__(self) -> dict[str, Any]:  # for copies: packed weights can be neither copied nor written
        return self.__dict__ | {"_packed": None}


def pack_convolutions(net: nn.Module) -> None:
    """Pack all of a network's `Conv` that are single precision on an x86 processor; their weights are to stay."""
    there = all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)
    if not (there and torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available()):
        return
    if platform.machine().lower() not in ("x86_64", "amd64"):  # not tried on others
        return
    for module in net.modules():
        if isinstance(module, Conv) and module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.pack()
