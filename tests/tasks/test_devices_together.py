"""Several devices share the tiles of a tomogram, and the bytes are those of one device."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.devices import choose_devices  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.tasks.simulation import noisy_tiles  # noqa: E402
from dual_core.tiles.plan import plan_for_side  # noqa: E402
from dual_core.tiles.replicas import Replica  # noqa: E402
from dual_core.tiles.runner import NetworkRunner  # noqa: E402
from dual_core.tiles.stream import stream_tiled  # noqa: E402
from dual_core.volumes.reading import write_volume  # noqa: E402

SHAPE = (24, 80, 75)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tomogram of noise and a small model whose networks do something."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    write_volume(folder / "t.mrc", random.normal(size=SHAPE).astype(np.float32), 10.0)
    torch.manual_seed(1)
    config = NetworkConfig(
        channels=(3, 4), noise_channels=(2, 3), code_size=4, noise_side=8,
        discriminator_channels=(2, 2), output_filter=True,
    )
    card = ModelCard(10.0, "bright", plain_config(config), tilt_range_deg=(-60.0, 60.0))
    DualModel(config, card).save(folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    "command, more",
    [
        ("denoise", ["--contrast", "bright", "--tile", "48"]),
        ("simulate", ["--contrast", "bright", "--standardise", "own"]),
        ("compensate", ["--contrast", "bright", "--tile", "48"]),
    ],
)
def test_two_devices_give_the_bytes_of_one(folder, tmp_path, monkeypatch, command, more):
    monkeypatch.setattr(noisy_tiles, "TILE_BYTES", 40**3 * 28.8)
    at_work = set()
    compute = Replica.__call__

    def noted(replica, tile):
        at_work.add(id(replica))
        return compute(replica, tile)

    monkeypatch.setattr(Replica, "__call__", noted)
    found = []
    for devices in ("cpu", "cpu,cpu"):
        at_work.clear()
        output = tmp_path / devices
        status = main(
            [command, "--model", str(folder / "model.safetensors"), str(folder / "t.mrc"),
             "--output", str(output), "--device", devices, "--precision", "float32", *more]
        )
        assert status == 0
        assert len(at_work) == len(devices.split(","))
        volumes = sorted(output.glob("*.mrc"))
        assert len(volumes) == 1
        found.append(volumes[0].read_bytes())
    assert found[0] == found[1]


def test_as_many_tiles_at_a_time_as_there_are_devices():
    """Two threads meet in the function; rows come in order, each voxel once, an error gets out."""
    meeting = threading.Barrier(2, timeout=60)
    plan = plan_for_side((16, 16, 64), 16, 0, 1, inside=True)
    volume = np.random.default_rng(0).normal(size=plan.shape).astype(np.float32)

    def read(start, size):
        return volume[tuple(slice(a, a + n) for a, n in zip(start, size))]

    def double(tile):
        meeting.wait()
        return 2 * tile

    assert len(plan) % 2 == 0
    result = np.zeros_like(volume)
    tiles = 0
    for start, source, block, count in stream_tiled(read, plan, double, 16**3, side_by_side=2):
        place = tuple(slice(a, a + n) for a, n in zip(start, block.shape))
        assert np.array_equal(source, volume[place]) and not result[place].any()
        result[place] = block
        tiles += count
    assert np.array_equal(result, 2 * volume) and tiles == len(plan)

    def fails(tile):
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError):
        list(stream_tiled(read, plan, fails, side_by_side=2))


def test_all_devices_shrink_together(folder):
    model = DualModel.load(folder / "model.safetensors")
    runner = NetworkRunner(model.denoiser, 4, 20, "cpu,cpu", "float32", tile=96)
    assert "devices cpu" in runner.describe() and runner.side_by_side == 2
    runner.shrink()
    assert runner.side == 48


def test_devices_that_do_not_go_together_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_devices("cuda:0, cuda:1") == [torch.device("cuda", 0), torch.device("cuda", 1)]
    for names, message in (
        ("cuda:0,cpu", "two kinds"),
        ("cuda:1,cuda:1", "twice"),
        ("cuda:0,cuda:2", "is not there"),
        ("cpu,", "unknown"),
    ):
        with pytest.raises(DualError, match=message):
            choose_devices(names)
