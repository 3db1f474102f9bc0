"""Equations 1 and 3 to 9: their values on ordinary input, and finite numbers on any other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dual_core import equations
from dual_core.training.config import preset_config
from dual_core.volumes.geometry import wedge_mask

SHAPE = (3, 1, 6, 7, 8)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Equation 1: the permutation ----------------------------------------------------------------


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


# Equations 3 to 9 against numpy -------------------------------------------------------------


def ordinary_pair() -> tuple:
    real = torch.randn(SHAPE)
    return real, 0.6 * real + 0.5 * torch.randn(SHAPE) + 0.2


def numpy_rows(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().numpy().reshape(len(tensor), -1)


def test_correlation_and_squared_error_are_those_of_numpy():
    real, other = ordinary_pair()
    pairs = list(zip(numpy_rows(real), numpy_rows(other)))
    expected = [np.corrcoef(first, second)[0, 1] for first, second in pairs]
    np.testing.assert_allclose(equations.correlation(real, other), expected, atol=1e-5)
    errors = [((first - second) ** 2).mean() for first, second in pairs]
    np.testing.assert_allclose(equations.mean_squared_error(real, other), errors, rtol=1e-5)


@pytest.mark.parametrize("scale", (1.0, 50.0))
def test_correlation_is_symmetric_and_blind_to_gain_and_offset(scale):
    real, other = ordinary_pair()
    found = equations.correlation(real, other)
    torch.testing.assert_close(equations.correlation(other, real), found)
    torch.testing.assert_close(
        equations.correlation(scale * real + 3.0, other), found, rtol=1e-4, atol=1e-5
    )
    turned = equations.correlation(-scale * real, other)
    torch.testing.assert_close(turned, -found, rtol=1e-4, atol=0)


def test_equation_3_has_the_weights_of_the_paper():
    weights = preset_config("standard", "paper").loss_weights
    named = {name: weight for name, weight in weights.items() if weight}
    assert named == {
        "loss_density": 1.0,
        "loss_tomogram": 1.0,
        "loss_adversarial_t": 1.0,
        "loss_adversarial_v": 1.0,
        "loss_noise_code": 0.1,
    }


def test_equations_4_and_5():
    real, other = ordinary_pair()
    expected = np.mean(
        [
            np.log(((first - second) ** 2).mean()) + np.log(1 - np.corrcoef(first, second)[0, 1])
            for first, second in zip(numpy_rows(real), numpy_rows(other))
        ]
    )
    assert float(equations.reconstruction_loss(real, other)) == pytest.approx(expected, abs=1e-4)


def test_equations_4_and_5_fall_towards_the_match():
    real, other = ordinary_pair()
    values = [
        float(equations.reconstruction_loss(real, real + share * (other - real)))
        for share in (1.0, 0.5, 0.1, 0.0)
    ]
    assert values == sorted(values, reverse=True)


def sigmoid(tensor: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-tensor.double().numpy()))


def two_branches() -> list:
    return [torch.randn(3, 1, 2, 2, 2), torch.randn(3, 1, 4, 4, 4)]


def test_equations_6_and_7():
    real, fake = two_branches(), two_branches()
    expected = np.mean(
        [
            -np.log(1 - sigmoid(false)).mean() - np.log(sigmoid(true)).mean()
            for true, false in zip(real, fake)
        ]
    )
    assert float(equations.discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-5)
    undecided = [torch.zeros(2, 1, 3, 3, 3)]
    coin = float(equations.discriminator_loss(undecided, undecided))
    assert coin == pytest.approx(2 * np.log(2), rel=1e-6)


def test_equation_8():
    fake = two_branches()
    expected = np.mean([-np.log(sigmoid(logits)).mean() for logits in fake])
    assert float(equations.adversarial_loss(fake)) == pytest.approx(expected, rel=1e-5)


def test_least_squares_variants():
    real, fake = two_branches(), two_branches()
    expected = np.mean(
        [
            ((true.numpy() - 1) ** 2).mean() + (false.numpy() ** 2).mean()
            for true, false in zip(real, fake)
        ]
    )
    found = float(equations.discriminator_loss(real, fake, "least-squares"))
    assert found == pytest.approx(expected, rel=1e-5)
    expected = np.mean([((logits.numpy() - 1) ** 2).mean() for logits in fake])
    found = float(equations.adversarial_loss(fake, "least-squares"))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ("cross-entropy", "least-squares"))
def test_generators_and_discriminators_pull_the_logits_of_fakes_apart(kind):
    fake = torch.zeros(2, 1, 3, 3, 3, requires_grad=True)
    real = torch.zeros(2, 1, 3, 3, 3)
    (upwards,) = torch.autograd.grad(equations.adversarial_loss([fake], kind), fake)
    (downwards,) = torch.autograd.grad(equations.discriminator_loss([real], [fake], kind), fake)
    assert (upwards < 0).all()
    assert (downwards >= 0).all()


@pytest.mark.parametrize("shrinkage", (0.0, 0.1, 0.5))
def test_equation_9(shrinkage):
    size = 5
    codes = torch.randn(40, size) @ torch.randn(size, size) + torch.randn(size)
    values = codes.double().numpy()
    mean = values.mean(axis=0)
    covariance = np.cov(values, rowvar=False)  # divides by n - 1, as the paper does
    covariance = (1 - shrinkage) * covariance + shrinkage * np.eye(size)
    inverse = np.linalg.inv(covariance)
    divergence = 0.5 * (
        np.trace(inverse) + mean @ inverse @ mean - size + np.linalg.slogdet(covariance)[1]
    )
    found = float(equations.noise_code_loss(codes, shrinkage))
    assert found == pytest.approx(divergence / size, rel=1e-3)


def test_equation_9_is_least_for_standard_normal_codes():
    codes = torch.randn(4000, 6)
    best = float(equations.noise_code_loss(codes))
    assert 0 <= best < 0.02
    for wrong in (codes + 0.5, 0.3 * codes, 3 * codes, codes[:, :1].expand(-1, 6)):
        assert float(equations.noise_code_loss(wrong)) > 2 * best + 0.02


def test_equation_9_wants_diverse_codes():
    codes = (0.01 * torch.randn(16, 4)).requires_grad_()
    equations.noise_code_loss(codes).backward()
    centred = codes.detach() - codes.detach().mean(dim=0)
    assert float((codes.grad * centred).sum()) < 0, "a step down the gradient spreads them"


# Safety -------------------------------------------------------------------------------------


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


AWKWARD_PAIRS = {
    "ordinary": (noise(), noise(1)),
    "identical": (noise(), noise()),
    "affine": (noise(), 3.0 * noise() + 2.0),
    "slightly affine": (noise(), 1.0001 * noise()),
    "inverse": (noise(), -noise()),
    "constant and noise": (torch.full(SHAPE, 2.0), noise()),
    "noise and constant": (noise(), torch.zeros(SHAPE)),
    "two constants": (torch.zeros(SHAPE), torch.full(SHAPE, -1.0)),
    "two equal constants": (torch.ones(SHAPE), torch.ones(SHAPE)),
    "nearly constant": (noise() * 1e-4 + 1.0, noise(1) * 1e-4 + 1.0),
    "large": (noise() * 1e4, noise(1) * 1e4),
    "large offset": (noise() + 1e4, noise() + 1e4),
    "small": (noise() * 1e-8, noise(1) * 1e-8),
    "batch of one": (noise()[:1], noise(1)[:1]),
}


def assert_finite_with_finite_gradients(loss: torch.Tensor, *inputs: torch.Tensor) -> None:
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    for gradient in torch.autograd.grad(loss, inputs):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=("float32", "bfloat16"))
@pytest.mark.parametrize("case", sorted(AWKWARD_PAIRS))
def test_reconstruction_is_finite(case, dtype):
    real, other = (part.to(dtype).requires_grad_() for part in AWKWARD_PAIRS[case])
    assert_finite_with_finite_gradients(equations.reconstruction_loss(real, other), real, other)
    found = equations.correlation(real, other)
    assert (found.abs() <= 1 + 1e-5).all()


def test_reconstruction_is_finite_for_any_perfect_affine_match():
    for seed in range(200):
        real = noise(seed)
        gain, offset = np.random.default_rng(seed).uniform(0.01, 10, 2)
        other = (gain * real + offset).requires_grad_()
        assert_finite_with_finite_gradients(equations.reconstruction_loss(real, other), other)


def test_constant_patches_correlate_with_nothing():
    constant = torch.full(SHAPE, 0.3)
    assert equations.correlation(constant, noise()).abs().max() < 1e-3
    assert equations.correlation(constant, constant).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=("float32", "bfloat16"))
@pytest.mark.parametrize("kind", ("cross-entropy", "least-squares"))
@pytest.mark.parametrize("size", (0.0, 1.0, 1e4))
def test_adversarial_losses_are_finite(size, kind, dtype):
    real, fake = ((size * noise(seed)).to(dtype).requires_grad_() for seed in (0, 1))
    loss = equations.discriminator_loss([real], [fake], kind)
    assert_finite_with_finite_gradients(loss, real, fake)
    assert_finite_with_finite_gradients(equations.adversarial_loss([fake], kind), fake)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=("float32", "bfloat16"))
@pytest.mark.parametrize("count", (1, 2, 4, 31, 32, 33, 128))
@pytest.mark.parametrize("size", (0.0, 1e-4, 1.0, 1e2, 1e4, 1e6))
def test_noise_code_loss_is_finite(count, size, dtype):
    codes = (size * torch.randn(count, 32)).to(dtype).requires_grad_()
    assert_finite_with_finite_gradients(equations.noise_code_loss(codes), codes)


@pytest.mark.parametrize("size", (0.0, 1.0, 1e4))
def test_noise_code_loss_is_finite_for_identical_codes(size):
    codes = (size * torch.randn(1, 16)).expand(8, 16).clone().requires_grad_()
    assert_finite_with_finite_gradients(equations.noise_code_loss(codes), codes)


def test_losses_are_as_exact_under_autocast():
    real, other = ordinary_pair()
    codes = torch.randn(8, 16)
    logits = [noise()], [noise(1)]
    plain = (
        equations.reconstruction_loss(real, other),
        equations.discriminator_loss(*logits),
        equations.adversarial_loss(logits[0]),
        equations.noise_code_loss(codes),
    )
    with torch.autocast("cpu", torch.bfloat16):
        cast = (
            equations.reconstruction_loss(real, other),
            equations.discriminator_loss(*logits),
            equations.adversarial_loss(logits[0]),
            equations.noise_code_loss(codes),
        )
    for expected, found in zip(plain, cast):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)


# Power spectra ------------------------------------------------------------------------------


def test_spectrum_loss_is_the_squared_difference_of_log_power():
    volume = torch.randn(4, 1, 16, 16, 16)
    assert float(equations.spectrum_loss(volume, volume)) == 0.0
    halved = float(equations.spectrum_loss(volume, 0.5 * volume))
    assert halved == pytest.approx(math.log(4.0) ** 2, rel=0.05)


def test_spectrum_loss_sees_a_missing_wedge_but_not_where_things_are():
    volume = torch.randn(8, 1, 16, 16, 16)
    moved = torch.roll(volume, (3, 5, 2), dims=(2, 3, 4))
    mask = torch.from_numpy(wedge_mask((16, 16, 16), (-60.0, 60.0)))
    wedged = torch.fft.ifftn(torch.fft.fftn(volume, dim=(2, 3, 4)) * mask, dim=(2, 3, 4)).real
    assert float(equations.spectrum_loss(volume, wedged)) > 1.0
    assert float(equations.spectrum_loss(volume, moved)) < 0.05


def test_spectrum_loss_sees_what_is_missing_next_to_the_tilt_axis():
    """Far out along it too, where a shell would hide that among all that is as fine."""
    torch.manual_seed(0)
    volume = torch.randn(1, 1, 32, 32, 32)
    spectrum = torch.fft.fftn(volume)
    kz, ky, kx = torch.meshgrid(*[torch.fft.fftfreq(32) * 32] * 3, indexing="ij")
    near = (torch.sqrt(kz**2 + kx**2) < 2) & (ky.abs() > 6)
    fainter = torch.fft.ifftn(torch.where(near, 0.3 * spectrum, spectrum)).real
    assert float(equations.spectrum_loss(volume, fainter)) > 0.003  # 0.0003 with shells


def test_spectrum_loss_of_an_empty_patch_has_finite_gradients():
    empty = torch.zeros(2, 1, 8, 8, 8, requires_grad=True)
    equations.spectrum_loss(torch.randn(2, 1, 8, 8, 8), empty).backward()
    assert torch.isfinite(empty.grad).all()


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
