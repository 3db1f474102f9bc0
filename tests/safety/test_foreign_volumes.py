"""Volumes as they come: bytes without a sign, places in the cell, more files than descriptors."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config
from dual_core.safety import open_files
from dual_core.volumes.byte_volumes import as_mask
from dual_core.volumes.header import HEADER_BYTES
from dual_core.volumes.reading import (
    VolumeWriter,
    open_volume,
    warn_of_orientation,
    write_volume,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def with_header(path: Path, **fields) -> Path:
    """Change fields of a written header; offsets as in MRC2014."""
    places = {"nxstart": (16, "i4"), "nystart": (20, "i4"), "nzstart": (24, "i4"),
              "mapc": (64, "i4"), "mapr": (68, "i4"), "maps": (72, "i4"), "dmin": (76, "f4"),
              "dmax": (80, "f4"), "nsymbt": (92, "i4"), "stamp": (152, "i4"), "flags": (156, "i4"),
              "cellz": (48, "f4")}
    raw = bytearray(path.read_bytes())
    for name, value in fields.items():
        place, kind = places[name]
        raw[place : place + 4] = np.array(value, kind).tobytes()
    path.write_bytes(bytes(raw))
    return path


def byte_volume(path: Path, values: np.ndarray, **fields) -> Path:
    """A volume of mode 0 whose bytes are those of ``values``."""
    write_volume(path, values.astype(np.uint8).view(np.int8), 10.0, dtype=np.int8)
    return with_header(path, **{"dmin": 0.0, "dmax": 0.0, **fields})


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("spread", [3.0, 20.0, 40.0])
def test_the_data_show_what_bytes_are_where_the_header_does_not(tmp_path, caplog, signed, spread):
    caplog.set_level("INFO", "dual_core")
    random = np.random.default_rng(3)
    centre = 0 if signed else 128
    low, high = centre - 128, centre + 127
    values = np.clip(np.rint(random.normal(centre, spread, (8, 40, 40))), low, high)
    path = byte_volume(tmp_path / "t.mrc", values.astype(np.int16))
    assert np.array_equal(open_volume(path).load(), values)
    assert ("as signed" if signed else "as unsigned") in caplog.text
    # What the header says counts.
    path = byte_volume(tmp_path / "t.mrc", values.astype(np.int16), dmin=-128.0, dmax=127.0)
    assert open_volume(path).load().min() < 0 or not signed


def test_bytes_that_both_readings_agree_on_stay_as_they_are(tmp_path):
    values = np.arange(8 * 8 * 8).reshape(8, 8, 8) % 2
    assert np.array_equal(open_volume(byte_volume(tmp_path / "m.mrc", values)).load(), values)


def test_a_mask_of_signed_bytes_is_a_mask(tmp_path):
    values = np.zeros((4, 8, 8), np.int16)
    values[1:3, 2:5, 2:5] = 1
    path = tmp_path / "m.mrc"
    write_volume(path, (values - 128).astype(np.float32), 10.0, dtype=np.int8)
    with_header(path, stamp=1146047817, flags=1)
    mask = as_mask(open_volume(path))
    assert np.array_equal(mask.load(), values)
    plain = open_volume(byte_volume(tmp_path / "p.mrc", values))
    assert as_mask(plain) is plain


@pytest.mark.parametrize("command", ["volumes", "halves", "halves with a model"])
def test_every_mask_of_signed_bytes_is_a_mask(tmp_path, capsys, untrained, command):
    random = np.random.default_rng(0)
    truth = (random.random((16, 32, 32)) > 0.97).astype(np.float32)
    for name in ("a", "b"):
        noise = random.standard_normal(truth.shape).astype(np.float32)
        write_volume(tmp_path / f"{name}.mrc", truth * 9 + noise, 10.0)
    write_volume(tmp_path / "g.mrc", truth, 10.0)
    values = np.zeros(truth.shape, np.int8)
    values[4:12, 8:24, 8:24] = 1
    write_volume(tmp_path / "plain.mrc", values, 10.0, dtype=np.int8)
    write_volume(tmp_path / "imod.mrc", values - 128, 10.0, dtype=np.int8)
    two = [str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc"), "--contrast", "bright"]
    words = {
        "volumes": ["volumes", two[0], "--truth", str(tmp_path / "g.mrc")],
        "halves": ["halves", *two],
        "halves with a model": ["halves", *two, "--model", str(untrained), "--device", "cpu"],
    }[command]
    told = []
    for mask in ("plain", "imod"):
        assert main(["evaluate", *words, "--mask", str(tmp_path / f"{mask}.mrc")]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and told[0]


def test_place_in_the_cell_is_read_in_space_and_written_again(tmp_path):
    path = tmp_path / "t.mrc"
    with VolumeWriter(path, (2, 3, 4), 10.0, start=(5, -6, 7)) as writer:
        writer.write((0, 0, 0), np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    assert open_volume(path).facts.start == (5, -6, 7)
    # Columns along z, rows along y, sections along x.
    with_header(path, mapc=3, mapr=2, maps=1)
    assert open_volume(path).facts.start == (7, -6, 5)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A model that works at 10 A, of random weights."""
    network = NetworkConfig((4, 6), noise_channels=(4, 4), code_size=4, noise_side=16,
                            discriminator_channels=(4, 6))
    card = ModelCard(10.0, "bright", plain_config(network), tilt_range_deg=(-60.0, 60.0))
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    torch.manual_seed(0)
    DualModel(network, card).save(path)
    return path


GRID_KEEPING = {
    "project": ["--tilt-range", "-60", "60", "20"],
    "project, halves": ["--halves", "--tilt-range", "-60", "60", "20"],
    "denoise": [],
    "denoise, nothing removed": ["--strength", "0"],
    "denoise, tilt axis x": ["--tilt-axis", "x"],
    "denoise, explained": ["--explained"],
    "denoise, keep measured": ["--keep-measured", "yes"],
    "simulate": ["--seed", "1"],
    "translate, to clean": ["--direction", "to-clean"],
    "translate, to noisy": ["--direction", "to-noisy"],
    "compensate": [],
    "compensate, tilt axis x": ["--tilt-axis", "x"],
}


@pytest.mark.parametrize("voxel_size_A", [10.0, 13.0])  # the model's, and one that is resampled
@pytest.mark.parametrize("case", GRID_KEEPING)
def test_commands_that_keep_the_grid_keep_both_places(tmp_path, untrained, case, voxel_size_A):
    random = np.random.default_rng(0)
    grand = (random.random((16, 32, 24)) > 0.97).astype(np.float32)
    source = tmp_path / "g.mrc"
    write_volume(source, grand, voxel_size_A, (1.0, 2.0, 3.0), start=(4, -5, 6))
    command = case.split(",")[0]
    words = [command, str(source), "--output", str(tmp_path / "o"), "-q", *GRID_KEEPING[case]]
    if command != "project":
        words += ["--model", str(untrained), "--device", "cpu", "--contrast", "bright"]
    assert main(words) == 0
    results = sorted((tmp_path / "o").glob("*.mrc"))
    assert results
    for path in results:
        found = open_volume(path)
        assert found.shape == grand.shape
        assert (found.facts.origin_A, found.facts.start) == ((1.0, 2.0, 3.0), (4, -5, 6))
        assert found.voxel_size_A == pytest.approx(voxel_size_A)


def test_an_extended_header_that_is_not_there_costs_nothing(tmp_path, caplog):
    values = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    path = tmp_path / "t.mrc"
    write_volume(path, values, 10.0)
    with_header(path, nsymbt=4096)
    assert np.array_equal(open_volume(path).load(), values)
    assert "not in the file" in caplog.text
    with open(path, "r+b") as file:
        file.truncate(HEADER_BYTES + 100)
    with pytest.raises(DualError, match="truncated"):
        open_volume(path)


def test_info_tells_of_three_voxel_sizes_and_halves_of_one_file(tmp_path, capsys):
    path = tmp_path / "t.mrc"
    write_volume(path, np.random.default_rng(0).normal(size=(8, 16, 16)).astype(np.float32), 10.0)
    (tmp_path / "same.mrc").write_bytes(path.read_bytes())
    assert main(["evaluate", "halves", str(path), str(tmp_path / "same.mrc")]) == 2
    assert "the same values" in capsys.readouterr().err
    with_header(path, cellz=120.0)
    assert main(["info", str(path)]) == 0
    assert "10 x 10 x 15" in capsys.readouterr().out


# Many files ---------------------------------------------------------------------------------


@pytest.fixture()
def many(tmp_path):
    for number in range(80):
        write_volume(tmp_path / f"{number}.mrc", np.full((2, 2, 2), number, np.float32), 10.0)
    return [tmp_path / f"{number}.mrc" for number in range(80)]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts in /proc")
def test_many_volumes_take_few_descriptors_and_give_them_back(many):
    gc.collect()
    before = open_descriptors()
    volumes = [open_volume(path) for path in many]
    for _ in range(2):
        assert [volume.load().max() for volume in volumes] == list(range(80))
        assert open_descriptors() - before <= open_files.MOST_OPEN
    del volumes
    gc.collect()
    assert open_descriptors() <= before
    assert not [one for one in open_files._POOL.idle.values() if one.number < 0]


def test_many_threads_read_what_they_asked_for(many):
    volumes = [open_volume(path) for path in many]
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for number in random.integers(0, 80, 300):
            if volumes[number].load().min() != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_that_was_replaced_while_it_was_closed_is_not_read(many):
    volumes = [open_volume(path) for path in many]
    write_volume(many[0], np.full((2, 2, 2), 7, np.float32), 10.0)
    many[1].unlink()
    for volume, told in ((volumes[0], "was changed"), (volumes[1], "cannot be read")):
        with pytest.raises(DualError, match=told):
            volume.load()


def test_project_does_80_files_with_64_descriptors(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for number in range(80):
        paths.append(str(tmp_path / f"g{number}.mrc"))
        write_volume(paths[-1], random.normal(size=(4, 16, 16)).astype(np.float32), 10.0)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(
        [sys.executable, "-m", "dual_core", "project", *paths, "--output", str(tmp_path / "o"),
         "--tilt-range", "-60", "60", "30"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, preexec_fn=limit, capture_output=True,
        text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "o").glob("*.mrc"))) == 80


@pytest.mark.parametrize(("shape", "told"), [((64, 20, 64), "y"), ((64, 64, 20), "x"),
                                             ((20, 64, 64), ""), ((48, 32, 64), "")])
def test_a_tomogram_that_lies_wrongly_is_told(tmp_path, caplog, shape, told):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_volume(tmp_path / "t.mrc", volume, 10.0)
    warn_of_orientation(open_volume(tmp_path / "t.mrc"))
    assert (f"thinnest along {told}," in caplog.text) == bool(told)
