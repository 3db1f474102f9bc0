"""``dual project``: files, names, headers and messages."""

import numpy as np
import pytest
import yaml

from dual_core.cli.main import main
from dual_core.volumes.reading import open_volume
from dual_core.volumes.writer import write_volume

SHAPE = (12, 18, 20)
ORIGIN = (30.0, -20.0, 10.0)


@pytest.fixture
def grand_model(tmp_path):
    """A grand model with a few boxes, as a file."""
    return write_grand_model(tmp_path / "cell.mrc", seed=0)


def write_grand_model(path, seed):
    rng = np.random.default_rng(seed)
    volume = np.zeros(SHAPE, np.float32)
    for z, y, x in rng.integers(0, (8, 14, 16), (6, 3)):
        volume[z : z + 4, y : y + 4, x : x + 4] += 100.0
    write_volume(path, volume, 8.5, ORIGIN)
    return path


def project(*arguments):
    return main(["project", *map(str, arguments), "--quiet"])


def load(path):
    return open_volume(path).load()


def test_tomogram_has_the_grid_of_the_grand_model(grand_model, tmp_path):
    output = tmp_path / "out"
    assert project(grand_model, "--output", output) == 0
    assert sorted(p.name for p in output.iterdir()) == ["cell_tomogram.mrc", "project.yaml"]
    facts = open_volume(output / "cell_tomogram.mrc").facts
    assert facts.shape == SHAPE
    assert facts.voxel_size_A == pytest.approx(8.5)
    assert facts.origin_A == pytest.approx(ORIGIN)
    assert facts.dtype == np.float32


def test_halves_average_to_the_tomogram_and_do_not_change_it(grand_model, tmp_path):
    assert project(grand_model, "--output", tmp_path / "one") == 0
    assert project(grand_model, "--output", tmp_path / "two", "--halves") == 0
    full = load(tmp_path / "two" / "cell_tomogram.mrc")
    odd = load(tmp_path / "two" / "cell_tomogram_odd.mrc")
    even = load(tmp_path / "two" / "cell_tomogram_even.mrc")
    np.testing.assert_allclose((odd + even) / 2, full, atol=1e-3 * full.std())
    np.testing.assert_array_equal(load(tmp_path / "one" / "cell_tomogram.mrc"), full)


def test_noise_follows_seed_and_content_but_not_name_and_order(grand_model, tmp_path):
    copy, other = tmp_path / "copy.mrc", write_grand_model(tmp_path / "other.mrc", seed=1)
    copy.write_bytes(grand_model.read_bytes())
    assert project(grand_model, "--output", tmp_path / "a", "--seed", 3) == 0
    assert project(other, copy, "--output", tmp_path / "b", "--seed", 3) == 0
    assert project(grand_model, "--output", tmp_path / "c", "--seed", 4) == 0
    first = load(tmp_path / "a" / "cell_tomogram.mrc")
    np.testing.assert_array_equal(load(tmp_path / "b" / "copy_tomogram.mrc"), first)
    assert not np.array_equal(load(tmp_path / "c" / "cell_tomogram.mrc"), first)


def test_two_cells_do_not_share_their_noise(grand_model, tmp_path):
    other = write_grand_model(tmp_path / "other.mrc", seed=1)
    assert project(grand_model, other, "--output", tmp_path / "o", "--snr", 0.001) == 0
    one, two = (load(tmp_path / "o" / f"{name}_tomogram.mrc") for name in ("cell", "other"))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.2


def test_options_reach_the_simulator_and_are_dumped(grand_model, tmp_path):
    options = ["--tilt-range", "-50", "70", "5", "--defocus", "2.5", "--defocus-spread", "0",
               "--voltage", "200", "--cs", "2", "--amplitude-contrast", "0.1", "--snr", "0.2",
               "--solvent-share", "0.3", "--free-path", "3000", "--dose", "60", "--mtf", "0.6",
               "--dose-order", "sequential", "--dose-weighting", "--noise-mtf", "0.7",
               "--phase-flip", "--weighting", "exact", "--contrast", "bright"]  # fmt: skip
    assert project(grand_model, "--output", tmp_path / "o", *options) == 0
    dumped = yaml.safe_load((tmp_path / "o" / "project.yaml").read_text())
    assert dumped["tilt_range"] == [-50.0, 70.0, 5.0]
    assert (dumped["defocus"], dumped["contrast"]) == (2.5, "bright")
    # The dumped file repeats the run.
    again = tmp_path / "again"
    assert project("--config", tmp_path / "o" / "project.yaml", "--output", again) == 0
    np.testing.assert_array_equal(
        load(again / "cell_tomogram.mrc"), load(tmp_path / "o" / "cell_tomogram.mrc")
    )


def test_every_setting_of_the_simulator_has_an_option():
    from dataclasses import fields

    from dual_core.cli.commands import project as command
    from dual_core.cli.parsing import CommandParser
    from dual_core.physics.config import SimulatorConfig

    parser = CommandParser()
    command.add_arguments(parser)
    args = parser.parse_args(["g.mrc", "--output", "o"])
    assert command.make_config(args, 10.0) == SimulatorConfig(voxel_size_A=10.0)
    changed = ["--tilt-range", "-50", "70", "5", "--defocus", "2.5", "--defocus-spread", "0",
               "--voltage", "200", "--cs", "2", "--amplitude-contrast", "0.1", "--no-noise",
               "--solvent-share", "0.3", "--free-path", "3000", "--dose", "60", "--mtf", "0.6",
               "--dose-order", "sequential", "--dose-weighting", "--noise-mtf", "0.7",
               "--phase-flip", "--weighting", "exact", "--contrast", "bright"]  # fmt: skip
    config = command.make_config(parser.parse_args(["g.mrc", "--output", "o", *changed]), 9.0)
    default = SimulatorConfig(voxel_size_A=10.0)
    for field in fields(SimulatorConfig):
        assert getattr(config, field.name) != getattr(default, field.name), field.name


def test_the_step_of_the_tilts_is_3_if_not_given(grand_model, tmp_path):
    for name, angles in (("a", "-50 70"), ("b", "-50 70 3")):
        options = ["--tilt-range", *angles.split(), "--output", tmp_path / name]
        assert project(grand_model, *options) == 0
    np.testing.assert_array_equal(
        load(tmp_path / "a" / "cell_tomogram.mrc"), load(tmp_path / "b" / "cell_tomogram.mrc")
    )


def test_noise_can_be_left_out(grand_model, tmp_path):
    arguments = ("--no-noise", "--defocus-spread", 0, "--output")
    assert project(grand_model, *arguments, tmp_path / "a", "--seed", 1) == 0
    assert project(grand_model, *arguments, tmp_path / "b", "--seed", 2) == 0
    np.testing.assert_array_equal(
        load(tmp_path / "a" / "cell_tomogram.mrc"), load(tmp_path / "b" / "cell_tomogram.mrc")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tilt-range", "60", "-60", "3"], "tilt range"),
        (["--tilt-range", "-60", "60", "0"], "tilt step"),
        (["--tilt-range", "-60"], "MIN MAX STEP"),
        (["--tilt-range", "-60", "60", "g.mrc"], "not an angle"),
        (["--snr", "-1"], "snr"),
        (["--cs", "-1"], "cs_mm"),
        (["--mtf", "0"], "mtf_nyquist"),
        (["--snr", "1", "--no-noise"], "not allowed"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_nothing(
    grand_model, tmp_path, capsys, options, message
):
    assert project(grand_model, "--output", tmp_path / "o", *options) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_unusable_files_are_refused(grand_model, tmp_path, capsys):
    empty, no_size = tmp_path / "empty.mrc", tmp_path / "no_size.mrc"
    write_volume(empty, np.zeros(SHAPE, np.float32), 10.0)
    no_size.write_bytes(grand_model.read_bytes())
    with open(no_size, "r+b") as file:
        file.seek(40)
        file.write(bytes(12))
    for path, message in [(empty, "constant"), (no_size, "voxel size"), (tmp_path / "x", "such")]:
        assert project(path, "--output", tmp_path / "o") == 2
        error = capsys.readouterr().err
        assert message in error
        assert path.name in error
    assert project(no_size, "--voxel-size", 12, "--output", tmp_path / "o") == 0
    assert open_volume(tmp_path / "o" / "no_size_tomogram.mrc").voxel_size_A == pytest.approx(12)
    twin = tmp_path / "twin" / "cell.mrc"
    twin.parent.mkdir()
    twin.write_bytes(grand_model.read_bytes())
    assert project(grand_model, twin, "--output", tmp_path / "o") == 2
    assert "would all become" in capsys.readouterr().err
