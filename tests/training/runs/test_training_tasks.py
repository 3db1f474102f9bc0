"""Tasks of a training: the missing wedge, translation, and what each needs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
from tiny_training import OPTIONS, Interrupt, config, weights

from dual_core.errors import DualError
from dual_core.networks.card import read_card
from dual_core.training.config import TrainingConfig
from dual_core.training.data import open_training_data
from dual_core.training.loop import train
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import open_volume, write_volume


def wedge_config(**changes: Any) -> TrainingConfig:
    return config(task="missing-wedge", tilt_range_deg=(-60.0, 60.0), **changes)


def test_missing_wedge_trains_on_tomograms_alone_and_resumes_exactly(
    data: Dict[str, Path], tmp_path: Path
) -> None:
    noisy = [data["tomogram"]]
    train(noisy, [], tmp_path / "whole", wedge_config(), OPTIONS)
    stop = Interrupt(3, signal.SIGTERM)
    train(noisy, [], tmp_path / "halves", wedge_config(), OPTIONS, progress=stop)
    train(noisy, [], tmp_path / "halves", wedge_config(), OPTIONS, resume=True)
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    card = read_card(tmp_path / "whole" / "model.safetensors")
    assert card.task == "missing-wedge" and card.tilt_range_deg == (-60.0, 60.0)
    # Results are in the tomogram's own units.
    assert (card.clean_mean, card.clean_deviation, card.contrast) == (0.0, 1.0, "bright")
    assert all("loss_rehearsal" in entry for entry in read_history(tmp_path / "whole"))


@pytest.mark.parametrize(
    "settings, with_clean, message",
    [
        (config(task="missing-wedge"), False, "--tilt-range"),
        (wedge_config(), True, "leave out --clean"),
        (config(), False, "give --clean"),
    ],
)
def test_a_task_says_what_it_needs(
    data: Dict[str, Path], settings: TrainingConfig, with_clean: bool, message: str
) -> None:
    clean = [data["grand_model"]] if with_clean else []
    with pytest.raises(DualError, match=message):
        open_training_data([data["tomogram"]], clean, settings)


def test_missing_wedge_exchanges_beam_and_x_whatever_the_tilt_axis(data: Dict[str, Path]) -> None:
    about_y = open_training_data([data["tomogram"]], [], wedge_config())
    about_x = open_training_data([data["tomogram"]], [], wedge_config(tilt_axis="x"))
    first, second = about_y.noisy.volumes[0].volume, about_y.clean.volumes[0].volume
    np.testing.assert_array_equal(second.load(), first.load().swapaxes(0, 2))
    turned = about_x.noisy.volumes[0].volume
    np.testing.assert_array_equal(turned.load(), first.load().swapaxes(1, 2))
    third = about_x.clean.volumes[0].volume
    np.testing.assert_array_equal(third.load(), turned.load().swapaxes(0, 2))


def test_translation_treats_both_domains_as_tomograms(
    data: Dict[str, Path], tmp_path: Path
) -> None:
    """Each is standardised by itself and never turned, which would move its wedge."""
    louder = tmp_path / "louder.mrc"
    volume = open_volume(data["tomogram"]).load()
    write_volume(louder, 7 * volume + 100, 10.0)
    settings = config(task="translate", clean_contrast="dark")
    found = open_training_data([data["tomogram"]], [louder, data["tomogram"]], settings)
    assert not found.clean.patches.turns and not found.clean.patches.skip_empty
    for entry in found.clean.volumes:
        block = entry.read((0, 0, 0), entry.volume.shape)
        assert abs(block.mean()) < 1e-3 and abs(block.std() - 1) < 1e-3
    result = train([data["tomogram"]], [louder], tmp_path / "run", settings, OPTIONS)
    assert read_card(result.model).task == "translate"
