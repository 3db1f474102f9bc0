"""The forms in which convolutions are computed on a CPU: torch's own results, to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from dual_core.networks.convolutions import (
    SMALL,
    Activation,
    Convolution,
    _interpolated,
    by_axes,
    doubled,
)
from dual_core.networks.generators import OutputFilter
from dual_core.networks.refinement import SPREAD, Refinement


def gradients(module: nn.Module, volume: torch.Tensor, function=None):
    """The output for a volume, and the gradients of it and of the weights."""
    module.zero_grad()
    volume = volume.clone().requires_grad_()
    output = (function or module)(volume)
    weights = torch.linspace(0, 1, output.numel()).view(output.shape)
    (output.float() * weights).sum().backward()
    return [output.detach(), volume.grad, *(entry.grad.clone() for entry in module.parameters())]


def assert_alike(found, expected, tolerance: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("shape", [(1, 3, 8, 10, 12), (1, 3, 4, 3, 5)])
def test_a_single_volume_in_halves(layout, dilation, shape):
    torch.manual_seed(0)
    layer = Convolution(3, 4, 3, padding=dilation, dilation=dilation).to(memory_format=layout)
    volume = torch.randn(shape).to(memory_format=layout)
    assert layer._is_slow(volume)
    plain = gradients(layer, volume, lambda given: nn.Conv3d.forward(layer, given))
    assert_alike(gradients(layer, volume), plain)


@pytest.mark.parametrize(
    "shape, options, slow",
    [
        ((1, 2, 8, 8, 8), {"padding": 1}, True),
        ((2, 2, 8, 8, 8), {"padding": 1}, False),  # torch's way is the fast one
        ((1, 2, 7, 8, 8), {"padding": 1}, False),  # no halves
        ((1, 2, 128, 128, 2), {"padding": 1}, False),
        ((1, 2, 8, 8, 8), {"padding": 1, "stride": 2}, False),
        ((1, 2, 8, 8, 8), {"padding": 0}, False),
        ((1, 2, 8, 8, 8), {"padding": 1, "groups": 2}, False),
    ],
)
def test_only_what_torch_is_slow_at_is_halved(shape, options, slow):
    layer = Convolution(2, 2, 3, **options)
    volume = torch.zeros(shape)
    assert (volume[0, :, :, :, 0].numel() > SMALL) == (shape[2] == 128)
    assert layer._is_slow(volume) is slow
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._is_slow(volume)


def test_the_activation_is_leaky_relu_whatever_the_order_of_its_gradient():
    torch.manual_seed(0)
    given = torch.randn(1, 2, 3, 4, 5)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        found = []
        for function in (Activation(0.1), nn.LeakyReLU(0.1)):
            leaf = given.clone(memory_format=layout).requires_grad_()
            output = function(leaf * 2.0)
            output.backward(given.flip(0))  # contiguous
            found.append([output.detach(), leaf.grad])
        assert all(torch.equal(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("shape", [(1, 2, 1, 1, 1), (2, 3, 2, 5, 4)])
def test_the_gradient_of_the_interpolation_is_that_of_torch(shape):
    torch.manual_seed(0)
    volume = torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn(*shape[:2], *(2 * side for side in shape[2:]))
    found = []
    for function in (doubled, _interpolated):
        leaf = volume.clone().requires_grad_()
        output = function(leaf)
        output.backward(weights)
        found.append([output.detach(), leaf.grad])
    assert_alike(*found)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(1, 2, 1, 1, 1), (2, 3, 2, 5, 4)])
def test_the_interpolation_by_axes_is_that_of_torch(shape, layout):
    torch.manual_seed(0)
    volume = torch.randn(shape).contiguous(memory_format=layout)
    found = by_axes(volume)
    assert_alike([found], [_interpolated(volume)])
    assert min(shape[2:]) == 1 or found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 2, 12, 10, 8), (2, 2, 4, 9, 7), (1, 2, 2, 2, 2)])
def test_the_refinement_is_its_three_layers(shape, precision):
    torch.manual_seed(0)
    network = Refinement(8, 0.1).to(memory_format=torch.channels_last_3d)
    volume = torch.randn(shape)
    bfloat16 = precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        found = gradients(network, volume)
        expected = gradients(network, volume, lambda given: nn.Sequential.forward(network, given))
    assert found[0].shape == (shape[0], 1, *shape[2:])
    assert_alike(found, expected, 3e-2 if bfloat16 else 1e-5)
    assert network[2].dilation == (SPREAD,) * 3


def test_the_output_filter_is_a_filter_of_volumes():
    """By hand: each voxel of the volume that the cells make, convolved along the three axes."""
    from dual_core.networks.generators import _depth_to_space

    torch.manual_seed(0)
    layer = OutputFilter()
    cells = torch.randn(2, 8, 7, 6, 8)
    # Away from the faces, which are repeated cell by cell.
    expected = _depth_to_space(cells, 2)
    taps = torch.zeros(9)
    taps[4] = 1.0
    binomial = torch.tensor([1.0, 8, 28, 56, 70, 56, 28, 8, 1])
    taps = taps - binomial * torch.tensor([(-1.0) ** k for k in range(9)]) / 256
    for axis in range(3):
        size = [1, 1, 1]
        size[axis] = 9
        kernel = taps.view(1, 1, *size)
        expected = functional.conv3d(expected, kernel, padding=[s // 2 for s in size])
    found = _depth_to_space(layer(cells), 2)
    inside = (slice(None), slice(None), *(slice(4, -4),) * 3)
    assert (found[inside] - expected[inside]).abs().max() < 1e-5
