"""Noise of simulated tomograms: from seeds, from a tomogram, and as it was measured."""

import numpy as np
import pytest
from small_simulation import DEVIATION, LONG, MEAN, density, make_model, read, simulate, write

torch = pytest.importorskip("torch")

from dual_core.tasks.simulation.noise_codes import (  # noqa: E402
    content_hash,
    draw_noise,
    encode_tomogram,
    profile_of_tomogram,
)


def test_copies_seeds_and_volumes_have_noise_of_their_own():
    drawn = [draw_noise(16, *key) for key in ((0, 5, 1), (0, 5, 2), (1, 5, 1), (0, 6, 1))]
    assert len({noise.seed for noise in drawn}) == 4
    assert len({noise.code.tobytes() for noise in drawn}) == 4
    again = draw_noise(16, 0, 5, 1)
    assert again.seed == drawn[0].seed and again.code.tobytes() == drawn[0].code.tobytes()
    codes = np.array([draw_noise(8, 0, 1, number).code for number in range(500)])
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.15)
    # For good: these numbers are what 'same seed, same tomogram' stands on.
    assert again.seed == 12907612945109159136
    np.testing.assert_allclose(again.code[:2], [-0.4064, 0.5379], atol=1e-4)


def test_the_content_is_that_of_the_voxels(tmp_path):
    from dual_core.volumes.reading import open_volume

    volume = density().round().astype(np.int8)
    one = open_volume(write(tmp_path / "a.mrc", volume, 10.0))
    two = open_volume(write(tmp_path / "b.mrc", volume.astype(np.float32), 12.0, (1, 2, 3)))
    assert content_hash(one) == content_hash(two)
    volume[3, 4, 5] += 1
    assert content_hash(open_volume(write(tmp_path / "c.mrc", volume))) != content_hash(one)


def test_the_code_of_a_tomogram_is_the_tomograms_own(tmp_path, model):
    random = np.random.default_rng(0)
    white = random.normal(size=(24, 33, 40)).astype(np.float32)
    smooth = white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, 1, 2)
    codes = {
        name: encode_tomogram(write(tmp_path / f"{name}.mrc", array), model, contrast)
        for name, array, contrast in (
            ("white", white, "bright"),
            ("gain", 30 * white + 500, "bright"),
            ("dark", -white, "dark"),
            ("smooth", smooth, "bright"),
        )
    }
    assert codes["white"].shape == (4,)
    np.testing.assert_allclose(codes["gain"], codes["white"], atol=1e-3)
    np.testing.assert_allclose(codes["dark"], codes["white"], atol=1e-5)
    assert abs(codes["smooth"] - codes["white"]).max() > 0.02
    # A volume thinner than a patch will do as well.
    thin = write(tmp_path / "thin.mrc", white[:5])
    assert np.isfinite(encode_tomogram(thin, model, "bright")).all()


def test_measured_noise_is_added_to_the_structure(tmp_path, measured):
    volume = density()
    source = write(tmp_path / "grand.mrc", volume)
    made = [tmp_path / f"{n}.mrc" for n in range(2)]
    for number, path in enumerate(made, 1):
        simulate(source, path, measured, number)
    first, second = map(read, made)
    bare = make_model()
    with torch.no_grad():
        values = (volume - np.float32(MEAN)) / np.float32(DEVIATION)
        padded = np.pad(values, [(32, 43), (32, 32), (32, 34)], mode="symmetric")
        structure = bare.structural_generator(torch.from_numpy(padded)[None, None])[0, 0]
    structure = structure.numpy()[32:53, 32:72, 32:102]
    inside = np.abs(first) < 1.45
    inside &= np.abs(second) < 1.45
    noise = (first - second)[inside] / np.sqrt(2)
    assert noise.std() == pytest.approx(0.34, rel=0.15)  # 0.5 / sqrt(2), and what is cut
    assert np.abs(first).max() <= 1.5 and not np.array_equal(first, second)
    middle = (slice(6, -6),) * 3
    mean = np.clip(structure, -1.5, 1.5)[middle].ravel()
    assert np.corrcoef(mean, ((first + second) / 2)[middle].ravel())[0, 1] > 0.6
    spectrum = np.abs(np.fft.rfft(first - second, axis=2)) ** 2
    assert spectrum[..., 25:].mean() < 0.25 * spectrum[..., 2:14].mean()


def test_measured_noise_has_the_same_bytes_whatever_the_tile(tmp_path, measured, small_tiles):
    source = write(tmp_path / "grand.mrc", density(LONG))
    results = []
    for number, options in enumerate(({}, {"tile": 40}, {"tile": 200})):
        threads = torch.get_num_threads()
        torch.set_num_threads(1 + number)
        try:
            path = tmp_path / f"{number}.mrc"
            report = simulate(source, path, measured, **options)
        finally:
            torch.set_num_threads(threads)
        results.append(path.read_bytes()[1024:])
    assert report.tiles > 1
    assert results[0] == results[1] == results[2]


def test_noise_from_a_tomogram_is_as_strong_as_its_own(tmp_path, measured):
    random = np.random.default_rng(0)
    faint, strong = (
        profile_of_tomogram(
            write(tmp_path / f"{factor}.mrc", np.float32(blurred)), measured, "bright"
        )
        for factor in (1, 4)
        for blurred in [density((24, 48, 48)) * 3 / factor + random.standard_normal((24, 48, 48))]
    )
    assert strong.variance > 1.3 * faint.variance and strong.structure < faint.structure
    assert profile_of_tomogram(tmp_path / "1.mrc", make_model(), "bright") is None
