"""The noise encoder and decoder: codes of patches, and noise drawn from codes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dual_core import equations
from dual_core.networks.noise import NOISE_SCALE, NOISE_SCALE_RANGE, NoiseDecoder, NoiseEncoder

pytestmark = pytest.mark.usefixtures("_seed")


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
