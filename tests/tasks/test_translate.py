"""Properties of translation between two experimental domains (section 2.4)."""


import mrcfile
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.tasks.translate import TranslateOptions, make_translation_runner, translate_tomogram  # noqa: E402
from dual_core.volumes.described.describe import describe  # noqa: E402
from dual_core.volumes.reading import open_volume  # noqa: E402

SHAPE = (16, 24, 28)


def make_model(task="translate", noisy_contrast="dark"):
    torch.manual_seed(1)
    config = NetworkConfig(
        channels=(2, 3),
        noise_channels=(2, 2),
        code_size=4,
        noise_side=8,
        discriminator_channels=(2, 2),
    )
    card = ModelCard(
        voxel_size_A=10.0,
        contrast="bright",
        network=plain_config(config),
        task=task,
        clean_mean=77.0,
        clean_deviation=55.0,
        noisy_contrast=noisy_contrast,
    )
    return DualModel(config, card).eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


def tomogram(seed=0):
    random = np.random.default_rng(seed)
    noise = random.normal(size=SHAPE)
    noise[4:9, 5:12, 6:14] += 6
    return noise.astype(np.float32)


def write(path, array, voxel_size_A=10.0, origin=(1, 2, 3)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array.astype(np.float32))
        file.voxel_size = voxel_size_A
        file.header.origin = origin
    return path


def read(path):
    with mrcfile.open(path) as file:
        return np.array(file.data, dtype=np.float32)


def translate(source, output, model, direction, **options):
    code = options.pop("code", None)
    options.setdefault("contrast", "bright")
    runner = make_translation_runner(model, direction, "cpu", "float32")
    return translate_tomogram(
        source, output, model, runner, TranslateOptions(direction, **options), code
    )


@pytest.mark.parametrize("direction, contrast", [("to-clean", 1), ("to-noisy", -1)])
def test_each_tomogram_has_its_own_gain_and_the_result_the_contrast_of_the_other_domain(
        tmp_path, model, direction, contrast):
    plain = write(tmp_path / "a.mrc", tomogram())
    other = write(tmp_path / "b.mrc", -40 * tomogram() + 1000)
    translate(plain, tmp_path / "x.mrc", model, direction)
    found = read(tmp_path / "x.mrc")
    # The noise is that of the voxels, which are not the same: take one code and compare roughly.
    translate(other, tmp_path / "y.mrc", model, direction, contrast="dark")
    again = read(tmp_path / "y.mrc")
    if direction == "to-clean":
        np.testing.assert_allclose(again, found, atol=1e-3 * found.std())
    else:
        # An untrained generator passes density and noise on: density is where it was.
        box = (slice(4, 9), slice(5, 12), slice(6, 14))
        for result in (found, again):
            assert contrast * (result[box].mean() - result.mean()) > 0
    assert abs(found).max() < 50
    with mrcfile.open(tmp_path / "y.mrc") as file:
        assert file.header.origin.tolist() == (1, 2, 3) and file.data.shape == SHAPE
        np.testing.assert_allclose(float(file.voxel_size.x), 10.0, rtol=1e-5)


def test_the_networks_are_those_of_the_directions(tmp_path, model):
    source = write(tmp_path / "t.mrc", tomogram())
    dn = make_translation_runner(model, "to-clean", "cpu", "float32")
    gs = make_translation_runner(model, "to-noisy", "cpu", "float32")
    assert dn.network is model.denoiser and gs.network is model.structural_generator
    with pytest.raises(DualError, match="runner"):
        translate_tomogram(source, tmp_path / "o.mrc", model, dn, TranslateOptions("to-noisy"))
    for wrong in ({"direction": "x"}, {"units": "x"}, {"contrast": "x"}):
        with pytest.raises(DualError):
            TranslateOptions(**{"direction": "to-clean", **wrong})


def test_units_of_the_input(tmp_path, model):
    source = write(tmp_path / "t.mrc", 40 * tomogram() + 1000)
    translate(source, tmp_path / "s.mrc", model, "to-noisy")
    translate(source, tmp_path / "i.mrc", model, "to-noisy", units="input")
    found = describe(open_volume(source)).statistics
    np.testing.assert_allclose(
        read(tmp_path / "i.mrc"),
        read(tmp_path / "s.mrc") * found.std + found.mean,
        rtol=1e-3,
    )


def test_seeds_and_codes(tmp_path, model):
    source = write(tmp_path / "t.mrc", tomogram())

    def result(**options):
        translate(source, tmp_path / "o.mrc", model, "to-noisy", **options)
        return read(tmp_path / "o.mrc").tobytes()

    first = result()
    assert result() == first != result(seed=1)
    assert result(code=np.full(4, 2.0, np.float32)) != first


def test_the_command(tmp_path, model, dual):
    path = tmp_path / "model.safetensors"
    model.save(path)
    source = write(tmp_path / "t.mrc", tomogram())
    noise = write(tmp_path / "n.mrc", np.cumsum(tomogram(1), axis=2))
    base = ("translate", "--model", path, source, "--device", "cpu", "--contrast", "bright")
    for direction in ("to-clean", "to-noisy"):
        output = tmp_path / direction
        status, said = dual(*base, "--direction", direction, "--output", output)
        assert status == 0 and "warning" not in said, said
        ends = ("jsonl", "yaml", "status.json")
        names = {"t_translated.mrc", *(f"translate.{end}" for end in ends)}
        assert {p.name for p in output.iterdir()} == names
        status, said = dual(*base, "--direction", direction, "--output", output, "--resume")
        assert status == 0 and said.count("skipped") == 1
    plain = (tmp_path / "to-noisy" / "t_translated.mrc").read_bytes()
    options = ("--noise-from", noise, "--noise-contrast", "bright", "--output", tmp_path / "n")
    assert dual(*base, "--direction", "to-noisy", *options)[0] == 0
    assert (tmp_path / "n" / "t_translated.mrc").read_bytes() != plain
    status, said = dual(*base, "--direction", "to-clean", *options)
    assert status == 2 and said.count("\n") == 1 and "--noise-from" in said
    status, said = dual(*base, "--output", tmp_path / "o")
    assert status == 2 and said.count("\n") == 1 and "--direction" in said


@pytest.mark.parametrize("direction, word", [("to-clean", "denoise"), ("to-noisy", "simulate")])
def test_a_model_of_grand_models_is_warned_of(tmp_path, dual, direction, word):
    path = tmp_path / "model.safetensors"
    make_model("denoise+simulate").save(path)
    source = write(tmp_path / "t.mrc", tomogram())
    status, said = dual("translate", "--model", path, source, "-q", "--contrast", "bright",
                        "--direction", direction, "--output", tmp_path / "o", "--device", "cpu")
    assert status == 0 and said.count("\n") == 1 and f"dual {word}" in said
