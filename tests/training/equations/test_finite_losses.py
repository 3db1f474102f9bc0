"""Losses and their gradients are finite on any input, and exact under autocast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_patches import SHAPE, noise, ordinary_pair

from dual_core import equations

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
