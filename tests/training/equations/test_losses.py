"""Equations 3 to 9 against numpy, and the loss on power spectra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from random_patches import ordinary_pair

from dual_core import equations
from dual_core.training.config import preset_config
from dual_core.volumes.geometry import wedge_mask

# Equations 3 to 9 against numpy -------------------------------------------------------------


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
