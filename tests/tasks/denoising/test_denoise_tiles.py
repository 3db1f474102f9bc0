"""Tiles: a denoised volume has no seams, and runs that lack memory take smaller tiles."""

import math
import types

import numpy as np
import pytest
from local_mean import Hungry, denoise, fake_model, phantom, read, unpadded_pass, write

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.networks import devices  # noqa: E402
from dual_core.networks.generators import UNet  # noqa: E402
from dual_core.tasks.denoise import make_runner  # noqa: E402
from dual_core.tiles import runner as runner_module  # noqa: E402
from dual_core.tiles.runner import choose_halo  # noqa: E402
from dual_core.tiles.stream import run_tiled  # noqa: E402


def run_in_memory(runner, volume):
    """The tiles of a runner, put together."""
    output = np.full(volume.shape, np.nan, np.float32)

    def put(start, array):
        output[tuple(slice(a, a + n) for a, n in zip(start, array.shape))] = array

    def get(start, size):
        return volume[tuple(slice(a, a + n) for a, n in zip(start, size))]

    run_tiled(get, put, runner.plan(volume.shape), runner)
    return output


@pytest.mark.parametrize(
    "channels, shape, tile",
    [
        ((2, 3), (19, 67, 23), 40),
        ((2, 3), (1, 50, 17), 32),
        ((2, 3), (3, 4, 35), 26),
        ((2, 2, 2), (3, 5, 120), 76),
    ],
)
def test_tiled_equals_a_whole_volume_pass(channels, shape, tile):
    """As a patch of training is passed: the convolutions alone say what lies beyond a face."""
    torch.manual_seed(0)
    network = UNet(channels)
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    model = fake_model(network, network.receptive_radius, network.multiple)
    halo = network.receptive_radius
    runner = make_runner(model, device="cpu", precision="float32", tile=tile, halo=halo)
    assert len(runner.plan(shape)) > 1
    whole = unpadded_pass(network, volume, network.multiple)
    assert abs(run_in_memory(runner, volume) - whole).max() <= 1e-4 * whole.std()


@pytest.mark.parametrize("stem_stride, side", [(1, 76), (2, 152)])
def test_chosen_halo_is_within_a_thousandth(stem_stride, side):
    """What the choice of the halo rests on: it is shorter than the receptive radius."""
    torch.manual_seed(0)
    network = UNet((4, 6, 8), stem_stride)
    model = fake_model(network, network.receptive_radius, network.multiple)
    volume = np.random.default_rng(1).normal(size=(2, 3, 300)).astype(np.float32)
    runner = make_runner(model, device="cpu", precision="float32", tile=side)
    assert runner.halo < network.receptive_radius and len(runner.plan(volume.shape)) > 1
    whole = unpadded_pass(network, volume, network.multiple)
    assert abs(run_in_memory(runner, volume) - whole).max() <= 1e-3 * whole.std()


def test_choice_of_the_halo(caplog):
    assert choose_halo(29, 144, 4) == 24
    assert choose_halo(61, 192, 8) == 48
    assert choose_halo(1, 144, 4) == 4
    for side in range(8, 300, 4):
        assert 2 * choose_halo(61, side, 4) + 4 <= side
    model = fake_model(radius=29)
    make_runner(model, device="cpu").plan((300, 300, 300))
    assert not caplog.records
    make_runner(model, device="cpu", tile=48).plan((300, 300, 300))
    assert "halo of 16 voxels is short" in caplog.text


def test_tile_without_room_for_the_halo_is_refused():
    with pytest.raises(DualError, match="at least 36"):
        make_runner(fake_model(radius=16), device="cpu", tile=32, halo=16)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:", "cuda:x", ""])
def test_device_that_is_not_there_is_an_error(name):
    with pytest.raises(DualError, match="device"):
        devices.choose_device(name)


def test_cuda_asked_for_and_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose_device("auto").type == "cpu"
    with pytest.raises(DualError, match="cuda"):
        devices.choose_device("cuda")


def test_precision_is_checked_and_bfloat16_close():
    with pytest.raises(DualError, match="precision"):
        make_runner(fake_model(), device="cpu", precision="half")
    torch.manual_seed(0)
    model = fake_model(UNet((4, 6)), 10, 2)
    tile = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    exact = make_runner(model, "cpu", "float32")(tile)
    fast = make_runner(model, "cpu", "bfloat16")(tile)
    assert fast.dtype == np.float32 and fast.shape == tile.shape
    assert np.sqrt(np.mean((fast - exact) ** 2)) < 0.02 * exact.std()


def test_out_of_memory_halves_the_tile_and_says_so(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 200)))
    denoise(source, tmp_path / "small.mrc", tile=32)
    hungry = Hungry()
    denoise(source, tmp_path / "o.mrc", fake_model(hungry), tile=128)
    assert hungry.sides[0] > 64 and hungry.sides[-1] <= 32
    assert sum("out of memory" in r.getMessage() for r in caplog.records) == 2
    np.testing.assert_allclose(read(tmp_path / "o.mrc"), read(tmp_path / "small.mrc"), rtol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mrc", "small.mrc", "t.mrc"]


def test_out_of_memory_halves_tiles_that_the_memory_chose(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 200)))
    denoise(source, tmp_path / "small.mrc", tile=32)
    hungry = Hungry()
    denoise(source, tmp_path / "o.mrc", fake_model(hungry))
    assert hungry.sides[0] == 200 and hungry.sides[-1] <= 40
    np.testing.assert_allclose(read(tmp_path / "o.mrc"), read(tmp_path / "small.mrc"), rtol=1e-5)


def test_too_little_memory_is_said(caplog):
    make_runner(fake_model(radius=29), device="cpu", memory=0.01).plan((300, 300, 300))
    assert "too little" in caplog.text


def test_out_of_memory_with_the_smallest_tile_is_an_error(tmp_path):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 100)))
    with pytest.raises(DualError, match="out of memory"):
        denoise(source, tmp_path / "o.mrc", fake_model(Hungry()), tile=60)
    # Another error of the network is not taken for it.
    with pytest.raises(RuntimeError, match="shapes"):
        denoise(source, tmp_path / "o.mrc", fake_model(Hungry("shapes differ")), tile=60)
    assert [p.name for p in tmp_path.iterdir()] == ["t.mrc"]


def test_cuda_tile_is_chosen_from_free_memory(monkeypatch):
    runner = make_runner(fake_model(), device="cpu", tile=32)
    runner.device = types.SimpleNamespace(type="cuda")
    monkeypatch.setattr(type(runner), "__call__", lambda self, tile: tile)
    for name, function in {
        "memory_allocated": lambda d: 0,
        "reset_peak_memory_stats": lambda d: None,
        "max_memory_allocated": lambda d: 64**3 * 1000,
        "empty_cache": lambda: None,
        "mem_get_info": lambda d: (2 * 2**30, 8 * 2**30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    runner.side = None
    most = math.prod(runner.plan((1000, 1000, 1000)).input_shape)
    assert 0.5 * 2**31 < 1000 * most < 0.75 * 2**31
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: (2**40, 2**40))
    assert math.prod(runner.plan((1000, 1000, 1000)).input_shape) <= runner_module.CUDA_MOST_VOXELS
