"""A disk that is full while a small file is written: one line, and nothing is left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from dual_core.errors import DualError
from dual_core.particles import write_csv, write_star, write_text
from dual_core.tasks.batch import BatchRecord, BatchSummary, plan_jobs
from dual_core.tasks.shards import Shard, ShardStatus


def status(folder: Path) -> None:
    jobs = plan_jobs([folder.parent / "t.mrc"], folder, "_denoised")
    record = BatchRecord(folder / "denoise.jsonl", {})
    summary = BatchSummary(failed={folder.parent / "t.mrc": "no space"})
    ShardStatus(record, Shard(1, 2), jobs).write(summary)


WRITERS = {
    "text": lambda folder: write_text(folder / "a.txt", "words"),
    "CSV": lambda folder: write_csv(folder / "a.csv", {"x_voxel": [1.0]}),
    "STAR": lambda folder: write_star(folder / "a.star", "t", [[1.0, 2.0, 3.0]], 10.0, (8, 8, 8)),
    "status of a shard": status,
}


@pytest.mark.parametrize("step", ["write_text", "replace"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name, step):
    folder = tmp_path / "out"
    folder.mkdir()
    WRITERS[name](folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 1

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "replace":
        monkeypatch.setattr("os.replace", full)
    else:
        def half(path, *_, **__):
            with open(path, "w") as stream:
                stream.write("ha")
            full()

        monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(DualError, match="free disk space"):
        WRITERS[name](folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
