"""The Python API gives what the commands give, loads nothing early, and refuses in one line."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dual_core
from dual_core import DualError

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel  # noqa: E402
from dual_core.volumes.reading import open_volume, write_volume  # noqa: E402

SIZE_A = 10.0
NETWORK = {
    "channels": (3, 4), "stem_stride": 2, "noise_channels": (2, 4), "code_size": 5,
    "noise_side": 16, "discriminator_channels": (2, 4), "discriminator_scales": 1,
    "spectral_norm": False,
}


def blobs(seed: int, shape=(24, 32, 28), noise=1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    places = np.indices(shape)
    density = np.zeros(shape)
    for _ in range(6):
        centre = [random.uniform(4, side - 4) for side in shape]
        square = sum((axis - middle) ** 2 for axis, middle in zip(places, centre))
        density += 3 * np.exp(-square / 10)
    return (density + noise * random.normal(size=shape)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A tomogram (dark), a grand model and models with random weights."""
    folder = tmp_path_factory.mktemp("api")
    write_volume(folder / "tomo.mrc", -blobs(0), SIZE_A)
    write_volume(folder / "grand.mrc", blobs(0, noise=0.0), SIZE_A)
    torch.manual_seed(0)
    for task in ("denoise+simulate", "translate", "missing-wedge"):
        card = ModelCard(
            SIZE_A, "bright", dataclasses.asdict(NetworkConfig(**NETWORK)), task=task,
            tilt_range_deg=(-60.0, 60.0), clean_mean=0.1, clean_deviation=0.4,
        )
        DualModel(NetworkConfig(**NETWORK), card).save(folder / f"{task}.safetensors")
    return folder


def command(*words: object) -> None:
    assert main([*map(str, words), "-q"]) == 0


def read(path: Path) -> np.ndarray:
    return open_volume(path).load()


def three_ways(function, source: Path, model: Path, tmp_path: Path, **options):
    """Of a file into a file, of a file into memory, of an array; with a model in memory as well."""
    array = read(source)
    written = function(source, model, output=tmp_path / "api.mrc", **options)
    assert written.array is None and written.path == tmp_path / "api.mrc"
    loaded = function(str(source), DualModel.load(model), **options)
    given = function(array, str(model), voxel_size_A=SIZE_A, **options)
    assert loaded.path is None and given.path is None
    same = [f.name for f in dataclasses.fields(given) if f.name not in ("array", "path", "seconds")]
    for name in same:
        assert np.array_equal(getattr(given, name), getattr(written, name)), name
    assert np.array_equal(read(source), array)
    return [read(written.path), loaded.array, given.array]


CASES = {
    "denoise": (
        "tomo.mrc", "denoise+simulate", {"strength": 0.7, "units": "standardised"},
        ["--strength", 0.7, "--units", "standardised"], "_denoised",
    ),
    "simulate": ("grand.mrc", "denoise+simulate", {"seed": 3}, ["--seed", 3], "_simulated_01"),
    "translate": (
        "tomo.mrc", "translate", {"direction": "to-noisy", "seed": 5},
        ["--direction", "to-noisy", "--seed", 5], "_translated",
    ),
    "compensate": (
        "tomo.mrc", "missing-wedge", {"tilt_range": (-50, 60), "soft_edge_deg": 2.0},
        ["--tilt-range", -50, 60, "--soft-edge", 2], "_compensated",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_arrays_and_files_give_what_the_command_gives(name, files, tmp_path):
    source, task, options, words, suffix = CASES[name]
    model = files / f"{task}.safetensors"
    command(name, files / source, "--model", model, "--output", tmp_path / "cli", *words)
    expected = read(tmp_path / "cli" / f"{Path(source).stem}{suffix}.mrc")
    assert expected.std() > 0
    for found in three_ways(getattr(dual_core, name), files / source, model, tmp_path, **options):
        assert found.dtype == np.float32 and np.array_equal(found, expected)


def test_noise_from_a_tomogram_as_the_command(files, tmp_path):
    model = files / "denoise+simulate.safetensors"
    command("simulate", files / "grand.mrc", "--model", model, "--output", tmp_path,
            "--noise-from", files / "tomo.mrc")
    expected = read(tmp_path / "grand_simulated_01.mrc")
    array = read(files / "tomo.mrc")
    by_file = dual_core.simulate(files / "grand.mrc", model, noise_from=files / "tomo.mrc")
    by_array = dual_core.simulate(
        read(files / "grand.mrc"), model, voxel_size_A=SIZE_A, noise_from=array
    )
    other = dual_core.simulate(files / "grand.mrc", model)
    assert np.array_equal(by_file.array, expected) and np.array_equal(by_array.array, expected)
    assert not np.array_equal(other.array, expected)


def test_picks_as_the_command(files, tmp_path):
    words = ["--diameter", 90, "--number", 5, "--contrast", "dark"]
    command("pick", files / "tomo.mrc", "--output", tmp_path, *words)
    options = {"diameter_A": 90, "number": 5, "contrast": "dark"}
    written = dual_core.pick(files / "tomo.mrc", output=tmp_path / "tomo_api.csv", **options)
    given = dual_core.pick(read(files / "tomo.mrc"), voxel_size_A=SIZE_A, **options)
    for name in ("positions", "scores", "values"):
        assert np.array_equal(getattr(written, name), getattr(given, name))
    for suffix in (".csv", ".star"):
        ours = (tmp_path / f"tomo_api{suffix}").read_text()
        assert ours == (tmp_path / f"tomo_picks{suffix}").read_text()
    scores = dual_core.evaluate_picks(
        given.positions, written.path, tolerance_A=1.0, voxel_size_A=SIZE_A
    )
    assert len(given.positions) == 5 and scores.f1 == 1.0


def test_grand_models_and_projections_as_the_commands(tmp_path):
    words = ["--molecules", "antibody_150", "--shape", 32, 40, 36, "--number", 3, "--seed", 2,
             "--only-molecules"]
    command("pack", "--output", tmp_path / "cli", "--count", 2, *words)
    options = {
        "shape": (32, 40, 36), "number": 3, "seed": 2, "count": 2, "only_molecules": True
    }
    there = dual_core.pack("antibody_150", output=tmp_path / "api", **options)
    here = dual_core.pack(["antibody_150"], **options)
    for index, (one, other) in enumerate(zip(there, here)):
        assert one.array is None and other.path is None and one.names == ("antibody_150",) * 3
        for name, array in (("grand_model", other.array), ("class_mask", other.class_mask),
                            ("instance_mask", other.instance_mask)):
            path = tmp_path / "cli" / f"{name}_{index}.mrc"
            assert path.read_bytes() == (tmp_path / "api" / path.name).read_bytes()
            assert np.array_equal(read(path), array)
        perfect = dual_core.evaluate_picks(
            other.positions, one.labels["csv"], tolerance_A=0.01, voxel_size_A=SIZE_A
        )
        assert perfect.hits == 3
    grand = there[0].path
    command("project", grand, "--output", tmp_path / "cli", "--halves", "--tilt-range", -50, 50, 10)
    options = {"halves": True, "tilt_range": (-50, 50), "tilt_step": 10}
    by_file = dual_core.project(grand, output=tmp_path / "api" / "t.mrc", **options)
    by_array = dual_core.project(here[0].array, voxel_size_A=SIZE_A, **options)
    for suffix, name in (("", "array"), ("_odd", "odd"), ("_even", "even")):
        expected = read(tmp_path / "cli" / f"grand_model_0_tomogram{suffix}.mrc")
        assert np.array_equal(getattr(by_array, name), expected)
        assert np.array_equal(getattr(by_file, name), expected)
        assert np.array_equal(read(tmp_path / "api" / f"t{suffix}.mrc"), expected)


def test_scores_as_the_command(files, tmp_path, capsys):
    command("evaluate", "volumes", "--truth", files / "grand.mrc", files / "tomo.mrc",
            "--margin", 2, "--output", tmp_path)
    table = (tmp_path / "scores.csv").read_text().splitlines()
    told = dict(zip(table[0].split(","), table[1].split(",")))
    by_file = dual_core.evaluate(files / "tomo.mrc", files / "grand.mrc", margin=2)
    by_array = dual_core.evaluate(
        read(files / "tomo.mrc"), read(files / "grand.mrc"), voxel_size_A=SIZE_A, margin=2
    )
    for found in (by_file, by_array):
        assert found.contrast == told["contrast"] == "dark"
        for name in ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge"):
            assert getattr(found, name) == float(told[name])
        assert found.fsc.resolution_A(0.5) == float(told["fsc_0.5_A"])


def test_training_of_arrays_as_the_command_and_what_stands_in_its_way(files, tmp_path):
    noisy, clean = files / "tomo.mrc", files / "grand.mrc"
    command("train", "--noisy", noisy, "--clean", clean, "--output", tmp_path / "cli",
            "--preset", "quick", "--method", "paper", "--iterations", 1, "--patch", 24,
            "--batch", 1)
    config = dual_core.preset_config("quick", "paper", iterations=1, patch=24, batch=1)
    found = dual_core.train(
        read(noisy), [read(clean)], tmp_path / "api", config=config, voxel_size_A=SIZE_A
    )
    assert (found.iterations, found.finished, found.reason) == (1, True, "finished")
    weights = DualModel.load(tmp_path / "cli" / "model.safetensors").state_dict()
    for name, tensor in found.load().state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    with pytest.raises(DualError, match="holds a training"):
        dual_core.train([noisy], clean, tmp_path / "cli", config=config)


# What the package is to a user ------------------------------------------------------------------


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, dual_core; dir(dual_core); dual_core.DualError;"
        "assert not {'numpy', 'torch', 'scipy', 'yaml'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_name_is_there_and_documented():
    assert set(dual_core.__all__) <= set(dir(dual_core))
    for name in sorted(set(dual_core.__all__) - {"__version__"}):
        thing = getattr(dual_core, name)
        assert thing.__name__ == name and len(thing.__doc__ or "") > 40
        if inspect.isfunction(thing):
            text = thing.__doc__
            assert all(parameter in text for parameter in inspect.signature(thing).parameters)
            assert "Raises" in text and "DualError" in text
        elif dataclasses.is_dataclass(thing) and name != "TrainingConfig":
            assert all(field.name in thing.__doc__ for field in dataclasses.fields(thing))
            assert thing.__dataclass_params__.frozen
    with pytest.raises(AttributeError):
        dual_core.no_such_thing  # noqa: B018


# What is refused ----------------------------------------------------------------------------------

VOLUME = blobs(1)
WITH_NAN = np.where(np.indices(VOLUME.shape).sum(0) == 9, np.nan, VOLUME)
WRONG = {
    "two dimensions": (VOLUME[0], {"voxel_size_A": SIZE_A}, "2 dimensions"),
    "no voxel size": (VOLUME, {}, "voxel_size_A"),
    "voxel size": (VOLUME, {"voxel_size_A": -1.0}, "voxel_size_A"),
    "nan": (WITH_NAN, {"voxel_size_A": SIZE_A}, "NaN"),
    "constant": (np.ones((16, 16, 16)), {"voxel_size_A": SIZE_A}, "constant|every voxel"),
    "complex": (VOLUME + 0j, {"voxel_size_A": SIZE_A}, "complex"),
    "empty": (VOLUME[:0], {"voxel_size_A": SIZE_A}, "no voxels"),
    "missing": ("no_such.mrc", {}, "no_such.mrc"),
    "no volume": (7, {}, "int"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", [*CASES, "pick", "project", "evaluate", "train"])
def test_wrong_input_is_a_dual_error_of_one_line(name, case, files, tmp_path):
    given, options, message = WRONG[case]
    function = getattr(dual_core, name)
    with pytest.raises(DualError, match=message) as error:
        if name in CASES:
            _, task, further, *_ = CASES[name]
            function(given, files / f"{task}.safetensors", **options, **further)
        elif name == "pick":
            function(given, diameter_A=90, **options)
        elif name == "evaluate":
            truth = VOLUME[: len(given)] if isinstance(given, np.ndarray) else files / "grand.mrc"
            function(given, truth[:, :16, :16] if case == "constant" else truth, **options)
        elif name == "train":
            clean = files / "grand.mrc"
            function(given, clean, tmp_path / "run", config="quick", **options)
        else:
            function(given, **options)
    told = str(error.value)
    assert "\n" not in told and "dual-" not in told


def test_wrong_options_and_models_are_refused(files, tmp_path):
    tomogram, model = files / "tomo.mrc", files / "denoise+simulate.safetensors"
    for call in (
        lambda: dual_core.denoise(tomogram, model, strength=2),
        lambda: dual_core.denoise(tomogram, tomogram),
        lambda: dual_core.denoise(tomogram, 3),
        lambda: dual_core.denoise(tomogram, model, output=tmp_path / "no" / "such" / "f.mrc"),
        lambda: dual_core.translate(tomogram, model, "sideways"),
        lambda: dual_core.pick(tomogram),
        lambda: dual_core.pick(tomogram, diameter_A=90, output=tmp_path / "p.txt"),
        lambda: dual_core.pack("no_such_molecule"),
        lambda: dual_core.pack(colour="red"),
        lambda: dual_core.project(files / "grand.mrc", colour="red"),
        lambda: dual_core.evaluate(tomogram, VOLUME[:5], voxel_size_A=SIZE_A),
        lambda: dual_core.evaluate_picks(np.zeros((3, 2)), np.zeros((3, 3)), tolerance_A=1),
        lambda: dual_core.train(tomogram, tomogram, tmp_path / "r", resume=True, overwrite=True),
        lambda: dual_core.train(tomogram, tomogram, tmp_path / "r", config="lavish"),
    ):
        with pytest.raises(DualError) as error:
            call()
        assert "\n" not in str(error.value)
