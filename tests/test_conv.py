"""Convolutions with what follows them, packed and as torch has them."""

import pytest
import torch

from s2crop.models.backbone import Backbone
from s2crop.models.conv import Conv, pack
from s2crop.models.proposals import Mixing

SHAPES = (1, 12, 16, 24), (3, 12, 7, 5)  # the first one decides how the weights are laid out


def copies(make):
    """The same module twice, the second packed."""
    torch.manual_seed(1)
    plain, packed = make().eval(), make().eval()
    packed.load_state_dict(plain.state_dict())
    pack(packed)
    return plain, packed


@pytest.mark.parametrize("then", ["", "relu", "relu6"])
@pytest.mark.parametrize("kind", [{}, {"size": 3, "padding": 1}, {"size": 5, "padding": 2, "groups": 12}])
def test_a_packed_convolution_and_its_function_give_the_same(then, kind):
    plain, packed = copies(lambda: Conv(12, 12, then=then, **kind))
    with torch.inference_mode():
        for shape in SHAPES:
            x = 9 * torch.randn(shape).contiguous(memory_format=torch.channels_last)
            wanted = torch.nn.functional.conv2d(x, plain.weight, plain.bias, 1, plain.padding, 1, plain.groups)
            wanted = {"": wanted, "relu": wanted.clamp(min=0), "relu6": wanted.clamp(0, 6)}[then]
            torch.testing.assert_close(plain(x), wanted)
            torch.testing.assert_close(packed(x), wanted, atol=1e-4, rtol=1e-4)


def test_a_map_is_added_and_stays_as_it_is():
    plain, packed = copies(lambda: Conv(12, 8, 2, stride=2))
    x, beside = torch.randn(2, 12, 8, 6), torch.randn(2, 8, 4, 3)
    before = beside.clone()
    with torch.inference_mode():
        for conv in (plain, packed):
            torch.testing.assert_close(conv(x, beside), conv(x) + before)
            assert beside.equal(before)


@pytest.mark.parametrize("make", [lambda: Backbone("same"), lambda: Mixing(24)])
def test_a_packed_network_gives_what_it_gave(make):
    plain, packed = copies(make)
    x = torch.randn(1, 24 if isinstance(plain, Mixing) else 3, 64, 96)
    with torch.inference_mode():
        for found, wanted in zip(packed(x), plain(x), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_gradients_and_other_precisions_go_the_ordinary_way():
    plain, packed = copies(lambda: Conv(6, 6, then="relu6"))
    x = torch.randn(1, 6, 4, 4)
    for conv in (plain, packed):
        conv(x).square().sum().backward()
    assert packed.weight.grad.equal(plain.weight.grad) and packed.weight.grad.abs().sum() > 0
    half = Conv(6, 6).bfloat16()
    pack(half)
    with torch.inference_mode():
        assert half(x.bfloat16()).dtype == torch.bfloat16


def test_weights_that_are_given_after_packing_count_once_it_is_packed_again():
    plain, packed = copies(lambda: Conv(6, 6))
    x = torch.randn(1, 6, 4, 4)
    with torch.inference_mode():
        packed(x)
        packed.load_state_dict({name: 2 * value for name, value in plain.state_dict().items()})
        pack(packed)
        torch.testing.assert_close(packed(x), 2 * plain(x))
