"""MRC files that are damaged, or whose voxel size is missing or nonsense."""

from __future__ import annotations

import bz2
import gzip
import logging
import os

import numpy as np
import pytest
from crafted_mrc import craft, one_line, values

from dual_core.errors import DualError
from dual_core.volumes.reading import open_volume

# --- voxel size -------------------------------------------------------------------------------


def test_anisotropic_voxel_size_is_an_error_with_a_hint(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(60, 70, 51))
    with pytest.raises(DualError, match="--voxel-size") as error:
        open_volume(path)
    assert "10.2" in one_line(error)
    assert open_volume(path, voxel_size_A=10).voxel_size_A == 10
    assert open_volume(path, require_voxel_size=False).voxel_size_A == 10


def test_one_per_cent_of_anisotropy_is_rounding(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(60, 70, 50.4))
    assert open_volume(path).voxel_size_A == 10


@pytest.mark.parametrize(
    "fields",
    [
        {"cella": (0, 0, 0)},
        {"cella": (60, 70, 0)},
        {"cella": (-60, -70, -50)},
        {"cella": (np.nan, np.nan, np.nan)},
        {"mx": 0, "my": 0, "mz": 0},
    ],
)
def test_missing_voxel_size(tmp_path, fields):
    path = craft(tmp_path / "a.mrc", values("f4"), **fields)
    with pytest.raises(DualError, match="give --voxel-size"):
        open_volume(path)
    assert open_volume(path, voxel_size_A=7.5).voxel_size_A == 7.5
    assert open_volume(path, require_voxel_size=False).facts.header_voxel_size_A[2] == 0


def test_one_angstrom_is_a_warning(tmp_path, caplog):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(6, 7, 5))
    with caplog.at_level(logging.WARNING):
        assert open_volume(path).voxel_size_A == 1
    assert "1.0 A" in caplog.text
    caplog.clear()
    open_volume(path, voxel_size_A=10)
    assert not caplog.records


def test_volume_saved_as_image_stack(tmp_path):
    for name, cell in [("per section", 10.0), ("over all", 50.0)]:
        path = craft(tmp_path / name, values("f4"), mz=1, ispg=0, cella=(60, 70, cell))
        assert open_volume(path).voxel_size_A == 10


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf])
def test_nonsense_voxel_size_is_refused(tmp_path, size):
    with pytest.raises(DualError, match="voxel size"):
        open_volume(craft(tmp_path / "a.mrc", values("f4")), voxel_size_A=size)


# --- bad input --------------------------------------------------------------------------------


def bad_files(folder):
    data = values("f4")
    whole = craft(folder / "whole", data).read_bytes()
    (folder / "gzip").write_bytes(gzip.compress(whole))
    (folder / "bzip2").write_bytes(bz2.compress(whole))
    (folder / "empty").write_bytes(b"")
    (folder / "truncated").write_bytes(whole[:-1])
    (folder / "truncated_in_extended_header").write_bytes(
        craft(folder / "x", data, extended=b"z" * 5000).read_bytes()[:2000]
    )
    (folder / "short").write_bytes(whole[:500])
    (folder / "text").write_bytes(b"this is not a volume, it is some text \n" * 100)
    (folder / "random").write_bytes(np.random.default_rng(3).bytes(9000))
    (folder / "zeros").write_bytes(bytes(9000))
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nothing")
    craft(folder / "image", values("f4", (1, 7, 6)))
    craft(folder / "stack", data, ispg=401, mz=1)
    for mode in (3, 4, 16, 101, 77):
        craft(folder / f"mode{mode}", data, mode=mode)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "no such file"),
        ("dangling", "no such file"),
        ("folder", "is a folder"),
        ("pipe", "not a regular file"),
        ("empty", "empty"),
        ("gzip", "gunzip"),
        ("bzip2", "bunzip2"),
        ("truncated", "truncated"),
        ("truncated_in_extended_header", "truncated"),
        ("short", "not an MRC"),
        ("text", "not an MRC"),
        ("random", "not an MRC"),
        ("zeros", "not an MRC"),
        ("image", "2D image"),
        ("stack", "several volumes"),
        ("mode3", "complex"),
        ("mode4", "complex"),
        ("mode16", "RGB"),
        ("mode101", "4-bit"),
        ("mode77", "mode 77"),
    ],
)
def test_bad_files_give_one_clear_line(tmp_path, name, says):
    bad_files(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DualError, match=says) as error:
        open_volume(tmp_path / name)
    assert name in one_line(error)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_permission(tmp_path, monkeypatch):
    path = craft(tmp_path / "a.mrc", values("f4"))

    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    # The rights of the file itself mean nothing to an administrator, who may run the tests.
    monkeypatch.setattr("dual_core.volumes.reading.os.open", refuse)
    with pytest.raises(DualError, match="no permission"):
        open_volume(path)


def test_file_that_shrinks_while_open(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"))
    volume = open_volume(path)
    os.truncate(path, 1100)
    with pytest.raises(DualError, match="shorter"):
        volume.load()


@pytest.mark.parametrize(
    "fields",
    [
        {"map": b"\0\0\0\0", "machst": (0, 0, 0, 0)},
        {"machst": (0x11, 0x11, 0, 0)},
        {"mapc": 0, "mapr": 0, "maps": 0},
        {"origin": (np.nan, np.inf, 0)},
        {"nsymbt": -5},
    ],
)
def test_harmless_defects_of_the_header_are_forgiven(tmp_path, fields):
    data = values("i2")
    volume = open_volume(craft(tmp_path / "a.mrc", data, **fields))
    np.testing.assert_array_equal(volume.load(), data.astype(np.float32))
    assert volume.facts.origin_A == (0, 0, 0)
