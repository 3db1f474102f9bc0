"""Equation 1: the permutation of the noise, and the structure that it is added to."""

from __future__ import annotations

import torch
from random_patches import SHAPE

from dual_core import equations


def test_permuted_noise_has_the_same_values_patch_by_patch():
    mask = torch.randn(SHAPE)
    permuted = equations.permute_noise(mask, torch.rand(SHAPE))
    assert permuted.shape == mask.shape
    assert torch.equal(permuted.flatten(1).sort().values, mask.flatten(1).sort().values)
    assert not torch.equal(permuted, mask)


def test_permuted_noise_follows_the_order():
    """Where `order` is larger the permuted noise is larger."""
    mask, order = torch.randn(SHAPE), torch.rand(SHAPE)
    permuted = equations.permute_noise(mask, order)
    by_order = permuted.flatten(1).gather(1, order.flatten(1).argsort())
    assert (by_order.diff() >= 0).all()


def test_permutation_depends_on_the_order_of_the_numbers_alone():
    mask, order = torch.randn(SHAPE), torch.rand(SHAPE)
    first = equations.permute_noise(mask, order)
    assert torch.equal(first, equations.permute_noise(mask, (5 * order).exp()))


def test_permutation_sends_a_value_everywhere_equally_often():
    count, voxels = 8000, 8
    mask = torch.arange(voxels, dtype=torch.float32).view(1, 1, 2, 2, 2).expand(count, 1, 2, 2, 2)
    permuted = equations.permute_noise(mask, torch.rand(count, 1, 2, 2, 2)).flatten(1)
    places = torch.stack([(permuted == value).float().mean(dim=0) for value in range(voxels)])
    # Five standard errors about an even distribution.
    assert (places - 1 / voxels).abs().max() < 5 * (1 / voxels / count) ** 0.5


def test_permutation_leaves_no_structure():
    side = 16
    ramp = torch.linspace(-1, 1, side).view(1, 1, 1, 1, side).expand(1, 1, side, side, side)
    smooth = ramp + 0.1 * torch.randn(1, 1, side, side, side)
    permuted = equations.permute_noise(smooth, torch.rand(smooth.shape))
    for axis in (2, 3, 4):
        neighbours = equations.correlation(permuted, permuted.roll(1, axis))
        assert abs(float(neighbours)) < 5 / side**1.5
    assert abs(float(equations.correlation(permuted, smooth))) < 5 / side**1.5


def test_gradients_go_back_to_the_voxel_a_value_came_from():
    mask = torch.randn(SHAPE, requires_grad=True)
    order, weight = torch.rand(SHAPE), torch.randn(SHAPE)
    (equations.permute_noise(mask, order) * weight).sum().backward()
    expected = torch.zeros_like(weight).flatten(1)
    from_place = mask.detach().flatten(1).argsort()
    to_place = order.flatten(1).argsort()
    expected.scatter_(1, from_place, weight.flatten(1).gather(1, to_place))
    assert torch.equal(mask.grad.flatten(1), expected)


def test_structure_and_noise_of_equation_1() -> None:
    random = torch.Generator().manual_seed(0)
    density, mask = (torch.randn(2, 1, 8, 8, 8, generator=random) for _ in range(2))
    seen, added = equations.structure_and_noise(density, mask, None)
    assert torch.equal(seen, density + mask) and added == 0.0
    filters = torch.full((8, 8, 5), 3.0), torch.full((8, 8, 5), 0.5)
    seen, added = equations.structure_and_noise(density, 7.0 * mask + 2.0, filters)
    torch.testing.assert_close(seen, 3.0 * density)
    # Its strength is the filter's, whatever the mask's.
    torch.testing.assert_close(added.std(dim=(1, 2, 3, 4), unbiased=False), torch.full((2,), 0.5))
    torch.testing.assert_close(added.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
