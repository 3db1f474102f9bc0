"""Equation 1 over tiles: no seams, the same bytes always, and tiles that fit the memory."""

import math

import numpy as np
import pytest
from small_simulation import LONG, density, make_model, read, simulate, whole_pass, write

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.tasks.simulate import simulate_tomogram  # noqa: E402
from dual_core.tasks.simulation import noisy_tiles  # noqa: E402
from dual_core.tasks.simulation.density_map import open_density  # noqa: E402
from dual_core.tasks.simulation.noise_codes import Noise, content_hash, draw_noise  # noqa: E402
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner, canonical_voxels  # noqa: E402
from dual_core.volumes.reading import ArrayVolume  # noqa: E402


def test_tiles_are_one_pass_over_the_whole_volume(tmp_path, model, small_tiles):
    volume = density(LONG)
    source = write(tmp_path / "g.mrc", volume)
    radius = model.structural_generator.receptive_radius
    noise = draw_noise(4, 0, content_hash(ArrayVolume(volume, 1.0)), 1)
    expected = whole_pass(model, volume, noise)
    assert expected.std() > 0.3
    for halo, tolerance in ((radius, 1e-5), (None, 2e-3)):
        report = simulate(source, tmp_path / "s.mrc", model, halo=halo)
        assert report.tiles > 1
        difference = abs(read(tmp_path / "s.mrc") - expected)
        assert difference.max() < tolerance * expected.std()
    # Without context it would show.
    simulate(source, tmp_path / "s.mrc", model, halo=0)
    assert abs(read(tmp_path / "s.mrc") - expected).max() > 0.05 * expected.std()


def test_the_same_bytes_whatever_threads_and_tile(tmp_path, model, small_tiles):
    source = write(tmp_path / "g.mrc", density(LONG))
    before = torch.get_num_threads()
    found = set()
    beside = []
    original = noisy_tiles.SimulationRunner.workers

    def watched(self, plan, threads):
        beside.append(original(self, plan, threads))
        return beside[-1]

    noisy_tiles.SimulationRunner.workers = watched
    try:
        for threads, tile in ((1, None), (2, None), (3, None), (2, 8), (2, 1000)):
            torch.set_num_threads(threads)
            simulate(source, tmp_path / "s.mrc", model, tile=tile)
            assert torch.get_num_threads() == threads
            found.add(read(tmp_path / "s.mrc").tobytes())
    finally:
        torch.set_num_threads(before)
        noisy_tiles.SimulationRunner.workers = original
    assert beside == [1, 2, 3, 1, 2]
    assert len(found) == 1


def test_tiles_are_those_of_the_model(model):
    most = canonical_voxels((24, 48, 96), 2)
    assert 224**3 < most < 288**3
    one, other = (
        SimulationRunner(model, "cpu", tile=tile, memory=memory, precision=precision)
        for tile, memory, precision in ((None, None, "float32"), (500, 0.5, "bfloat16"))
    )
    plan = one.plan((100, 2000, 3000))
    assert plan == other.plan((100, 2000, 3000)) and len(plan) > 1
    assert math.prod(plan.input_shape) <= canonical_voxels((3, 4), 2)


def test_running_out_of_memory_takes_fewer_and_then_smaller_tiles(
        tmp_path, model, small_tiles, monkeypatch, caplog):
    source = write(tmp_path / "g.mrc", density())
    simulate(source, tmp_path / "fits.mrc", model)
    calls = []
    plain = SimulationRunner.__call__

    def hungry(self, tile):
        calls.append(tile.shape)
        if len(calls) < 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, tile)

    monkeypatch.setattr(SimulationRunner, "__call__", hungry)
    threads = torch.get_num_threads()
    simulate(source, tmp_path / "s.mrc", model)
    assert torch.get_num_threads() == threads
    assert (tmp_path / "s.mrc").read_bytes() == (tmp_path / "fits.mrc").read_bytes()
    assert "rounding" not in caplog.text

    def starved(self, tile):
        raise MemoryError

    monkeypatch.setattr(SimulationRunner, "__call__", starved)
    with pytest.raises(DualError, match="out of memory"):
        simulate(source, tmp_path / "no.mrc", model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fits.mrc", "g.mrc", "s.mrc"]


class Blur(torch.nn.Module):
    """A generator that puts out the mean of 5 x 5 x 5 voxels."""

    multiple, receptive_radius = 2, 2

    def forward(self, volume):
        return torch.nn.functional.avg_pool3d(volume, 5, stride=1, padding=2)


def test_noise_is_as_strong_at_the_border_as_inside(tmp_path):
    """Mirrored noise would agree with itself across the border and make it stronger."""
    model = make_model()
    model.structural_generator = Blur()
    source = write(tmp_path / "g.mrc", density((30, 34, 38)))
    opened = open_density(source, model.card, "bright")
    runner = SimulationRunner(model, "cpu", "float32", halo=2)
    noise = []
    for seed in range(8):
        # The same code for all: only the permutation differs.
        given = Noise(np.ones(4, np.float32), seed)
        simulate_tomogram(opened, tmp_path / "s.mrc", model, runner, given)
        noise.append(read(tmp_path / "s.mrc"))
    variance = np.var(noise, axis=0, ddof=1)
    inside = variance[5:-5, 5:-5, 5:-5].mean()
    assert inside > 0
    for axis in range(3):
        for face in (0, -1):
            assert variance.take(face, axis).mean() == pytest.approx(inside, rel=0.2)
