"""What killed runs left goes, and a second run in a folder is refused at once."""

from __future__ import annotations

import os

import numpy as np
import pytest
from other_process import kill, python

from dual_core.errors import DualError
from dual_core.safety import leftovers
from dual_core.safety.leftovers import (
    owner_is_gone,
    remove_leftovers,
    temporary_folder,
    temporary_name,
)
from dual_core.safety.locks import LOCK, folder_lock
from dual_core.volumes.reading import write_volume


@pytest.fixture()
def forgetful(monkeypatch):
    """As a process that has not looked into any folder yet."""
    monkeypatch.setattr(leftovers, "_swept", set())
    return leftovers._swept


# Temporary files ----------------------------------------------------------------------------

LEAVE = """
from dual_core.safety.leftovers import temporary_name
from dual_core.volumes.writer import VolumeWriter
target = Path(sys.argv[1])
writer = VolumeWriter(target, (4, 8, 8), 10.0); writer.__enter__()
folder = temporary_name(target); folder.mkdir(); (folder / "fill").write_text("x")
print("there", flush=True); time.sleep(60)
"""


def test_what_a_killed_run_left_goes_and_what_a_living_one_has_stays(tmp_path, forgetful):
    target = tmp_path / "t.mrc"
    process = python(LEAVE, str(target))
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    before = sorted(os.listdir(tmp_path))
    assert len(before) == 2
    own = temporary_name(target)  # looks for leftovers: these are not
    own.write_text("mine")
    assert set(before) <= set(os.listdir(tmp_path))
    kill(process)
    forgetful.clear()
    others = [".t.mrc.1234.part", ".dual-zz.part", "dual.part", ".hidden"]
    for name in others:
        (tmp_path / name).write_text("somebody's")
    write_volume(target, np.zeros((2, 2, 2), np.float32), 10.0)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, own.name, "t.mrc"])


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path, forgetful):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    dead = python("from dual_core.safety.leftovers import temporary_name\n"
                  "os.symlink('precious', temporary_name(Path(sys.argv[1])))", str(tmp_path / "a"))
    dead.communicate(timeout=30)
    forgetful.clear()
    assert remove_leftovers(tmp_path) == 1
    assert os.listdir(tmp_path) == ["precious"]
    assert (tmp_path / "precious" / "data").exists()


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    name = temporary_name(tmp_path / "a").name
    assert owner_is_gone(name) is False
    machine, boot, process, began, rest = name.split("-", 1)[1].split("-", 4)
    assert owner_is_gone(f".dual-{machine}-{boot}-{process}-{int(began) + 1}-{rest}") is True
    assert owner_is_gone(f".dual-{machine}-00000000-{process}-{began}-{rest}") is True
    assert owner_is_gone(f".dual-00000000-{boot}-{process}-{began}-{rest}") is None
    assert owner_is_gone(f".dual-{machine}-{boot}-{2**70}-{began}-{rest}") is True
    assert owner_is_gone(f".{name}") is None


def test_a_temporary_folder_goes_after_an_error(tmp_path):
    with pytest.raises(KeyError), temporary_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("x")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".mrc")
    write_volume(path, np.zeros((2, 2, 2), np.float32), 10.0)
    assert path.exists()


# One training a folder ----------------------------------------------------------------------

HOLD = """
from dual_core.safety.locks import folder_lock
with folder_lock(Path(sys.argv[1]), "a training"):
    print("held", flush=True); time.sleep(60)
"""


def test_a_second_run_is_refused_at_once_and_a_dead_one_holds_nothing(tmp_path):
    first = python(HOLD, str(tmp_path))
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(DualError, match=f"process {first.pid} ") as caught, folder_lock(
        tmp_path, "a training"
    ):
        pytest.fail("two in one folder")
    assert "\n" not in str(caught.value)
    kill(first)
    with folder_lock(tmp_path, "a training"), folder_lock(tmp_path, "a training"):
        assert (tmp_path / LOCK).exists()
    assert os.listdir(tmp_path) == []


def test_many_that_want_one_folder_have_it_one_after_another(tmp_path):
    code = """
from dual_core.errors import DualError
from dual_core.safety.locks import folder_lock
folder, done = Path(sys.argv[1]), 0
while done < 20:
    try:
        with folder_lock(folder, "a test"):
            os.mkdir(folder / "inside"); os.rmdir(folder / "inside"); done += 1
    except DualError:
        pass
"""
    processes = [python(code, str(tmp_path)) for _ in range(3)]
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    assert os.listdir(tmp_path) == []
