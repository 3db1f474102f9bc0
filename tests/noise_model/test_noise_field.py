"""Properties of the noise of equation 1 over whole volumes."""

import hashlib

import numpy as np
import pytest

from dual_core.noise_model.noise_field import NoiseField, mask_values, one_torch_thread

SHAPE = (30, 41, 52)


def values(side=16, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=(side, side, side)).astype(np.float32)


def test_a_region_is_the_same_part_of_the_whole():
    field = NoiseField(values(), 7)
    whole = field.read((0, 0, 0), SHAPE)
    assert whole.shape == SHAPE and whole.dtype == np.float32
    random = np.random.default_rng(1)
    for _ in range(20):
        start = [int(random.integers(0, n)) for n in SHAPE]
        size = [int(random.integers(0, n - a + 1)) for n, a in zip(SHAPE, start)]
        part = tuple(slice(a, a + n) for a, n in zip(start, size))
        np.testing.assert_array_equal(field.read(tuple(start), tuple(size)), whole[part])
    # A row longer than what is drawn at once.
    long = field.read((3, 4, 0), (1, 2, 100_000))
    np.testing.assert_array_equal(long[:, :, :52], whole[3:4, 4:6])


def test_it_goes_on_outside_the_volume():
    field = NoiseField(values(), 7)
    around = field.read((-9, -8, -7), (40, 50, 60))
    np.testing.assert_array_equal(around[9:39, 8:49, 7:59], field.read((0, 0, 0), SHAPE))
    # And neither mirrored nor repeated.
    assert np.mean(around[:9] == around[10:19][::-1]) < 0.01
    with pytest.raises(ValueError, match="far out"):
        field.read((0, 0, 1 << 20), (1, 1, 1))


def test_the_bytes_are_those_of_splitmix64_for_good():
    """Numbers 1, 2, 3 of seed 1234567, as the generator's authors have them."""
    known = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    count = 1 << 20
    field = NoiseField(np.zeros(count, np.float32), 1234567)
    drawn = field._draw(np.arange(1, 4, dtype=np.uint64))
    assert drawn.tolist() == [(number >> 32) * count >> 32 for number in known]
    drawn = NoiseField(np.arange(251), 2**64 - 1).read((-3, 0, 5), (7, 8, 9))
    digest = hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest()
    assert digest.startswith("46f5d74421801808")


def test_every_value_is_drawn_as_often_as_another():
    number = 1000
    drawn = NoiseField(np.arange(number), 3).read((0, 0, 0), (64, 64, 128)).astype(int)
    counts = np.bincount(drawn.ravel(), minlength=number)
    # Chi-squared per degree of freedom: 1 +- 0.045.
    assert abs(counts.var() / counts.mean() - 1) < 0.2
    mask = values()
    noise = NoiseField(mask, 3).read((0, 0, 0), (64, 64, 64))
    quantiles = np.linspace(0.01, 0.99, 25)
    np.testing.assert_allclose(
        np.quantile(noise, quantiles), np.quantile(mask, quantiles), rtol=0.03
    )
    # Training permutes: of as many voxels as values, the moments are the same.
    assert noise.mean() == pytest.approx(mask.mean(), rel=0.01)
    assert noise.std() == pytest.approx(mask.std(), rel=0.01)


def test_it_is_white():
    noise = NoiseField(np.random.default_rng(0).normal(size=4096), 11).read((0, 0, 0), (64,) * 3)
    noise = (noise - noise.mean()) / noise.std()
    limit = 5 / np.sqrt(noise.size)
    for shift in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 2, 1), (4, 0, 0), (0, 0, 32)):
        rolled = np.roll(noise, shift, (0, 1, 2))
        assert abs((noise * rolled).mean()) < limit, shift
    power = np.abs(np.fft.fftn(noise)) ** 2 / noise.size
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        np.testing.assert_allclose(power.mean(axis=others), 1, atol=0.1)
    assert power.max() < 25  # exponential distribution: P(> 25) = 1e-11 for each coefficient


def test_another_seed_is_another_noise():
    mask = np.random.default_rng(0).normal(size=4096)
    fields = [NoiseField(mask, seed).read((0, 0, 0), (32,) * 3) for seed in (0, 1, 2, 1 << 63)]
    for i, one in enumerate(fields):
        for other in fields[:i]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03


def test_of_nothing_nothing_is_drawn():
    with pytest.raises(ValueError, match="drawn"):
        NoiseField(np.zeros(0), 0)
    assert NoiseField(np.ones(1), 0).read((0, 0, 0), (0, 3, 4)).shape == (0, 3, 4)


def test_the_mask_is_the_decoders_whatever_the_threads():
    torch = pytest.importorskip("torch")
    from dual_core.networks.noise import NoiseDecoder

    torch.manual_seed(0)
    decoder = NoiseDecoder((4, 8, 16), 8, 16)
    code = np.random.default_rng(0).normal(size=8).astype(np.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(mask_values(decoder, code))
            assert torch.get_num_threads() == threads
        assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()
    finally:
        torch.set_num_threads(before)
    with torch.no_grad():
        expected = decoder(torch.from_numpy(code)[None])[0, 0].numpy()
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    with pytest.raises(RuntimeError), one_torch_thread():
        raise RuntimeError
    assert torch.get_num_threads() == before
