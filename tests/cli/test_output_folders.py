"""Folders for results: made when needed, gone when empty, refused in one line."""

import os

import pytest

from dual_core.cli import common
from dual_core.cli import main as cli
from dual_core.errors import DualError


def test_output_folder_stays_only_with_something_in_it(tmp_path):
    with pytest.raises(KeyError), common.output_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), common.output_folder(tmp_path / "a" / "b") as folder:
        (folder / "result").touch()
        raise KeyError
    assert (tmp_path / "a" / "b" / "result").exists()
    # What was there before is never taken away, empty or not.
    (tmp_path / "c").mkdir()
    with pytest.raises(KeyError), common.output_folder(tmp_path / "c"):
        raise KeyError
    assert (tmp_path / "c").exists()


def test_unusable_output_folders_are_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DualError, match=f"{path}.*--output"), common.output_folder(path):
            pass
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DualError, match="no permission"), common.output_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        ["pack", "--shape", "16", "16", "16", "--molecules", "antibody_150"],
        ["project", "volume.mrc"],
        ["train", "--noisy", "volume.mrc", "--clean", "volume.mrc"],
        ["denoise", "volume.mrc", "--model", "model.safetensors"],
        ["evaluate", "volumes", "volume.mrc", "--truth", "volume.mrc"],
    ],
)
def test_an_output_that_is_a_file_is_one_line(monkeypatch, tmp_path, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_text("mine")
    assert cli.main([*arguments, "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dual: error: out") and error.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"
