"""A tomogram far from what a model was trained on is told of before the work, in one line."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.networks.card import ModelCard, TrainedRange, read_card  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.noise_model.domain.profile import facts_of, measure_range  # noqa: E402
from dual_core.tasks.domain_check import outside, warn_of_domain  # noqa: E402
from dual_core.volumes.interface import ArrayVolume  # noqa: E402
from dual_core.volumes.patches import StandardisedVolume  # noqa: E402
from dual_core.volumes.reading import write_volume  # noqa: E402

SHAPE = (48, 96, 96)


def tomogram(seed, noise=1.0, tilts=(-60, 60), smooth=0.0):
    """Blobs in noise without the missing wedge of `tilts`; in arbitrary units."""
    random = np.random.default_rng(seed)
    points = (random.random(SHAPE) > 0.9994).astype(np.float32)
    found = 160 * gaussian_filter(points, 2.5) + noise * random.standard_normal(SHAPE)
    found = gaussian_filter(found, smooth) if smooth else found
    spectrum = scipy.fft.rfftn(found)
    z, x = np.fft.fftfreq(SHAPE[0])[:, None, None], np.fft.rfftfreq(SHAPE[2])[None, None, :]
    angle = np.degrees(np.arctan2(z, x))
    spectrum[np.broadcast_to((angle < tilts[0]) | (angle > tilts[1]), spectrum.shape)] = 0
    return scipy.fft.irfftn(spectrum, s=SHAPE).astype(np.float32)


def entry(array, voxel_size_A=10.0):
    volume = ArrayVolume(array, voxel_size_A, "t.mrc")
    return StandardisedVolume(volume, float(array.mean()), float(array.std()))


@pytest.fixture(scope="module")
def card():
    known = measure_range([entry(tomogram(seed)) for seed in (0, 1)], [10.0, 10.5])
    return ModelCard(10.0, "bright", {}, trained_on=known)


def found_outside(card, array, voxel_size_A=10.0):
    return ", ".join(outside(card, facts_of(entry(array)), voxel_size_A))


@pytest.mark.parametrize("seed", [5, 6])
def test_tomograms_of_the_same_kind_are_passed(card, seed):
    assert found_outside(card, tomogram(seed)) == ""
    assert found_outside(card, 3 - 0.1 * tomogram(seed)) == ""  # another scale


@pytest.mark.parametrize(
    "changes, voxel_size_A, words",
    [
        ({"noise": 3.0}, 10.0, "times as strong"),
        ({"noise": 0.4}, 10.0, "less than half as strong"),
        ({"tilts": (-40, 40)}, 10.0, "tilt range"),
        ({"tilts": (-60, 30)}, 10.0, "tilt range"),
        ({"smooth": 1.0}, 10.0, "spectrum is another"),
        ({}, 20.0, "voxels are 20 A and not (10 to 10.5) A"),
        ({}, 5.0, "voxels are 5 A"),
    ],
)
def test_what_lies_outside_is_named(card, changes, voxel_size_A, words):
    assert words in found_outside(card, tomogram(7, **changes), voxel_size_A)


def test_one_line_names_all_of_it(card, caplog):
    array = tomogram(8, noise=3.0, tilts=(-40, 40))
    with caplog.at_level(logging.WARNING):
        warn_of_domain("t.mrc", card, entry(array), 20.0)
    (record,) = caplog.records
    for word in ("t.mrc", "voxels", "noise", "tilt range", "evaluate trust"):
        assert word in record.message
    assert "\n" not in record.message


def test_a_range_of_many_kinds_passes_all_of_them():
    kinds = [tomogram(0), tomogram(1, noise=3.0), tomogram(2, tilts=(-40, 40))]
    known = measure_range([entry(array) for array in kinds], [7.0, 10.0, 16.0])
    card = ModelCard(10.0, "bright", {}, trained_on=known)
    for array in (tomogram(5), tomogram(6, noise=3.0), tomogram(7, tilts=(-48, 48))):
        assert found_outside(card, array, 16.0) == ""
        assert found_outside(card, array, 7.0) == ""
    assert "voxels" in found_outside(card, tomogram(5), 4.0)
    assert "noise" in found_outside(card, tomogram(5, noise=0.4))


def test_cards_without_a_range_compare_the_voxel_size_alone(caplog):
    old = ModelCard(10.0, "bright", {})
    assert outside(old, facts_of(entry(tomogram(0, noise=5.0))), 11.0) == []
    assert len(outside(old, None, 13.0)) == 1


def test_tomograms_too_small_to_tell_are_passed(card):
    facts = facts_of(entry(tomogram(0)[:20]))
    assert facts == (None, None)
    assert outside(card, facts, 10.0) == []


def test_a_range_comes_back_from_a_card_and_new_fields_are_passed_over(card):
    text = card.to_json()
    assert ModelCard.from_json(text) == card
    assert ModelCard.from_json(text.replace('"misfit_dB"', '"later": 1, "misfit_dB"')) == card


@pytest.mark.parametrize(
    "name, value",
    [
        ("noise", [1.0]), ("noise", "loud"), ("noise_power", [1.0, 2.0]), ("noise_power", []),
        ("structure_power", ["a"] * 6), ("misfit_dB", -1), ("voxel_size_A", [0, 10]),
        ("smallest_tilt_deg", None), ("largest_tilt_deg", [60, 1e9]),
    ],
)
def test_wrong_ranges_are_named(card, name, value):
    values = {**dataclasses.asdict(card.trained_on), name: value}
    text = dataclasses.replace(card, trained_on=None).to_json()
    with pytest.raises(DualError, match="trained_on"):
        ModelCard.from_json(json.dumps({**json.loads(text), "trained_on": values}))


def test_training_writes_the_range_and_denoising_warns_before_the_work(tmp_path, capsys):
    part = (slice(0, 40), slice(0, 48), slice(0, 48))
    write_volume(tmp_path / "t.mrc", tomogram(0)[part], 10.0)
    write_volume(tmp_path / "loud.mrc", tomogram(1, noise=5.0)[part], 10.0)
    clean = np.zeros((40, 48, 48), np.float32)
    clean[::12, ::12, ::12] = 9
    write_volume(tmp_path / "g.mrc", gaussian_filter(clean, 2), 10.0)
    train = ["train", "--noisy", tmp_path / "t.mrc", "--clean", tmp_path / "g.mrc", "--output",
             tmp_path / "run", "--iterations", "1", "--patch", "24", "--batch", "1",
             "--device", "cpu", "--contrast", "bright", "--clean-contrast", "bright"]
    assert main([str(word) for word in train]) == 0
    model = tmp_path / "run" / "model.safetensors"
    known = read_card(model).trained_on
    assert isinstance(known, TrainedRange) and known.noise is not None
    assert known.voxel_size_A == (10.0, 10.0)
    capsys.readouterr()
    assert main(["denoise", str(tmp_path / "loud.mrc"), "--model", str(model), "--output",
                 str(tmp_path / "o"), "--device", "cpu", "--contrast", "bright"]) == 0
    told = capsys.readouterr().err.splitlines()
    (line,) = [number for number, line in enumerate(told) if "far from what" in line]
    assert "noise" in told[line]
    # Before the tiles are run.
    assert line < next(number for number, line in enumerate(told) if "1 tile" in line)


def test_noise_of_a_far_tomogram_is_warned_of_when_it_is_imitated(tmp_path, caplog, card):
    from dual_core.tasks.simulation.noise_codes import encode_tomogram

    network = NetworkConfig((4, 6), noise_channels=(4, 4), code_size=4, noise_side=16,
                            discriminator_channels=(4, 6))
    model = DualModel(network, dataclasses.replace(card, network=plain_config(network)))
    write_volume(tmp_path / "t.mrc", tomogram(3, noise=4.0), 10.0)
    with caplog.at_level(logging.WARNING):
        encode_tomogram(tmp_path / "t.mrc", model, "bright")
    assert [r for r in caplog.records if "far from what" in r.getMessage()]
