"""Padding and hot voxels through the tasks: blank stays blank, and the rest is as without them."""

from __future__ import annotations

import types

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")

from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner  # noqa: E402
from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram  # noqa: E402
from dual_core.training.config import preset_config  # noqa: E402
from dual_core.training.data import open_training_data  # noqa: E402
from dual_core.volumes.reading import open_volume, write_volume  # noqa: E402

SHAPE = (24, 64, 56)
FILLS = (0.0, 300.0, -5000.0)
INSIDE = (slice(None), slice(4, 56), slice(12, 52))
# Beyond it nothing of the smoothing below is seen.
REACH = 2


class Smooth(torch.nn.Module):
    """A 'trained' denoiser: a local mean, in units of its own."""

    def forward(self, volume):
        padded = torch.nn.functional.pad(volume, (1,) * 6, mode="replicate")
        return 3 * torch.nn.functional.avg_pool3d(padded, 3, stride=1) + 0.5


def specimen(seed=0):
    random = np.random.default_rng(seed)
    points = np.zeros(SHAPE)
    points[tuple(random.integers(0, length, 40) for length in SHAPE)] = 1
    density = ndimage.gaussian_filter(points, 1.5) * 60
    return (100 - 7 * (density + random.normal(size=SHAPE))).astype(np.float32)


def blank():
    where = np.ones(SHAPE, bool)
    where[INSIDE] = False
    return where


def padded(fill):
    return np.where(blank(), np.float32(fill), specimen())


def fake(voxel_size_A=10.0, task="denoise+simulate"):
    card = ModelCard(voxel_size_A, "bright", {}, task=task, tilt_range_deg=(-60, 60))
    return types.SimpleNamespace(denoiser=Smooth(), multiple=4, receptive_radius=1, card=card)


def denoised(folder, array, model=None, **options):
    model = model or fake()
    source = folder / "t.mrc"
    write_volume(source, array, 10.0)
    runner = make_runner(model, "cpu", "float32")
    report = denoise_tomogram(
        source, folder / "d.mrc", model.card, runner, DenoiseOptions(**options)
    )
    return open_volume(folder / "d.mrc").load(), report


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("voxel_size_A", [10.0, 13.0])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_blank_stays_blank(tmp_path, fill, voxel_size_A, strength):
    result, report = denoised(tmp_path, padded(fill), fake(voxel_size_A), strength=strength)
    assert report.contrast == "dark"
    assert report.blank_share == pytest.approx(blank().mean())
    np.testing.assert_array_equal(result[blank()], np.float32(fill))
    assert np.unique(result[INSIDE]).size > 0.9 * result[INSIDE].size


@pytest.mark.parametrize("fill", FILLS)
def test_the_inside_does_not_depend_on_the_filling(tmp_path, fill):
    result, _ = denoised(tmp_path, padded(fill))
    other, _ = denoised(tmp_path, padded(77.0))
    np.testing.assert_allclose(result[INSIDE], other[INSIDE], rtol=1e-5)
    # And it is what the specimen gives without any padding, away from the edge.
    whole, _ = denoised(tmp_path, specimen())
    core = ~ndimage.binary_dilation(blank(), iterations=REACH)
    assert np.abs(result - whole)[core].max() < 0.1 * whole[core].std()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"units": "standardised"}, 0.0),
        ({"output_contrast": "as-model"}, -300.0),
        ({"strength": 0.0}, 300.0),
    ],
)
def test_blank_in_other_units(tmp_path, options, expected):
    result, _ = denoised(tmp_path, padded(300.0), **options)
    np.testing.assert_array_equal(result[blank()], np.float32(expected))


def test_a_hot_voxel_changes_its_neighbourhood_alone(tmp_path):
    before, _ = denoised(tmp_path, specimen())
    array = specimen()
    array[12, 30, 30] = -1e5
    after, _ = denoised(tmp_path, array)
    far = np.ones(SHAPE, bool)
    far[10:15, 28:33, 28:33] = False
    assert np.abs(after - before)[far].max() < 0.02 * before.std()
    assert np.abs(after - before).max() < 10 * specimen().std()


@pytest.mark.parametrize("tilt_axis", ["y", "x"])
def test_compensation_keeps_blank_too(tmp_path, tilt_axis):
    results = {}
    for fill in (-200.0, 77.0):
        model = fake(task="missing-wedge")
        write_volume(tmp_path / "t.mrc", padded(fill), 10.0)
        compensate_tomogram(
            tmp_path / "t.mrc", tmp_path / "c.mrc", model.card,
            make_runner(model, "cpu", "float32"),
            CompensateOptions(tilt_range=(-60, 60), tilt_axis=tilt_axis, contrast="dark"),
        )
        results[fill] = open_volume(tmp_path / "c.mrc").load()
        np.testing.assert_array_equal(results[fill][blank()], np.float32(fill))
    # Nothing of the step at the edge, forty deviations, is found in the specimen.
    one, other = results.values()
    np.testing.assert_allclose(one[INSIDE], other[INSIDE], atol=1e-2)


def test_training_knows_the_blank_parts_and_the_card_names_them(tmp_path):
    config = preset_config("quick", patch=24, tilt_range_deg=(-60.0, 60.0))
    points = (np.random.default_rng(1).random(SHAPE) > 0.999).astype(float)
    density = ndimage.gaussian_filter(points, 1.5)
    clean = tmp_path / "v.mrc"
    write_volume(clean, density.astype(np.float32), 10.0)
    sources = []
    for name, array in (("plain", specimen()), ("padded", padded(-5000.0))):
        array[12, 30, 30] = 1e6
        sources.append(tmp_path / f"{name}.mrc")
        write_volume(sources[-1], array, 10.0)
    noisy = open_training_data(sources, [clean], config).noisy
    assert noisy.contrast == "dark"
    one, other = noisy.facts
    assert one["blank_share"] == 0
    assert other["blank_share"] == pytest.approx(blank().mean(), abs=1e-4)
    assert other["mean"] == pytest.approx(one["mean"], abs=0.5)
    assert other["deviation"] == pytest.approx(one["deviation"], rel=0.05)
    patches = noisy.patches.draw(200, np.random.default_rng(0))
    assert np.abs(patches).max() <= 10
    assert (patches == 0).mean(axis=(1, 2, 3, 4)).max() <= 0.1
