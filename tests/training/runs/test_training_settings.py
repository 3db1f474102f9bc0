"""Settings of a training: presets, YAML, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import pytest
from tiny_training import TINY, config

from dual_core.errors import DualError
from dual_core.networks.generators import UNet
from dual_core.training.config import load_config, preset_config, save_config
from dual_core.training.loop import OF_VERSION, as_begun


def test_a_run_keeps_the_length_that_its_preset_had(tmp_path: Path) -> None:
    standard = preset_config("standard")
    begun = replace(
        standard, iterations=801, rehearsals=3, recorrupted=0, measured_noise=False, seed=5
    )
    save_config(begun, tmp_path / "config.yaml")
    assert as_begun(standard, tmp_path) == replace(begun, seed=0)
    assert as_begun(preset_config("standard", iterations=900), tmp_path).iterations == 900
    assert as_begun(standard, tmp_path, given=["iterations"]).iterations == standard.iterations
    assert as_begun(preset_config("quick"), tmp_path) == preset_config("quick")
    (tmp_path / "config.yaml").write_text("iterations: many")
    assert as_begun(standard, tmp_path) == standard


def test_configuration_survives_yaml(tmp_path: Path) -> None:
    for settings in (
        preset_config("quick"), preset_config("standard", "paper"), config(tilt_range_deg=(-50, 70))
    ):
        save_config(settings, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    "changes",
    [{"patch": 20}, {"patch": 8}, {"iterations": 0}, {"learning_rate": -1.0}, {"method": "new"},
     {"network": replace(TINY, noise_side=32)}, {"contrast": "grey"}],
)
def test_settings_that_do_not_fit_are_refused(changes: Dict[str, Any]) -> None:
    with pytest.raises(DualError):
        config(**changes)


@pytest.mark.parametrize(
    "changes", [{}, {"task": "missing-wedge"}, {"task": "translate"}, {"method": "paper"}]
)
def test_presets_differ_in_length_only(changes: Dict[str, Any]) -> None:
    # In the steps that they take, not in the networks: their models denoise equally fast.
    quick, standard, thorough = (
        preset_config(name, **changes) for name in ("quick", "standard", "thorough")
    )
    assert quick.iterations < standard.iterations < thorough.iterations
    for one in (quick, thorough):
        same = {name: getattr(standard, name) for name in OF_VERSION}
        assert replace(one, preset="standard", **same) == standard


def test_only_denoising_has_pairs_to_rehearse_more_on() -> None:
    usual = preset_config("quick")
    for changes in ({"task": "missing-wedge"}, {"task": "translate"}, {"method": "paper"}):
        other = preset_config("quick", **changes)
        assert other.rehearsals < usual.rehearsals and other.iterations > usual.iterations


def test_the_preset_for_a_gpu_has_the_tiles_of_the_others() -> None:
    """Wider networks, of the same reach; patches that the linear model's blocks are larger than."""
    small, large = preset_config("standard"), preset_config("gpu")
    networks = [UNet(one.network.channels, one.network.stem_stride) for one in (small, large)]
    assert networks[0].receptive_radius == networks[1].receptive_radius
    assert networks[0].multiple == networks[1].multiple == large.multiple
    assert large.patch == large.network.noise_side == 64
    assert large.network.output_filter and preset_config("gpu", patch=96).network.noise_side == 96
    assert preset_config("gpu", "paper").network.channels == (16, 32, 64)
