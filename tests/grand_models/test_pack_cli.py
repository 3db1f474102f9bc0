"""`dual pack` from the outside: files written, errors on one line."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import yaml

from dual_core.cli.main import main
from dual_core.grand_models.molecules import molecule_list
from dual_core.grand_models.molecules.phantoms import PHANTOMS
from dual_core.volumes.reading import open_volume

QUICK = ["--shape", "32", "40", "40", "--molecules", "antibody_150", "cube_480", "--number", "2",
         "--only-molecules"]


def test_pack_writes_everything_and_says_what_it_did(tmp_path):
    output = tmp_path / "cells"
    assert main(["pack", *QUICK, "--output", str(output), "--count", "2", "--gold", "1",
                 "--gold-diameter", "5", "--seed", "3", "--quiet"]) == 0
    expected = {f"{name}_{n}.{suffix}" for n in (0, 1) for name, suffix in (
        ("grand_model", "mrc"), ("class_mask", "mrc"), ("instance_mask", "mrc"),
        ("particles", "csv"), ("particles", "star"), ("pack", "yaml"))}
    assert {path.name for path in output.iterdir()} == expected | {"pack.yaml"}
    density, classes, instances = (open_volume(output / f"{name}_1.mrc") for name in (
        "grand_model", "class_mask", "instance_mask"))
    assert [one.facts.dtype.kind + str(one.facts.dtype.itemsize) for one in (
        density, classes, instances)] == ["f4", "i1", "u2"]
    assert {one.voxel_size_A for one in (density, classes, instances)} == {10.0}
    assert density.shape == (32, 40, 40)
    with open(output / "particles_1.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["name"] for row in rows) == [
        "antibody_150", "antibody_150", "cube_480", "cube_480", "gold"]
    assert instances.load().max() == len(rows)
    record = yaml.safe_load((output / "pack_1.yaml").read_text(encoding="utf-8"))
    share = np.isin(classes.load(), (1, 2)).mean()
    assert record["occupancy_reached"] == pytest.approx(share, abs=1e-4)
    assert record["classes"]["gold"] == 4 and "dalton" in record["density_unit"]
    assert "ZYZ" in record["euler_angles"]


@pytest.mark.parametrize("options", [QUICK, QUICK[:-1] + ["--shape", "40", "80", "80"]],
                         ids=["molecules", "cell"])
def test_the_dumped_options_make_the_same_bytes_again(tmp_path, options):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["pack", *options, "--output", str(first), "--seed", "9", "-q"]) == 0
    assert main(["pack", "--config", str(first / "pack.yaml"), "--output", str(second), "-q"]) == 0
    for name in ("grand_model_0.mrc", "instance_mask_0.mrc"):
        # The header holds the time of writing.
        assert (first / name).read_bytes()[1024:] == (second / name).read_bytes()[1024:]
    for name in ("particles_0.csv", "particles_0.star", "pack_0.yaml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("options, complaint", [
    (["--molecules", "nowhere.pdb"], "no such file"),
    (["--molecules", "ribosomme"], "built-in molecules are"),
    (["--molecules", "shell_4000", "--shape", "20", "20", "20"], "larger than the sample"),
    (["--molecules", "cube_480", "--shape", "24", "24", "24", "--occupancy", "0.95"],
     "was not reached"),
    (["--occupancy", "1.5"], "occupancy"),
    (["--gap", "-3"], "--gap"),
    (["--crowd", "-3"], "the crowd"),
    (["--crowd", "5000"], "the crowd"),
])
def test_errors_are_one_line_and_status_2(tmp_path, capsys, options, complaint):
    assert main(["pack", *options, "--output", str(tmp_path / "out"), "-q"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("dual: error: ")
    assert complaint in error[0]
    assert not list(tmp_path.iterdir())


def test_built_in_molecules_that_do_not_fit_are_left_out(tmp_path, capsys, monkeypatch):
    few = ("antibody_150", "cube_480", "shell_4000")
    monkeypatch.setattr(molecule_list, "PHANTOMS", {name: PHANTOMS[name] for name in few})
    small = ["pack", "--shape", "24", "32", "32", "--output", str(tmp_path / "out")]
    assert main([*small, "--occupancy", "0.02"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "shell_4000" in warnings[0] and "--molecules" in warnings[0]
    assert "antibody_150" not in warnings[0]
    record = yaml.safe_load((tmp_path / "out" / "pack_0.yaml").read_text(encoding="utf-8"))
    assert [one["name"] for one in record["molecules"]] == ["antibody_150", "cube_480"]
    # One that was asked for is not left out in silence, and where nothing fits nothing is made.
    for options in (["--molecules", "shell_4000"], ["--shape", "10", "10", "10"]):
        assert main([*small, *options, "--output", str(tmp_path / "none"), "-q"]) == 2
        assert "larger than the sample" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("options, names", [
    ([], {"antibody_150", "membrane", "microtubule", "actin", "crowd"}),
    (["--only-molecules"], {"antibody_150"}),
    (["--only-molecules", "--actin", "2"], {"antibody_150", "actin"}),
    (["--sheets", "0", "--vesicles", "0", "--crowd", "0"],
     {"antibody_150", "microtubule", "actin"}),
])
def test_options_say_what_there_is_and_molecules_restrict_molecules_alone(
        tmp_path, options, names):
    assert main(["pack", "--shape", "40", "96", "96", "--molecules", "antibody_150", "--number",
                 "3", *options, "--output", str(tmp_path), "-q"]) == 0
    with open(tmp_path / "particles_0.csv", encoding="utf-8", newline="") as file:
        placed = [row["name"] for row in csv.DictReader(file)]
    assert set(placed) == names
    if "--actin" in options:
        assert placed.count("actin") == 2
    record = yaml.safe_load((tmp_path / "pack_0.yaml").read_text(encoding="utf-8"))
    assert record["crowd_mg_per_ml"] == pytest.approx(40.0 if "crowd" in names else 0.0, rel=0.05)


def test_what_a_thin_sample_has_no_room_for_is_said_once(tmp_path, capsys):
    assert main(["pack", "--shape", "40", "140", "140", "--thickness", "20", "--molecules",
                 "dimer_100", "--number", "1", "--crowd", "0", "--count", "2", "--output",
                 str(tmp_path)]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "too thin" in line]
    assert len(told) == 2 and "no vesicles" in told[0] and "no microtubules" in told[1]


def test_help_names_every_key_of_a_list_of_molecules(capsys):
    with pytest.raises(SystemExit):
        main(["pack", "--help"])
    text = capsys.readouterr().out.split("keys of a molecule")[1]
    assert set(molecule_list._KEYS) <= set(text.replace(",", " ").split())
