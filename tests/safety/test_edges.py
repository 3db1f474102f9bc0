"""Numbers at the edge, strange files and names: one line, soon, and without taking the memory."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.figures import slices_figure
from dual_core.grand_models.config import PackConfig
from dual_core.grand_models.molecules.sources import MoleculeSpec
from dual_core.particles import read_particles, write_csv, write_star
from dual_core.safety.limits import VOXEL_SIZE_A, check_voxels, within
from dual_core.volumes.reading import ArrayVolume, open_volume, write_volume
from dual_core.volumes.resampling import ResampledVolume

ABSURD = ["0", "-1", "nan", "inf", "1e-308", "1e-30", "0.001", "1e4", "1e6", "1e30", "1e309", "x"]


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("edges") / "t.mrc"
    values = np.random.default_rng(0).normal(size=(16, 32, 32)).astype(np.float32)
    write_volume(path, values, 10.0)
    return path


def refused(capsys, *arguments: str) -> str:
    started = time.monotonic()
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr().err.splitlines()
    assert time.monotonic() - started < 60  # not a hang, whatever else runs
    assert status == 2, told
    assert not [line for line in told if "unexpected" in line or "Warning" in line]
    assert len(told[-1]) < 600
    return told[-1]


@pytest.mark.parametrize("size", ABSURD)
@pytest.mark.parametrize("command", ["pick", "info", "project", "pack", "train"])
def test_absurd_voxel_sizes_are_refused_by_every_command(tomogram, tmp_path, capsys, command, size):
    given = {
        "pick": ["pick", tomogram, "--diameter", "100"], "info": ["info", tomogram],
        "project": ["project", tomogram], "pack": ["pack", "--shape", "16", "16", "16"],
        "train": ["train", "--noisy", tomogram, "--clean", tomogram],
    }[command]
    output = [] if command == "info" else ["--output", tmp_path / "o"]
    told = refused(capsys, *given, *output, "--voxel-size", size)
    assert "voxel" in told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("size", [1e-30, 0.001, 1e4, 1e6, 1e30])
def test_absurd_voxel_sizes_in_headers_are_refused(tmp_path, size):
    path = tmp_path / "t.mrc"
    write_volume(path, np.zeros((4, 4, 4), np.float32), 10.0)
    raw = bytearray(path.read_bytes())
    raw[40:52] = np.full(3, size * 4, "f4").tobytes()
    path.write_bytes(bytes(raw))
    with pytest.raises(DualError, match="voxel size"):
        open_volume(path)


def test_voxels_that_have_nothing_in_common_are_not_resampled():
    coarse = ArrayVolume(np.zeros((64, 64, 64), np.float32), 1000.0)
    with pytest.raises(DualError, match="too far"):
        ResampledVolume(coarse, 10.0)


@pytest.mark.parametrize(
    "options",
    [["--diameter", "1e20"], ["--sigma", "1e9"], ["--sigma", "2147483648"], ["--diameter", "nan"],
     ["--diameter", "100", "--number", str(2**80)], ["--diameter", "1e8"]],
    ids=str,
)
def test_absurd_sizes_of_particles_are_refused(tomogram, tmp_path, capsys, options):
    refused(capsys, "pick", tomogram, "--output", tmp_path / "o", *options)


@pytest.mark.parametrize(
    "changes",
    [{"gap_A": 1e20}, {"gold_diameter_nm": 2.0**31, "gold": 1}, {"resolution_A": 1e20},
     {"shape": (2**20, 2**20, 2**20)}, {"vesicle_radius_nm": (6.0, 1e20), "vesicles": 1},
     {"gold": 2**40}, {"number": 2**40}, {"number": 0},
     {"molecules": (MoleculeSpec("barrel_960", abundance=0.0),)},
     {"molecules": (MoleculeSpec("barrel_960", copies=0),)}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_packing_that_makes_no_sense_is_refused_before_anything_is_made(changes):
    molecules = (MoleculeSpec("barrel_960"),)
    with pytest.raises(DualError):
        PackConfig(**{"molecules": molecules, **changes})


def test_sizes_are_refused_by_arithmetic_and_with_fitting_advice():
    with pytest.raises(DualError, match="give less; ") as caught:
        check_voxels((1e6, 1e6, float("inf")), "a thing", "give less; ")
    assert "tiles" not in str(caught.value)
    assert within(10.0, VOXEL_SIZE_A, "it") == 10.0
    for value in (float("nan"), True, "10", 10**400):
        with pytest.raises(DualError):
            within(value, VOXEL_SIZE_A, "it")  # type: ignore[arg-type]


# Particle lists -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1e30", "1e308", "-1e90", "inf", "nan", "?", "", "1e999", "0x1"])
@pytest.mark.parametrize("kind", ["csv", "star"])
def test_absurd_positions_are_refused(tmp_path, kind, value):
    path = tmp_path / f"p.{kind}"
    if kind == "csv":
        path.write_text(f"z_voxel,y_voxel,x_voxel\n1,2,{value}\n")
    else:
        names = "".join(f"_rlnCoordinate{axis}\n" for axis in "ZYX")
        path.write_text(f"data_\nloop_\n{names}1 2 {value}\n")
    with pytest.raises(DualError, match="p\\."):
        read_particles(path)


def test_a_csv_field_of_200000_characters_is_one_line(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("z_voxel,y_voxel,x_voxel\n1,2," + "9" * 200_000 + "\n")
    with pytest.raises(DualError) as caught:
        read_particles(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["a b", "a\nb", "a\tb", "a'b", 'a"b', "#a", "", "\udcff\x1b"])
def test_any_name_makes_a_star_file_that_can_be_read(tmp_path, name):
    path = tmp_path / "p.star"
    voxels = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    write_star(path, name, voxels, 10.0, (8, 16, 32))
    assert np.array_equal(read_particles(path).voxels, voxels)


def test_quoted_names_and_centred_positions_are_read(tmp_path):
    path = tmp_path / "p.star"
    path.write_text(
        "data_particles\nloop_\n_rlnTomoName #1\n_rlnCenteredCoordinateXAngst #2\n"
        "_rlnCenteredCoordinateYAngst #3\n_rlnCenteredCoordinateZAngst #4\n"
        "'a tomogram # 1' 10 -20 30 # a comment\n\"it's\" 1 2 3\n"
    )
    with pytest.raises(DualError, match="several tomograms"):
        read_particles(path, (8, 16, 32), 10.0)
    path.write_text(path.read_text().replace("\"it's\"", "'a tomogram # 1'"))
    with pytest.raises(DualError, match="--tomogram"):
        read_particles(path)
    found = read_particles(path, (8, 16, 32), 10.0)
    assert found.columns["rlnTomoName"] == ["a tomogram # 1"] * 2
    assert np.allclose(found.voxels[0], [4 + 3, 8 - 2, 16 + 1])
    assert np.allclose(found.positions_A()[0], [70, 60, 170])


def test_positions_that_repeat_do_not_take_the_memory(tmp_path, capsys):
    path = tmp_path / "p.csv"
    write_csv(path, {name: ["1"] * 100_000 for name in ("z_A", "y_A", "x_A")})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = refused(capsys, "evaluate", "picks", path, "--truth", path, "--tolerance", "10")
    assert "repeat" in told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


# Strange files and names --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["loop", "pipe", "folder"])
@pytest.mark.parametrize("suffix", ["mrc", "safetensors", "yaml", "csv", "star", "pdb", "cif"])
def test_what_is_no_file_is_refused_at_once(tomogram, tmp_path, capsys, kind, suffix):
    path = tmp_path / f"x.{suffix}"
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    output = ["--output", tmp_path / "o"]
    refused(capsys, *{
        "mrc": ["project", path, *output],
        "safetensors": ["denoise", tomogram, "--model", path, *output],
        "yaml": ["info", tomogram, "--config", path],
        "csv": ["evaluate", "picks", path, "--truth", path, "--tolerance", "9"],
        "star": ["evaluate", "picks", path, "--truth", path, "--tolerance", "9"],
        "pdb": ["pack", "--shape", "16", "16", "16", "--molecules", path, *output],
        "cif": ["pack", "--shape", "16", "16", "16", "--molecules", path, *output],
    }[suffix])


@pytest.mark.parametrize("largest", [3e38, 1e25])
def test_values_beyond_reckoning_are_refused_without_warnings(tmp_path, capsys, largest):
    values = np.random.default_rng(0).normal(size=(8, 16, 16)).astype(np.float32)
    values[2, 3, 4] = largest
    write_volume(tmp_path / "t.mrc", values, 10.0)
    refused(capsys, "info", tmp_path / "t.mrc")


NAMES = [b"a$\\bad{$b", b"a\nb", b"a\tb", b"\xff\xfe", b"a\x1b[31mb", "a\u202eb".encode(), b"$x^2$",
         b"x" * 230, b"-dash", b"<b>&'\"", b"%s %d"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
def test_any_name_goes_through_pick_and_evaluate(tomogram, tmp_path, capsys, name):
    path = tmp_path / os.fsdecode(name + b".mrc")
    path.write_bytes(tomogram.read_bytes())
    out = tmp_path / "o"
    assert main(["pick", str(path), "--diameter", "60", "--number", "5", "--output", str(out),
                 "--contrast", "dark"]) == 0
    stars = list(out.glob("*.star"))
    assert len(stars) == 1 and len(read_particles(stars[0])) == 5
    assert main(["evaluate", "volumes", str(path), "--truth", str(tomogram), "--output",
                 str(tmp_path / "e")]) == 0
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert "\x1b" not in text and "\u202e" not in text
        text.encode()


def test_labels_of_figures_are_drawn_as_they_are_written(tmp_path):
    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    slices_figure({"a$\\bad{$b": volume}, tmp_path / "f.png", 10.0)
    assert (tmp_path / "f.png").exists()


@pytest.mark.parametrize("length", [400, 5000])
def test_a_name_that_no_file_can_have_is_not_told_at_full_length(tmp_path, capsys, length):
    pack = ["pack", "--shape", "16", "16", "16", "--voxel-size", "20", "--output", str(tmp_path)]
    assert main([*pack, "--molecules", "9" * length]) == 2
    told = capsys.readouterr().err
    assert len(told) < 600 and told.count("\n") == 1
