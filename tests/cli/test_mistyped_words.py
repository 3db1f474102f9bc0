"""What a newcomer types: wrong options, commands and numbers are told what was meant."""

import argparse

import pytest
from probe_command import make_command

from dual_core.cli import common
from dual_core.cli import main as cli


def test_numbers():
    assert common.positive_float("2.5") == 2.5 and common.non_negative_int("0") == 0
    for kind, text in ((common.positive_float, "inf"), (common.non_negative_int, "-1")):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


@pytest.mark.parametrize("nested", [False, True])
def test_a_mistyped_option_is_named_before_all_else(monkeypatch, capsys, nested):
    make_command(monkeypatch, nested=nested)
    what = ["deep"] if nested else []
    # --name is required and missing, because it is mistyped.
    for typed, meant in (("--nmae", "--name"), ("--fast_mode", "--fast-mode")):
        assert cli.main(["probe", *what, "a", f"{typed}=x"]) == 2
        error = capsys.readouterr().err
        assert f"no option '{typed}' (did you mean '{meant}'?)" in error and error.count("\n") == 1
    assert cli.main(["probe", *what, "a", "--xyzzy"]) == 2
    error = capsys.readouterr().err
    assert "'--xyzzy'" in error and "did you mean" not in error


def test_values_are_not_taken_for_options(monkeypatch):
    seen = make_command(monkeypatch)
    arguments = ["-vq", "--range", "-60", "-.5", "--name=--odd", "--", "--file"]
    assert cli.main(["probe", *arguments]) == 0
    assert seen[-1].range == [-60.0, -0.5] and seen[-1].files == ["--file"]
    assert seen[-1].name == "--odd" and seen[-1].verbose and seen[-1].quiet


def test_mistyped_commands_and_settings_are_told_what_was_meant(monkeypatch, capsys, tmp_path):
    make_command(monkeypatch)
    assert cli.main(["denose"]) == 2
    assert "did you mean 'denoise'?" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("numbr: 3\n")
    assert cli.main(["probe", "a", "--name", "n", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "did you mean 'number'?" in capsys.readouterr().err


@pytest.mark.parametrize("given", [("1", "2"), ("1", "2", "3")])
def test_two_or_three_values(monkeypatch, capsys, tmp_path, given):
    seen = make_command(monkeypatch)
    assert cli.main(["probe", "a", "--angles", *given, "--name", "n"]) == 0
    assert seen[-1].angles == [float(value) for value in given]
    common.dump_options(seen[-1], tmp_path / "c.yaml")
    assert cli.main(["probe", "--config", str(tmp_path / "c.yaml")]) == 0
    assert seen[-1].angles == [float(value) for value in given]
    assert cli.main(["probe", "a", "--name", "n", "--angles", "1"]) == 2
    error = capsys.readouterr().err
    assert "2 or 3 values, MIN MAX STEP" in error and error.count("\n") == 1
