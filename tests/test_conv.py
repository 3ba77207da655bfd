"""Convolutions with what follows them, packed and as torch has them."""

import copy
import platform

import pytest
import torch
import torch.nn.functional as F

from s2crop.models.backbone import Backbone
from s2crop.models.conv import Conv, pack_convolutions
from s2crop.models.proposals import Mixing

SHAPES = (1, 12, 16, 24), (3, 12, 7, 5)  # the first one decides how the weights are laid out
X86 = platform.machine().lower() in ("x86_64", "amd64")


def copies(make):
    """The same module twice, the second packed where that can be."""
    torch.manual_seed(1)
    plain, packed = make().eval(), make().eval()
    packed.load_state_dict(plain.state_dict())
    pack_convolutions(packed)
    convolutions = [module for module in packed.modules() if isinstance(module, Conv)]
    assert convolutions and all(module.packs == X86 for module in convolutions)
    return plain, packed


@pytest.mark.parametrize("then", ["", "relu", "relu6"])
@pytest.mark.parametrize("kind", [{}, {"size": 3, "padding": 1}, {"size": 5, "padding": 2, "groups": 12}])
def test_a_packed_convolution_and_its_function_give_the_same(then, kind):
    plain, packed = copies(lambda: Conv(12, 12, then=then, **kind))
    with torch.inference_mode():
        for shape in SHAPES:
            x = 9 * torch.randn(shape).contiguous(memory_format=torch.channels_last)
            wanted = F.conv2d(x, plain.weight, plain.bias, 1, plain.padding, 1, plain.groups)
            wanted = {"": wanted, "relu": wanted.clamp(min=0), "relu6": wanted.clamp(0, 6)}[then]
            torch.testing.assert_close(plain(x), wanted)
            torch.testing.assert_close(packed(x), wanted, atol=1e-4, rtol=1e-4)
    assert (packed._packed is not None) == X86


def test_a_map_is_added_and_stays_as_it_is():
    plain, packed = copies(lambda: Conv(12, 8, 2, stride=2))
    x, beside = torch.randn(2, 12, 8, 6), torch.randn(2, 8, 4, 3)
    before = beside.clone()
    wanted = before + F.conv2d(x, plain.weight, plain.bias, 2)
    with torch.inference_mode():
        for conv in (plain, packed):
            torch.testing.assert_close(conv(x, beside), wanted)
            assert beside.equal(before)
    with pytest.raises(AssertionError):
        Conv(6, 6, then="relu")(torch.randn(1, 6, 4, 4), torch.randn(1, 6, 4, 4))


@pytest.mark.parametrize("make", [lambda: Backbone("same"), lambda: Mixing(24)])
def test_a_packed_network_gives_what_it_gave(make):
    plain, packed = copies(make)
    x = torch.randn(1, 24 if isinstance(plain, Mixing) else 3, 64, 96)
    with torch.inference_mode():
        for found, wanted in zip(packed(x), plain(x), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_gradients_go_the_ordinary_way():
    plain, packed = copies(lambda: Conv(6, 6, then="relu6"))
    x = torch.randn(1, 6, 4, 4)
    with torch.inference_mode():
        packed(x)
    for conv in (plain, packed):
        conv(x).square().sum().backward()
    assert packed.weight.grad.equal(plain.weight.grad) and packed.weight.grad.abs().sum() > 0


def test_other_numbers_are_not_packed():
    half = Conv(6, 6).bfloat16()
    pack_convolutions(half)
    assert not half.packs
    _, packed = copies(lambda: Conv(6, 6))
    x = torch.randn(1, 6, 4, 4).double()
    with torch.inference_mode():
        packed(x.float())
        twice = packed.double()
        torch.testing.assert_close(twice(x), F.conv2d(x, twice.weight, twice.bias))


def test_a_copy_has_weights_of_its_own():
    _, packed = copies(lambda: Conv(6, 6))
    x = torch.randn(1, 6, 4, 4)
    with torch.inference_mode():
        before = packed(x).clone()
        other = copy.deepcopy(packed)
        other.load_state_dict({name: 2 * value for name, value in packed.state_dict().items()})
        torch.testing.assert_close(other(x), 2 * before)
        torch.testing.assert_close(packed(x), before)
        packed.load_state_dict(other.state_dict())
        pack_convolutions(packed)  # as its weights changed
        torch.testing.assert_close(packed(x), 2 * before)
