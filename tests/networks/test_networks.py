"""The building blocks of the six networks: sizes, reach, starting values, gradients."""

from __future__ import annotations

import itertools
from typing import Iterator, Tuple

import numpy as np
import pytest
import torch
from scipy.special import exp1
from torch import nn

from dual_core import equations
from dual_core.networks.card import ModelCard
from dual_core.networks.discriminators import Discriminator, log_power_spectrum
from dual_core.networks.generators import NetworkConfig, UNet, initialise
from dual_core.networks.model import DualModel
from dual_core.networks.noise import NOISE_SCALE, NOISE_SCALE_RANGE, NoiseDecoder, NoiseEncoder

WIDTHS = ((3,), (2, 3), (2, 3, 4), (1, 2, 2, 1))
EVERY_UNET = list(itertools.product(WIDTHS, (1, 2)))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# U-Net --------------------------------------------------------------------------------------


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


# Starting values ----------------------------------------------------------------------------


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


# Noise encoder and decoder ------------------------------------------------------------------


@pytest.mark.parametrize("standardised", (False, True))
@pytest.mark.parametrize("size", ((8, 8, 8), (9, 8, 11), (16, 24, 8), (33, 17, 40)))
def test_encoder_takes_any_size_that_the_strides_leave_a_voxel_of(size, standardised):
    encoder = NoiseEncoder((2, 3, 4), 6, standardised)
    for batch in (1, 2):
        code = encoder(torch.randn(batch, 1, *size))
        assert code.shape == (batch, 6)
        assert torch.isfinite(code).all()


@pytest.mark.parametrize("standardised", (False, True))
def test_encoder_tells_patches_apart(standardised):
    code = NoiseEncoder((4, 8), 6, standardised)(torch.randn(3, 1, 16, 16, 16))
    assert torch.cdist(code, code)[~torch.eye(3, dtype=torch.bool)].min() > 1e-3


def test_standardised_codes_come_to_mean_zero_and_deviation_one():
    encoder = NoiseEncoder((2, 4), 6, standardised=True)
    nn.init.normal_(encoder.head.bias, std=3.0)
    with torch.no_grad():
        for _ in range(150):
            encoder(5.0 * torch.randn(8, 1, 8, 8, 8))
        codes = encoder.eval()(5.0 * torch.randn(400, 1, 8, 8, 8))
    # What follows slowly stays uncertain by as many batches as it remembers.
    assert codes.mean(dim=0).abs().max() < 0.4
    assert (codes.std(dim=0) - 1).abs().max() < 0.4


def test_standardised_codes_depend_on_the_batch_in_training_only_slowly():
    encoder = NoiseEncoder((2, 4), 6, standardised=True).eval()
    volume = torch.randn(4, 1, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(encoder(volume)[:1], encoder(volume[:1]), rtol=1e-4, atol=1e-5)


def test_codes_of_a_constant_encoder_have_finite_gradients():
    encoder = NoiseEncoder((2, 4), 6, standardised=True)
    nn.init.zeros_(encoder.head.weight)
    for _ in range(200):
        code = encoder(torch.randn(2, 1, 8, 8, 8))
    code.square().mean().backward()
    assert torch.isfinite(code).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


@pytest.mark.parametrize(("channels", "side"), (((4,), 4), ((8, 16), 16), ((8, 16, 32), 32)))
@pytest.mark.parametrize("spread", (0.5, 1.0, 5.0))
def test_decoder_draws_masks_of_mean_zero_and_of_its_own_deviation(channels, side, spread):
    decoder = NoiseDecoder(channels, 16, side)
    code = (spread * torch.randn(4, 16)).requires_grad_()
    mask = decoder(code)
    assert mask.shape == (4, 1, side, side, side)
    scale = NOISE_SCALE * NOISE_SCALE_RANGE ** torch.tanh(decoder.scale(code))[:, 0]
    deviation = mask.flatten(1).std(dim=1, unbiased=False)
    assert mask.flatten(1).mean(dim=1).abs().max() < 1e-5 * max(1.0, float(scale.detach().max()))
    torch.testing.assert_close(deviation, scale, rtol=0.1, atol=0.0)
    assert deviation.min() > 0.9 * NOISE_SCALE / NOISE_SCALE_RANGE
    assert deviation.max() < 1.01 * NOISE_SCALE * NOISE_SCALE_RANGE
    mask.square().mean().backward()
    assert torch.isfinite(code.grad).all()
    assert code.grad.abs().max() > 0


@pytest.mark.parametrize("spread", (0.0, 1e-4, 1e4))
def test_decoder_stays_finite_for_extreme_codes(spread):
    decoder = NoiseDecoder((4, 8), 8, 8)
    code = (spread * torch.randn(3, 8)).requires_grad_()
    mask = decoder(code)
    mask.abs().mean().backward()
    assert torch.isfinite(mask).all()
    assert torch.isfinite(code.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in decoder.parameters())


def test_decoder_draws_another_mask_for_each_code():
    masks = NoiseDecoder((4, 8), 8, 8)(torch.randn(2, 8))
    assert equations.correlation(masks[:1], masks[1:]).abs() < 0.9


# Discriminators -----------------------------------------------------------------------------


@pytest.mark.parametrize("normalised", (False, True))
@pytest.mark.parametrize("scales", (1, 2))
def test_discriminator_has_a_spectral_and_spatial_branches(scales, normalised):
    discriminator = Discriminator((2, 4), scales, normalised)
    logits = discriminator(torch.randn(3, 1, 16, 24, 16))
    assert len(logits) == 1 + scales
    for branch in logits:
        assert branch.shape[:2] == (3, 1)
        assert torch.isfinite(branch).all()
    # Each further resolution is half as fine.
    sides = [tuple(branch.shape[2:]) for branch in logits]
    assert sides[0] == sides[1] == (4, 6, 4)
    if scales == 2:
        assert sides[2] == (2, 3, 2)


def test_the_branches_look_at_space_and_at_the_spectrum():
    """A cyclic shift changes no power: the spectral branch must not see it, the spatial must."""
    discriminator = Discriminator((2, 4))
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        spectral, spatial = discriminator(volume)
        spectral_shifted, spatial_shifted = discriminator(volume.roll((3, 5, 2), (2, 3, 4)))
    torch.testing.assert_close(spectral, spectral_shifted, rtol=1e-3, atol=1e-4)
    assert (spatial - spatial_shifted).abs().max() > 0.01


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


def test_white_noise_has_the_expected_log_power():
    volume = torch.randn(4, 1, 24, 24, 24)
    power = log_power_spectrum(volume)
    assert power.shape == volume.shape
    assert power.dtype == torch.float32
    # Power is exponentially distributed with mean 1; the expectation of log(power + 0.01):
    expected = np.exp(0.01) * exp1(0.01) + np.log(0.01)
    assert float(power.mean()) == pytest.approx(expected, abs=0.03)
    # White: the same everywhere, here between the middle and the border.
    assert float(power[..., 8:16, 8:16, 8:16].mean()) == pytest.approx(expected, abs=0.1)


def test_log_power_spectrum_shows_a_wedge_and_the_zero_frequency_in_the_middle():
    side = 24
    middle = side // 2
    frequency = np.fft.fftfreq(side)
    missing = np.abs(frequency[:, None, None]) > 1.5 * np.abs(frequency[None, None, :])
    missing = np.broadcast_to(missing, (side, side, side))
    noise = np.random.default_rng(0).standard_normal((side, side, side))
    wedged = np.fft.ifftn(np.where(missing, 0.0, np.fft.fftn(noise))).real
    power = log_power_spectrum(torch.from_numpy(wedged)[None, None])[0, 0].numpy()
    missing = np.fft.fftshift(missing)
    assert power[missing].mean() < np.log(0.02) < -2.5 < power[~missing].mean()
    constant = log_power_spectrum(torch.ones(1, 1, side, side, side))[0, 0]
    assert np.unravel_index(int(constant.argmax()), constant.shape) == (middle, middle, middle)


def test_log_power_spectrum_of_an_empty_patch_has_finite_gradients():
    volume = torch.zeros(1, 1, 8, 8, 8, requires_grad=True)
    log_power_spectrum(volume).mean().backward()
    assert torch.isfinite(volume.grad).all()


# All six together ---------------------------------------------------------------------------


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
