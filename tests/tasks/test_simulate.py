"""Properties of simulation: equation 1 over tiles, the same bytes always, labels, several files."""

import csv
import json
import logging
import math

import mrcfile
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.noise_model.full_power.noise_profile import NoiseProfile, profile_to_arrays  # noqa: E402
from dual_core.noise_model.full_power.whole_blocks import grid_of  # noqa: E402
from dual_core.tasks.simulate import SimulateOptions, output_contrast, simulate_tomogram  # noqa: E402
from dual_core.tasks.simulation import noisy_tiles  # noqa: E402
from dual_core.tasks.simulation.density_map import open_density  # noqa: E402
from dual_core.tasks.simulation.noise_codes import (  # noqa: E402
    Noise,
    content_hash,
    draw_noise,
    encode_tomogram,
    profile_of_tomogram,
)
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner, canonical_voxels  # noqa: E402
from dual_core.volumes.reading import ArrayVolume  # noqa: E402

VOXEL_SIZE_A = 10.0
SHAPE = (21, 40, 70)
LONG = (14, 22, 125)
MEAN, DEVIATION = 0.4, 0.9


def make_model(seed=3, **card):
    """A tiny model whose weights are all at work (Gs begins as the identity)."""
    torch.manual_seed(seed)
    config = NetworkConfig(
        channels=(3, 4),
        noise_channels=(2, 3),
        code_size=4,
        noise_side=8,
        discriminator_channels=(2, 2),
    )
    facts = {"voxel_size_A": VOXEL_SIZE_A, "contrast": "bright"}
    domain = {"clean_mean": MEAN, "clean_deviation": DEVIATION}
    card = ModelCard(**{"network": plain_config(config), **facts, **domain, **card})
    model = DualModel(config, card)
    with torch.no_grad():
        for parameter in model.structural_generator.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles as small as the halo allows, so that a small volume has several."""
    monkeypatch.setattr(noisy_tiles, "TILE_BYTES", 40**3 * 28.8)


def density(shape=SHAPE, seed=0):
    random = np.random.default_rng(seed)
    blobs = np.zeros(shape)
    z, y, x = np.indices(shape)
    for _ in range(8):
        c = [random.uniform(0, n) for n in shape]
        blobs += np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / 12)
    return (DEVIATION * (blobs - blobs.mean()) / blobs.std() + MEAN).astype(np.float32)


def write(path, array, voxel_size_A=VOXEL_SIZE_A, origin=(0, 0, 0)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = voxel_size_A
        file.header.origin = origin
    return path


def read(path):
    with mrcfile.open(path) as file:
        return np.array(file.data, dtype=np.float32)


def simulate(source, output, model, number=1, seed=0, options=None, progress=None, **runner):
    runner.setdefault("precision", "float32")
    options = options or SimulateOptions(contrast="bright", output_contrast="bright")
    opened = open_density(source, model.card, options.contrast, options.standardise,
                          options.voxel_size_A)
    noise = draw_noise(model.config.code_size, seed, opened.content, number)
    return simulate_tomogram(
        opened, output, model, SimulationRunner(model, "cpu", **runner), noise, options, progress
    )


def whole_pass(model, volume, noise, margin=64):
    """Equation 1 in one pass: mirrored density, and noise that goes on outside."""
    multiple = model.structural_generator.multiple
    width = [(margin, -(-n // multiple) * multiple - n + margin) for n in volume.shape]
    padded = (volume - np.float32(model.card.clean_mean)) / np.float32(model.card.clean_deviation)
    for axis, pair in enumerate(width):
        pad = [(0, 0)] * 3
        pad[axis] = pair
        padded = np.pad(padded, pad, mode="reflect")
    padded = padded + noise.field(model).read((-margin,) * 3, padded.shape)
    with torch.no_grad():
        result = model.structural_generator(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return result[tuple(slice(margin, margin + n) for n in volume.shape)]


# --- equation 1 over tiles --------------------------------------------------------------------


def test_tiles_are_one_pass_over_the_whole_volume(tmp_path, model, small_tiles):
    volume = density(LONG)
    source = write(tmp_path / "g.mrc", volume)
    radius = model.structural_generator.receptive_radius
    noise = draw_noise(4, 0, content_hash(ArrayVolume(volume, 1.0)), 1)
    expected = whole_pass(model, volume, noise)
    assert expected.std() > 0.3
    for halo, tolerance in ((radius, 1e-5), (None, 2e-3)):
        report = simulate(source, tmp_path / "s.mrc", model, halo=halo)
        assert report.tiles > 1
        difference = abs(read(tmp_path / "s.mrc") - expected)
        assert difference.max() < tolerance * expected.std()
    # Without context it would show.
    simulate(source, tmp_path / "s.mrc", model, halo=0)
    assert abs(read(tmp_path / "s.mrc") - expected).max() > 0.05 * expected.std()


def test_the_same_bytes_whatever_threads_and_tile(tmp_path, model, small_tiles):
    source = write(tmp_path / "g.mrc", density(LONG))
    before = torch.get_num_threads()
    found = set()
    beside = []
    original = noisy_tiles.SimulationRunner.workers

    def watched(self, plan, threads):
        beside.append(original(self, plan, threads))
        return beside[-1]

    noisy_tiles.SimulationRunner.workers = watched
    try:
        for threads, tile in ((1, None), (2, None), (3, None), (2, 8), (2, 1000)):
            torch.set_num_threads(threads)
            simulate(source, tmp_path / "s.mrc", model, tile=tile)
            assert torch.get_num_threads() == threads
            found.add(read(tmp_path / "s.mrc").tobytes())
    finally:
        torch.set_num_threads(before)
        noisy_tiles.SimulationRunner.workers = original
    assert beside == [1, 2, 3, 1, 2]
    assert len(found) == 1


def test_tiles_are_those_of_the_model(model):
    most = canonical_voxels((24, 48, 96), 2)
    assert 224**3 < most < 288**3
    one, other = (
        SimulationRunner(model, "cpu", tile=tile, memory=memory, precision=precision)
        for tile, memory, precision in ((None, None, "float32"), (500, 0.5, "bfloat16"))
    )
    plan = one.plan((100, 2000, 3000))
    assert plan == other.plan((100, 2000, 3000)) and len(plan) > 1
    assert math.prod(plan.input_shape) <= canonical_voxels((3, 4), 2)


def test_running_out_of_memory_takes_fewer_and_then_smaller_tiles(
        tmp_path, model, small_tiles, monkeypatch, caplog):
    source = write(tmp_path / "g.mrc", density())
    simulate(source, tmp_path / "fits.mrc", model)
    calls = []
    plain = SimulationRunner.__call__

    def hungry(self, tile):
        calls.append(tile.shape)
        if len(calls) < 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, tile)

    monkeypatch.setattr(SimulationRunner, "__call__", hungry)
    threads = torch.get_num_threads()
    simulate(source, tmp_path / "s.mrc", model)
    assert torch.get_num_threads() == threads
    assert (tmp_path / "s.mrc").read_bytes() == (tmp_path / "fits.mrc").read_bytes()
    assert "rounding" not in caplog.text

    def starved(self, tile):
        raise MemoryError

    monkeypatch.setattr(SimulationRunner, "__call__", starved)
    with pytest.raises(DualError, match="out of memory"):
        simulate(source, tmp_path / "no.mrc", model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fits.mrc", "g.mrc", "s.mrc"]


class Blur(torch.nn.Module):
    """A generator that puts out the mean of 5 x 5 x 5 voxels."""

    multiple, receptive_radius = 2, 2

    def forward(self, volume):
        return torch.nn.functional.avg_pool3d(volume, 5, stride=1, padding=2)


def test_noise_is_as_strong_at_the_border_as_inside(tmp_path):
    """Mirrored noise would agree with itself across the border and make it stronger."""
    model = make_model()
    model.structural_generator = Blur()
    source = write(tmp_path / "g.mrc", density((30, 34, 38)))
    opened = open_density(source, model.card, "bright")
    runner = SimulationRunner(model, "cpu", "float32", halo=2)
    noise = []
    for seed in range(8):
        # The same code for all: only the permutation differs.
        given = Noise(np.ones(4, np.float32), seed)
        simulate_tomogram(opened, tmp_path / "s.mrc", model, runner, given)
        noise.append(read(tmp_path / "s.mrc"))
    variance = np.var(noise, axis=0, ddof=1)
    inside = variance[5:-5, 5:-5, 5:-5].mean()
    assert inside > 0
    for axis in range(3):
        for face in (0, -1):
            assert variance.take(face, axis).mean() == pytest.approx(inside, rel=0.2)


# --- noise ------------------------------------------------------------------------------------


def test_copies_seeds_and_volumes_have_noise_of_their_own():
    drawn = [draw_noise(16, *key) for key in ((0, 5, 1), (0, 5, 2), (1, 5, 1), (0, 6, 1))]
    assert len({noise.seed for noise in drawn}) == 4
    assert len({noise.code.tobytes() for noise in drawn}) == 4
    again = draw_noise(16, 0, 5, 1)
    assert again.seed == drawn[0].seed and again.code.tobytes() == drawn[0].code.tobytes()
    codes = np.array([draw_noise(8, 0, 1, number).code for number in range(500)])
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.15)
    # For good: these numbers are what 'same seed, same tomogram' stands on.
    assert again.seed == 12907612945109159136
    np.testing.assert_allclose(again.code[:2], [-0.4064, 0.5379], atol=1e-4)


def test_the_content_is_that_of_the_voxels(tmp_path):
    from dual_core.volumes.reading import open_volume

    volume = density().round().astype(np.int8)
    one = open_volume(write(tmp_path / "a.mrc", volume, 10.0))
    two = open_volume(write(tmp_path / "b.mrc", volume.astype(np.float32), 12.0, (1, 2, 3)))
    assert content_hash(one) == content_hash(two)
    volume[3, 4, 5] += 1
    assert content_hash(open_volume(write(tmp_path / "c.mrc", volume))) != content_hash(one)


def test_the_code_of_a_tomogram_is_the_tomograms_own(tmp_path, model):
    random = np.random.default_rng(0)
    white = random.normal(size=(24, 33, 40)).astype(np.float32)
    smooth = white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, 1, 2)
    codes = {
        name: encode_tomogram(write(tmp_path / f"{name}.mrc", array), model, contrast)
        for name, array, contrast in (
            ("white", white, "bright"),
            ("gain", 30 * white + 500, "bright"),
            ("dark", -white, "dark"),
            ("smooth", smooth, "bright"),
        )
    }
    assert codes["white"].shape == (4,)
    np.testing.assert_allclose(codes["gain"], codes["white"], atol=1e-3)
    np.testing.assert_allclose(codes["dark"], codes["white"], atol=1e-5)
    assert abs(codes["smooth"] - codes["white"]).max() > 0.02
    # A volume thinner than a patch will do as well.
    thin = write(tmp_path / "thin.mrc", white[:5])
    assert np.isfinite(encode_tomogram(thin, model, "bright")).all()


# --- units, contrast, voxel size --------------------------------------------------------------


def test_contrast_of_the_grand_model_and_of_the_result(tmp_path, model):
    volume = density()
    bright = write(tmp_path / "b.mrc", volume)
    dark = write(tmp_path / "d.mrc", -volume)
    noise = draw_noise(4, 0, 0, 1)
    runner = SimulationRunner(model, "cpu", "float32")

    def result(source, **options):
        simulate_tomogram(source, tmp_path / "s.mrc", model, runner, noise,
                          SimulateOptions(**options))
        return read(tmp_path / "s.mrc")

    expected = whole_pass(model, volume, noise)
    found = result(bright, contrast="bright", output_contrast="as-model")
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.std())
    np.testing.assert_array_equal(found, result(dark, contrast="dark", output_contrast="bright"))
    np.testing.assert_array_equal(-found, result(bright, contrast="auto"))
    assert output_contrast(make_model(noisy_contrast="bright").card) == "bright"
    assert output_contrast(make_model(noisy_contrast="dark").card) == "dark"
    assert output_contrast(model.card, "bright") == "bright"


def test_grand_models_are_standardised_alike_and_other_units_are_warned_of(
        tmp_path, model, caplog):
    volume = density()
    noise = draw_noise(4, 0, 0, 1)
    runner = SimulationRunner(model, "cpu", "float32")

    def result(array, **options):
        options = SimulateOptions(contrast="bright", output_contrast="bright", **options)
        simulate_tomogram(write(tmp_path / "g.mrc", array), tmp_path / "s.mrc", model, runner,
                          noise, options)
        return read(tmp_path / "s.mrc")

    plain = result(volume)
    fuller = result(1.5 * volume)
    assert "--standardise own" not in caplog.text
    assert abs(plain - fuller).max() > 0.1
    own = result(40 * volume + 1000, standardise="own")
    assert "--standardise own" not in caplog.text
    np.testing.assert_allclose(own, plain, atol=2e-3)
    result(40 * volume)
    assert caplog.text.count("--standardise own") == 1
    result(volume + 10)
    assert caplog.text.count("--standardise own") == 2


def test_voxel_size_origin_and_statistics(tmp_path, model, caplog):
    source = write(tmp_path / "g.mrc", density(), origin=(5, -6, 7))
    seen = []
    simulate(source, tmp_path / "s.mrc", model, progress=lambda *a: seen.append(a))
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    with mrcfile.open(tmp_path / "s.mrc") as file:
        assert file.header.origin.tolist() == (5, -6, 7)
        np.testing.assert_allclose(float(file.voxel_size.x), VOXEL_SIZE_A, rtol=1e-5)
        assert file.data.dtype == np.float32 and file.data.shape == SHAPE
        np.testing.assert_allclose(file.header.rms, file.data.std(), rtol=1e-4)
    other = write(tmp_path / "o.mrc", density(), 10.8, origin=(5, -6, 7))
    with caplog.at_level("INFO"):
        report = simulate(other, tmp_path / "s.mrc", model)
    assert report.resampled and "resampled" in caplog.text
    with mrcfile.open(tmp_path / "s.mrc") as file:
        assert file.header.origin.tolist() == (5, -6, 7) and file.data.shape == SHAPE
        np.testing.assert_allclose(float(file.voxel_size.x), 10.8, rtol=1e-5)
    report = simulate(other, tmp_path / "s.mrc", model, options=SimulateOptions(
        contrast="bright", voxel_size_A=10.0))
    assert not report.resampled
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.mrc", "o.mrc", "s.mrc"]


@pytest.mark.parametrize("options", [
    {"contrast": "x"}, {"output_contrast": "x"}, {"standardise": "x"}, {"units": "x"},
])
def test_options_are_checked(options):
    with pytest.raises(DualError):
        SimulateOptions(**options)


def test_output_that_is_not_finite_leaves_nothing(tmp_path):
    model = make_model()
    with torch.no_grad():
        model.structural_generator.input_gain.fill_(float("nan"))
    source = write(tmp_path / "g.mrc", density())
    with pytest.raises(DualError, match="not finite"):
        simulate(source, tmp_path / "s.mrc", model)
    assert [p.name for p in tmp_path.iterdir()] == ["g.mrc"]


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    return path


@pytest.fixture
def dual(capsys):
    """Run ``dual`` in this process; gives the status and what it said on stderr."""
    from dual_core.cli.main import main

    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(*arguments):
        status = main([str(a) for a in arguments])
        return status, capsys.readouterr().err

    yield call
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)


@pytest.fixture
def cells(tmp_path):
    """Two grand models as of 'dual pack', the second without labels."""
    folder = tmp_path / "cells"
    folder.mkdir()
    write(folder / "grand_model_1.mrc", density(seed=1))
    write(folder / "class_mask_1.mrc", (density(seed=1) > 1).astype(np.int8))
    write(folder / "instance_mask_1.mrc", (density(seed=1) > 1).astype(np.uint16))
    (folder / "particles_1.csv").write_text("instance,class\n1,1\n")
    (folder / "particles_1.star").write_text("data_particles\n")
    write(folder / "grand_model_2.mrc", density(seed=2))
    return folder


def table(folder):
    with open(folder / "training_set.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def volumes(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*_simulated_*.mrc")}


def test_a_labelled_training_set(tmp_path, model_file, cells, dual):
    one, two = cells / "grand_model_1.mrc", cells / "grand_model_2.mrc"
    base = ("simulate", "--model", model_file, "--device", "cpu", "--precision", "float32")
    output = tmp_path / "new" / "set"
    status, said = dual(*base, one, two, "--output", output, "--copies", 2)
    assert status == 0, said
    names = [f"grand_model_{k}_simulated_0{c}.mrc" for k in (1, 2) for c in (1, 2)]
    labels = ["class_mask_1.mrc", "instance_mask_1.mrc", "particles_1.csv", "particles_1.star"]
    others = ["training_set.csv", "simulate.jsonl", "simulate.yaml", "simulate.status.json"]
    assert sorted(p.name for p in output.iterdir()) == sorted(names + labels + others)
    for name in labels:
        assert (output / name).read_bytes() == (cells / name).read_bytes()
    rows = table(output)
    assert [row["tomogram"] for row in rows] == names
    assert [row["copy"] for row in rows] == ["1", "2", "1", "2"]
    assert {row["code_from"] for row in rows} == {"random"}
    first, last = rows[0], rows[-1]
    assert first["grand_model"] == str(one) and first["class_mask"] == "class_mask_1.mrc"
    assert first["instance_mask"] == labels[1] and first["particles"] == "particles_1.csv"
    assert last["class_mask"] == last["instance_mask"] == last["particles"] == ""
    made = volumes(output)
    assert len(set(made.values())) == 4
    # A tomogram with its density where the labels are, dark; and standardised by the model.
    tomogram, mask = read(output / names[0]), read(cells / labels[0]) > 0
    assert tomogram[mask].mean() != pytest.approx(tomogram[~mask].mean(), abs=0.05)

    # One by one, in another order, under another name: the same bytes.
    alone = tmp_path / "alone"
    renamed = write(tmp_path / "renamed.mrc", density(seed=1), origin=(1, 2, 3))
    assert dual(*base, two, one, renamed, "--output", alone, "--tile", 300)[0] == 0
    for name in (names[0], names[2]):
        assert (alone / name).read_bytes() == made[name]
    same = read(alone / "renamed_simulated_01.mrc")
    np.testing.assert_array_equal(same, read(output / names[0]))
    # Another seed is another tomogram.
    assert dual(*base, one, "--output", tmp_path / "seed", "--seed", 1)[0] == 0
    assert volumes(tmp_path / "seed")[names[0]] != made[names[0]]


def test_resume_makes_only_what_is_missing(tmp_path, model_file, cells, dual):
    one, two = cells / "grand_model_1.mrc", cells / "grand_model_2.mrc"
    base = ("simulate", "--model", model_file, "--device", "cpu", "--output", tmp_path / "o")
    assert dual(*base, one)[0] == 0
    stamp = (tmp_path / "o" / "grand_model_1_simulated_01.mrc").stat().st_mtime_ns
    status, said = dual(*base, one, "--copies", 2, "--resume")
    assert status == 0 and said.count("skipped") == 1
    assert (tmp_path / "o" / "grand_model_1_simulated_01.mrc").stat().st_mtime_ns == stamp
    # Others add to the table; the rows of what is gone go.
    (tmp_path / "o" / "grand_model_1_simulated_02.mrc").unlink()
    assert dual(*base, two)[0] == 0
    kept = ["grand_model_1_simulated_01.mrc", "grand_model_2_simulated_01.mrc"]
    assert [row["tomogram"] for row in table(tmp_path / "o")] == kept
    # A lost table comes back.
    (tmp_path / "o" / "training_set.csv").unlink()
    (tmp_path / "o" / "class_mask_1.mrc").unlink()
    status, said = dual(*base, one, two, "--resume")
    assert status == 0 and said.count("skipped") == 2
    assert [row["tomogram"] for row in table(tmp_path / "o")] == kept
    assert (tmp_path / "o" / "class_mask_1.mrc").exists()
    status, said = dual(*base, one, "--resume", "--seed", 4)
    assert status == 0 and "skipped" not in said
    # The dumped options repeat the run.
    status, said = dual("simulate", "--config", tmp_path / "o" / "simulate.yaml", "--resume")
    assert status == 0 and said.count("skipped") == 1
    record = (tmp_path / "o" / "simulate.jsonl").read_text().splitlines()
    assert json.loads(record[-1])["results"]["output_contrast"] == "dark"


def test_noise_from_tomograms_in_turn(tmp_path, model_file, cells, dual):
    random = np.random.default_rng(0)
    white = random.normal(size=(16, 24, 24)).astype(np.float32)
    one = write(tmp_path / "white.mrc", white)
    two = write(tmp_path / "smooth.mrc", white + np.roll(white, 1, 0) + np.roll(white, 1, 2))
    base = ("simulate", "--model", model_file, "--device", "cpu", cells / "grand_model_1.mrc",
            "--noise-contrast", "bright")
    assert dual(*base, "--output", tmp_path / "a", "--noise-from", one, two, "--copies", 3)[0] == 0
    rows = table(tmp_path / "a")
    assert [row["code_from"] for row in rows] == [str(one), str(two), str(one)]
    made = volumes(tmp_path / "a")
    assert len(set(made.values())) == 3
    assert dual(*base, "--output", tmp_path / "b", "--noise-from", two)[0] == 0
    assert dual(*base, "--output", tmp_path / "c", "--noise-from", one)[0] == 0
    name = rows[0]["tomogram"]
    assert volumes(tmp_path / "c")[name] == made[name] != volumes(tmp_path / "b")[name]


@pytest.mark.parametrize("change, words", [
    (["--model", "absent.safetensors"], "absent.safetensors"),
    (["--device", "cuda:77"], "cuda:77"),
    (["--copies", "0"], "--copies"),
    (["--seed", "-1"], "--seed"),
    (["--noise-from", "absent.mrc"], "absent.mrc"),
    (["absent.mrc"], "absent.mrc"),
])
def test_errors_are_one_line(tmp_path, model_file, cells, dual, change, words):
    sources = [] if change == ["absent.mrc"] else [cells / "grand_model_1.mrc"]
    status, said = dual("simulate", *sources, "--output", tmp_path / "o", "--model", model_file,
                        "-q", "--noise-contrast", "bright", *change)
    assert status == 2
    assert words in said and "error: " in said and said.count("\n") == 1
    assert not (tmp_path / "o" / "training_set.csv").exists()


def test_one_failure_does_not_stop_the_others(tmp_path, model_file, cells, dual):
    bad = tmp_path / "bad.mrc"
    bad.write_bytes((cells / "grand_model_1.mrc").read_bytes()[:3000])
    status, said = dual("simulate", bad, cells / "grand_model_2.mrc", "--output", tmp_path / "o",
                        "--model", model_file, "--device", "cpu")
    assert status == 1 and "1 of 2 grand models failed" in said.splitlines()[-1]
    assert [row["tomogram"] for row in table(tmp_path / "o")] == ["grand_model_2_simulated_01.mrc"]


def test_a_model_of_another_task_is_warned_of(tmp_path, cells, dual):
    path = tmp_path / "model.safetensors"
    make_model(task="translate").save(path)
    status, said = dual("simulate", cells / "grand_model_2.mrc", "--output", tmp_path / "o",
                        "--model", path, "-q", "--device", "cpu")
    assert status == 0 and said.count("\n") == 1 and "dual translate" in said


@pytest.fixture
def measured():
    """A model whose noise was measured: white of deviation 0.5 below half of Nyquist along x."""
    model = make_model()
    grid = grid_of(20)
    amplitude = np.zeros((grid[0], grid[1], grid[2] // 2 + 1), np.float32)
    amplitude[..., : grid[2] // 4] = 0.5
    everything = np.ones((16, 16, 9), np.float32)
    profile = NoiseProfile(amplitude, np.full_like(amplitude, 0.5), everything, (-1.5, 1.5))
    arrays = profile_to_arrays(profile)
    model.linear = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return model


def test_measured_noise_is_added_to_the_structure(tmp_path, measured):
    volume = density()
    source = write(tmp_path / "grand.mrc", volume)
    made = [tmp_path / f"{n}.mrc" for n in range(2)]
    for number, path in enumerate(made, 1):
        simulate(source, path, measured, number)
    first, second = map(read, made)
    bare = make_model()
    with torch.no_grad():
        values = (volume - np.float32(MEAN)) / np.float32(DEVIATION)
        padded = np.pad(values, [(32, 43), (32, 32), (32, 34)], mode="symmetric")
        structure = bare.structural_generator(torch.from_numpy(padded)[None, None])[0, 0]
    structure = structure.numpy()[32:53, 32:72, 32:102]
    inside = np.abs(first) < 1.45
    inside &= np.abs(second) < 1.45
    noise = (first - second)[inside] / np.sqrt(2)
    assert noise.std() == pytest.approx(0.34, rel=0.15)  # 0.5 / sqrt(2), and what is cut
    assert np.abs(first).max() <= 1.5 and not np.array_equal(first, second)
    middle = (slice(6, -6),) * 3
    mean = np.clip(structure, -1.5, 1.5)[middle].ravel()
    assert np.corrcoef(mean, ((first + second) / 2)[middle].ravel())[0, 1] > 0.6
    spectrum = np.abs(np.fft.rfft(first - second, axis=2)) ** 2
    assert spectrum[..., 25:].mean() < 0.25 * spectrum[..., 2:14].mean()


def test_measured_noise_has_the_same_bytes_whatever_the_tile(tmp_path, measured, small_tiles):
    source = write(tmp_path / "grand.mrc", density(LONG))
    results = []
    for number, options in enumerate(({}, {"tile": 40}, {"tile": 200})):
        threads = torch.get_num_threads()
        torch.set_num_threads(1 + number)
        try:
            path = tmp_path / f"{number}.mrc"
            report = simulate(source, path, measured, **options)
        finally:
            torch.set_num_threads(threads)
        results.append(path.read_bytes()[1024:])
    assert report.tiles > 1
    assert results[0] == results[1] == results[2]


def test_noise_from_a_tomogram_is_as_strong_as_its_own(tmp_path, measured):
    random = np.random.default_rng(0)
    faint, strong = (
        profile_of_tomogram(
            write(tmp_path / f"{factor}.mrc", np.float32(blurred)), measured, "bright"
        )
        for factor in (1, 4)
        for blurred in [density((24, 48, 48)) * 3 / factor + random.standard_normal((24, 48, 48))]
    )
    assert strong.variance > 1.3 * faint.variance and strong.structure < faint.structure
    assert profile_of_tomogram(tmp_path / "1.mrc", make_model(), "bright") is None
