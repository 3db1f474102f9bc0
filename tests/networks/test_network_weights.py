"""Weights of the six networks: how they start, that they are bounded, that each learns."""

from __future__ import annotations

from typing import Iterator, Tuple

import pytest
import torch
from torch import nn

from dual_core import equations
from dual_core.networks.card import ModelCard
from dual_core.networks.discriminators import Discriminator
from dual_core.networks.generators import NetworkConfig, UNet, initialise
from dual_core.networks.model import DualModel
from dual_core.networks.noise import NoiseDecoder, NoiseEncoder

pytestmark = pytest.mark.usefixtures("_seed")


def layers_of(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if isinstance(layer, (nn.Conv3d, nn.Linear)))


def assert_orthogonal(weight: torch.Tensor, gain: float) -> None:
    matrix = weight.detach().flatten(1).double()
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    expected = gain**2 * torch.eye(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(matrix @ matrix.T, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain", (0.5, 1.0, 1.4))
def test_initialise_makes_orthogonal_weights_and_zero_biases(gain):
    # One layer with more rows than columns, one with fewer.
    module = nn.Sequential(nn.Conv3d(1, 40, 3), nn.Conv3d(4, 8, 3, bias=False), nn.Linear(5, 7))
    initialise(module, gain)
    for layer in layers_of(module):
        assert_orthogonal(layer.weight, gain)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(
    "module",
    (
        UNet((3, 5), 2),
        NoiseEncoder((2, 4), 8, standardised=True),
        NoiseDecoder((2, 4), 8, 8),
        Discriminator((2, 4), scales=2),
    ),
    ids=lambda module: type(module).__name__,
)
def test_every_network_starts_orthogonal(module):
    assert list(layers_of(module))
    for layer in layers_of(module):
        assert_orthogonal(layer.weight, 1.0)
        assert layer.bias is None or not layer.bias.any()


def test_spectral_norm_bounds_every_layer():
    discriminator = Discriminator((3, 6), normalised=True)
    volume = torch.randn(1, 1, 16, 16, 16)
    for parameter in discriminator.parameters():
        parameter.data.mul_(5.0)
    for _ in range(30):  # each call is a step of the power iteration
        discriminator(volume)
    for layer in layers_of(discriminator.eval()):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(norm, torch.ones(()), rtol=0.02, atol=0)


def small_model(**changes: object) -> DualModel:
    values = {
        "channels": (3, 4),
        "stem_stride": 2,
        "noise_channels": (2, 4),
        "code_size": 5,
        "noise_side": 16,
        "discriminator_channels": (2, 4),
        "discriminator_scales": 1,
        "spectral_norm": False,
    }
    values.update(changes)
    return DualModel(NetworkConfig(**values), ModelCard(10.0, "bright", {}))


def losses_of(model: DualModel) -> Tuple[torch.Tensor, torch.Tensor]:
    """Equation 3 of the generators and equations 6 and 7 of the discriminators."""
    tomogram, density = torch.randn(2, 1, 16, 16, 16), torch.randn(2, 1, 16, 16, 16)
    drawn = model.noise_decoder(torch.randn(2, 5))
    mask = equations.permute_noise(drawn, torch.rand(density.shape))
    codes = model.noise_encoder(tomogram)
    fake_density = model.denoiser(tomogram)
    fake_tomogram = model.structural_generator(density + mask)
    again = model.structural_generator(fake_density + model.noise_decoder(codes))
    generators = (
        equations.reconstruction_loss(density, model.denoiser(fake_tomogram))
        + equations.reconstruction_loss(tomogram, again)
        + equations.adversarial_loss(model.noisy_discriminator(fake_tomogram))
        + equations.adversarial_loss(model.clean_discriminator(fake_density))
        + 0.1 * equations.noise_code_loss(codes)
    )
    discriminators = equations.discriminator_loss(
        model.noisy_discriminator(tomogram), model.noisy_discriminator(fake_tomogram.detach())
    ) + equations.discriminator_loss(
        model.clean_discriminator(density), model.clean_discriminator(fake_density.detach())
    )
    return generators, discriminators


@pytest.mark.parametrize("changes", ({}, {"stem_stride": 1}, {"spectral_norm": True}))
def test_every_parameter_of_all_six_networks_learns(changes):
    model = small_model(**changes)
    # Gs starts as the identity, its head at zero: away from the very first step.
    nn.init.normal_(model.structural_generator.head.weight, std=0.1)
    generators, discriminators = losses_of(model)
    (generators + discriminators).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or float(parameter.grad.abs().max()) < 1e-9
    ]
    # The mask's mean is taken off, so that a constant added to it is without effect.
    assert [name for name in without if name != "noise_decoder.head.bias"] == []
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("wrong", ({"channels": ()}, {"channels": (0, 2)}, {"noise_side": 18}))
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError, match="channels|noise_side"):
        NetworkConfig(**wrong)
