"""U-Nets: the shapes that they keep, how far they see, and the gain of the input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dual_core.networks.generators import UNet

pytestmark = pytest.mark.usefixtures("_seed")

WIDTHS = ((3,), (2, 3), (2, 3, 4), (1, 2, 2, 1))
EVERY_UNET = list(itertools.product(WIDTHS, (1, 2)))


@pytest.mark.parametrize(("widths", "stride"), EVERY_UNET)
def test_unet_keeps_the_shape_of_every_multiple(widths, stride):
    unet = UNet(widths, stride)
    assert unet.multiple == stride * 2 ** (len(widths) - 1)
    for factors in ((1, 1, 1), (1, 2, 3), (3, 1, 2)):
        shape = (2, 1, *(factor * unet.multiple for factor in factors))
        result = unet(torch.randn(shape))
        assert result.shape == shape
        assert torch.isfinite(result).all()


def change_by_distance(unet: UNet, axis: int, offset: int) -> np.ndarray:
    """Largest change of the output at each distance from one perturbed input voxel."""
    reach = unet.receptive_radius
    middle = (reach // unet.multiple + 2) * unet.multiple
    # Long along one axis only: the reach along it does not depend on the others.
    shape = [unet.multiple] * 3
    shape[axis] = 2 * middle
    volume = torch.rand(1, 1, *shape, dtype=torch.float64)
    perturbed = volume.clone()
    perturbed[0, 0].select(axis, middle + offset).add_(10.0)
    with torch.no_grad():
        change = (unet(perturbed) - unet(volume)).abs()[0, 0]
    other_axes = tuple(number for number in range(3) if number != axis)
    places = change.amax(dim=other_axes).numpy()
    distances = np.abs(np.arange(len(places)) - (middle + offset))
    return np.array([places[distances == distance].max() for distance in range(distances.max())])


@pytest.mark.parametrize(("widths", "stride"), EVERY_UNET)
def test_receptive_radius_is_a_true_and_a_tight_bound(widths, stride):
    unet = UNet(widths, stride).double()
    for parameter in unet.parameters():
        # Positive weights: no influence cancels another.
        parameter.data.abs_().add_(0.05 if parameter.ndim > 1 else 0.0)
    furthest = 0
    # How far a voxel reaches depends on its place within a pooled voxel.
    for axis, offset in ((0, 0), (1, unet.multiple - 1), *((2, n) for n in range(unet.multiple))):
        change = change_by_distance(unet, axis, offset)
        assert change[unet.receptive_radius + 1 :].max() <= 1e-12 * change.max()
        furthest = max(furthest, int(np.flatnonzero(change > 1e-15 * change.max()).max()))
    assert unet.receptive_radius >= furthest >= 0.8 * unet.receptive_radius


def test_tiles_with_a_halo_of_the_radius_equal_the_whole():
    unet = UNet((2, 3), 2).double()
    halo = -(-unet.receptive_radius // unet.multiple) * unet.multiple
    core = 2 * unet.multiple
    volume = torch.randn(1, 1, 4, 4, 4 * halo + core, dtype=torch.float64)
    tile = slice(halo, 3 * halo + core)
    with torch.no_grad():
        whole = unet(volume)[..., 2 * halo : 2 * halo + core]
        part = unet(volume[..., tile])[..., halo : halo + core]
    torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", (1, 2))
def test_unet_with_an_input_gain_starts_as_that_gain(stride):
    unet = UNet((2, 4), stride, input_gain=0.7)
    volume = torch.randn(2, 1, 8, 12, 16)
    torch.testing.assert_close(unet(volume), 0.7 * volume)
    assert unet.input_gain is not None
    assert unet.input_gain.requires_grad


def test_input_gain_is_no_dead_end():
    """The head starts at zero; one step later every layer must learn."""
    unet = UNet((2, 4), 2, input_gain=1.0)
    optimiser = torch.optim.SGD(unet.parameters(), lr=0.1)
    volume = torch.randn(1, 1, 8, 8, 8)
    for _ in range(2):
        optimiser.zero_grad()
        (unet(volume) - volume.flip(2)).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in unet.parameters())
