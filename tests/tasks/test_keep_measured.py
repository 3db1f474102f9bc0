"""What was measured beyond its noise stays in the result, found without a truth, without seams."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.networks.card import ModelCard
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.explained import ExplainedVolume
from dual_core.tasks import keep_measured
from dual_core.tasks.keep_measured import KeptFilter, is_wanted, kept_array, write_kept
from dual_core.tasks.measured_shares import EDGES, Shares, find_shares
from dual_core.volumes.reading import ArrayVolume, open_volume

SHAPE = (64, 70, 66)
SHELLS = len(EDGES) - 1


def model(noise: float = 1.0, transfer: float = 1.0) -> LinearModel:
    grid = np.ones((32, 32, 17), dtype=np.float32)
    return LinearModel(transfer * grid, noise * grid, (), "file", grid.copy())


def blob(sigma: float = 4.0) -> np.ndarray:
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[25, 35, 30] = 1.0
    volume = gaussian_filter(volume, sigma)
    return 6.0 * volume / volume.max()


def texture(sigma: float = 4.0, seed: int = 5) -> np.ndarray:
    """Structure everywhere, coarser than about 2 pi sigma voxels."""
    white = np.random.default_rng(seed).standard_normal(SHAPE)
    volume = gaussian_filter(white, sigma, mode="wrap")
    return (2.0 * volume / volume.std()).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def shares_of(
    tomogram: np.ndarray, network: Callable[[np.ndarray], np.ndarray], linear: LinearModel
) -> np.ndarray:
    read = ArrayVolume(tomogram, 10.0).read
    return np.array(find_shares(read, SHAPE, network, linear, multiple=4).values)


def kept(
    tomogram: np.ndarray, density: np.ndarray, shares: np.ndarray, linear: LinearModel, path: Path
) -> np.ndarray:
    write_kept(
        ArrayVolume(tomogram, 10.0).read, ArrayVolume(density, 10.0),
        KeptFilter(Shares(tuple(shares)), linear), path,
    )
    return open_volume(path).load()


def test_noise_has_no_share() -> None:
    assert shares_of(noise(), np.zeros_like, model()).max() < 0.15


def test_a_network_that_knows_the_structure_is_left_alone() -> None:
    truth = texture()
    place = {"start": (0, 0, 0)}

    def read(start: tuple, size: tuple) -> np.ndarray:
        place["start"] = start
        return ArrayVolume(truth + noise(), 10.0).read(start, size)

    def knowing(block: np.ndarray) -> np.ndarray:
        return ArrayVolume(truth, 10.0).read(place["start"], block.shape)

    found = find_shares(read, SHAPE, knowing, model(), multiple=4)
    assert not found.any


@pytest.mark.parametrize("transfer", [1.0, -0.5])
def test_what_the_network_drops_comes_back_as_density(transfer: float, tmp_path: Path) -> None:
    linear = model(transfer=transfer)
    tomogram = transfer * texture() + noise()
    found = shares_of(tomogram, np.zeros_like, linear)
    assert found[0] > 0.9  # coarse: nearly all of it is structure
    assert found[-1] < 0.1  # fine: noise alone
    result = kept(tomogram, np.zeros(SHAPE, np.float32), found, linear, tmp_path / "kept.mrc")
    assert np.corrcoef(result.ravel(), texture().ravel())[0, 1] > 0.9
    slope = np.vdot(result, texture()) / np.vdot(texture(), texture())
    assert 0.7 < slope < 1.1


def test_only_the_shells_that_are_missing_come_back() -> None:
    fine = texture(1.6, seed=6)
    whole = (texture() + fine).astype(np.float32)
    at = {"start": (0, 0, 0)}

    def read(start: tuple, size: tuple) -> np.ndarray:
        at["start"] = start
        return ArrayVolume(whole + noise(), 10.0).read(start, size)

    def knows_the_fine(block: np.ndarray) -> np.ndarray:
        return ArrayVolume(fine, 10.0).read(at["start"], block.shape)

    found = find_shares(read, SHAPE, knows_the_fine, model(), multiple=4).values
    assert found[0] > 0.8
    assert max(found[5:]) < 0.1  # finer than 7 voxels


def test_parts_leave_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = np.linspace(0.9, 0.0, SHELLS)
    tomogram, density = texture() + noise(), texture(2.0)
    whole = kept(tomogram, density, shares, model(), tmp_path / "whole.mrc")
    monkeypatch.setattr(keep_measured, "CORE", 30)
    parts = kept(tomogram, density, shares, model(), tmp_path / "parts.mrc")
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_inside_the_missing_wedge_the_density_stays(tmp_path: Path) -> None:
    linear = model()
    assert linear.measured is not None
    linear.measured[6:27] = 0.0  # nothing fine along the beam
    shares = np.full(SHELLS, 0.8)
    density = texture(1.5)
    result = kept(np.zeros(SHAPE, np.float32), density, shares, linear, tmp_path / "kept.mrc")
    window = np.ones(SHAPE)
    for axis, length in enumerate(SHAPE):
        window *= np.hanning(length).reshape([-1 if a == axis else 1 for a in range(3)])
    before, after = (np.abs(np.fft.fftn(part * window)) ** 2 for part in (density, result))
    # Along z and along y, about the axes.
    missing, measured = np.s_[18:47, :4, :4], np.s_[:4, 18:52, :4]
    assert after[missing].sum() == pytest.approx(before[missing].sum(), rel=0.1)
    assert after[measured].sum() < 0.3 * before[measured].sum()


def test_a_volume_with_no_room_for_a_block_is_left_alone() -> None:
    read = ArrayVolume(noise()[:3], 10.0).read
    assert not find_shares(read, (3, 70, 66), np.zeros_like, model(), multiple=8).any


def test_the_same_tomogram_gives_the_same_shares() -> None:
    first, second = (shares_of(texture() + noise(), np.zeros_like, model()) for _ in range(2))
    assert (first == second).all()


def test_an_array_is_treated_as_a_file(tmp_path: Path) -> None:
    tomogram, density = texture() + noise(), np.zeros(SHAPE, np.float32)
    found = shares_of(tomogram, np.zeros_like, model())
    wanted = kept(tomogram, density, found, model(), tmp_path / "kept.mrc")
    result = kept_array(tomogram, density, np.zeros_like, model(), 4)
    np.testing.assert_allclose(result, wanted, atol=1e-6)
    thin = noise()[:3]
    assert np.array_equal(kept_array(thin, thin, np.zeros_like, model(), 8), thin)


@pytest.mark.parametrize(
    "likeness, foreign",
    [(None, False), (1.0, False), (2.2, False), (0.8, False), (4.0, True), (0.2, True)],
)
def test_auto_goes_by_the_likeness_of_the_domains(likeness: float, foreign: bool) -> None:
    card = ModelCard(10.0, "bright", {}, likeness=likeness)
    assert is_wanted("auto", card) is foreign
    assert is_wanted("yes", card) and not is_wanted("no", card)


@pytest.mark.parametrize("axis", ["y", "x"])
def test_explained_is_the_density_through_the_transfer(axis: str) -> None:
    density = blob(1.0)
    linear = model(transfer=0.5)
    linear.transfer[:, 8:25] = 0.0  # nothing fine along the tilt axis
    turned = density.swapaxes(1, 2) if axis == "x" else density
    volume = ArrayVolume(np.ascontiguousarray(turned), 10.0)
    tomogram = ArrayVolume(3.0 * volume.load() + 5.0, 10.0)
    found = ExplainedVolume(volume, tomogram, linear, 10.0, axis)
    whole = found.load()
    np.testing.assert_allclose(whole.mean(), tomogram.load().mean(), rtol=1e-3)
    part = found.read((10, 20, 15), (9, 20, 30))
    np.testing.assert_allclose(part, whole[10:19, 20:40, 15:45], atol=0.05 * whole.std())
    spectrum = np.abs(np.fft.fftn(whole - whole.mean()))
    fine_y = spectrum.take(20, axis=1 if axis == "y" else 2)
    fine_other = spectrum.take(20, axis=2 if axis == "y" else 1)
    assert fine_y.sum() < fine_other.sum()
