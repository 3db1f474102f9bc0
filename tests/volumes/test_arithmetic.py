"""Blocks are computed alike with numpy on the host and with torch on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.volumes.arithmetic import HOST, DeviceArithmetic, arithmetic_on

DEVICE = DeviceArithmetic(torch.device("cpu"))
BLOCK = np.random.default_rng(0).standard_normal((12, 15, 14), dtype=np.float32)


def on_host(block: Any) -> np.ndarray:
    return np.asarray(block)


@pytest.mark.parametrize("arithmetic", [HOST, DEVICE])
def test_a_spectrum_gives_its_block_back(arithmetic: Any) -> None:
    block = arithmetic.given(BLOCK)
    again = arithmetic.block(arithmetic.spectrum(block), block.shape)
    np.testing.assert_allclose(on_host(again), BLOCK, atol=1e-5)


@pytest.mark.parametrize("arithmetic", [HOST, DEVICE])
def test_blurring_is_a_gaussian_filter_with_mirrored_faces(arithmetic: Any) -> None:
    blocks = np.stack([BLOCK, 2 * BLOCK[::-1]])[:, np.newaxis]
    expected = gaussian_filter(blocks, (0, 0, 2.5, 2.5, 2.5), mode="reflect")
    found = on_host(arithmetic.blurred(arithmetic.given(blocks), 2.5))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "operation",
    [
        lambda on, block: on.padded(block, 3),
        lambda on, block: on.clipped(block, (-0.5, np.inf)),
        lambda on, block: on.flipped(block, [0, 2]),
        lambda on, block: on.copied(block[2:5, ::2]),
        lambda on, block: on.stacked([block, block + 1]),
        lambda on, block: on.root(block**2),
        lambda on, block: on.spectrum(block).real,
    ],
)
def test_host_and_device_agree(operation: Any) -> None:
    expected = operation(HOST, HOST.given(BLOCK))
    found = on_host(operation(DEVICE, DEVICE.given(BLOCK)))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("arithmetic", [HOST, DEVICE])
def test_noise_is_white_and_follows_from_the_hosts_random_state(arithmetic: Any) -> None:
    one, same = np.random.default_rng(3), np.random.default_rng(3)
    first, second = (on_host(arithmetic.white_noise((20, 30, 40), one)) for _ in range(2))
    np.testing.assert_array_equal(on_host(arithmetic.white_noise((20, 30, 40), same)), first)
    assert first.dtype == np.float32 and not np.array_equal(first, second)
    assert abs(first.mean()) < 0.03 and abs(first.std() - 1) < 0.03
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_a_gpu_draws_by_itself_and_a_cpu_with_numpy() -> None:
    assert arithmetic_on(torch.device("cpu")) is HOST
    assert isinstance(arithmetic_on(torch.device("meta")), DeviceArithmetic)
