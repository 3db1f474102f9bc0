"""Whatever a file holds where a number or a word should be: one short line that names the field."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
import torch

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, network_config, plain_config
from dual_core.safety.checks import checked, one_of, within_bounds
from dual_core.safety.limits import Bounds
from dual_core.training.config import load_config, preset_config, save_config

SMALL = NetworkConfig(
    channels=(4, 8), stem_stride=1, generator_refinement=2, noise_channels=(4, 8), code_size=4,
    noise_side=16, discriminator_channels=(4, 8), discriminator_scales=1,
)
CARD = ModelCard(voxel_size_A=10.0, contrast="bright", network=plain_config(SMALL))
WRONG: Dict[str, List[Any]] = {
    "voxel_size_A": [0, None, "10", [10], 1e308, -1, True, 1e-30, math.nan],
    "contrast": ["Bright", "", None, 3, ["bright"]],
    "noisy_contrast": ["DARK", 0],
    "clean_deviation": [0, -1, None, "1", 1e300],
    "clean_mean": ["text", None, 1e39, {}],
    "tilt_range_deg": ["-60 60", 60, [60], [60, -60], [-60, 1e9], [None, 60]],
    "iterations": [-1, 1.5, "many", 10**30],
    "network": [None, [], "net", {"channels": float("inf")}],
    "noisy_domain": [None, {}, [3], [{"shape": "big"}], [{"name": 3}], [{"voxel_size_A": 0}]],
    "format_version": [None, "1", 1e999, 10**5000, -1, 0, [1], True],
    "task": [3, "\0", "x" * 10**6],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) else "number",
)
def test_a_wrong_field_of_a_card_is_named(name, value):
    if isinstance(value, int) and value > 10**40:
        text = CARD.to_json().replace('"format_version": 1', '"format_version": ' + "1" * 5000)
    else:
        text = json.dumps({**dataclasses.asdict(CARD), name: value})
    with pytest.raises(DualError) as caught:
        ModelCard.from_json(text, "m.safetensors")
    message = str(caught.value)
    assert "m.safetensors" in message
    assert "\n" not in message
    assert len(message) < 400
    if name != "format_version" and text.find("Infinity") < 0 and text.find("NaN") < 0:
        assert name in message or "a volume" in message


def test_a_whole_card_comes_back_and_unknown_fields_are_ignored():
    values = {**dataclasses.asdict(CARD), "new_field": [1, {"a": 2}]}
    assert ModelCard.from_json(json.dumps(values)) == CARD


@pytest.mark.parametrize(
    "change",
    [
        {"channels": [20000, 20000]}, {"channels": []}, {"channels": [4] * 40},
        {"discriminator_scales": 2**40}, {"noise_side": 1e308}, {"noise_side": 3},
        {"code_size": "many"}, {"unknown": 1}, {"stem_stride": 0}, {"spectral_norm": 1},
        {"channels": [4096] * 8},
    ],
    ids=str,
)
def test_networks_of_absurd_size_are_refused_before_they_are_built(tmp_path, change, monkeypatch):
    path = tmp_path / "model.safetensors"
    DualModel(SMALL, CARD).save(path)
    DualModel.load(path)
    network = {**plain_config(SMALL), **change}
    DualModel(SMALL, dataclasses.replace(CARD, network=network)).save(path)
    monkeypatch.setattr(DualModel, "__init__", lambda *_: pytest.fail("built"))
    with pytest.raises(DualError, match="model.safetensors"):
        DualModel.load(path)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_model_of_zeros_or_of_no_numbers_is_refused(tmp_path, value):
    model = DualModel(SMALL, CARD)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter.fill_(value)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(DualError, match="denoiser"):
        DualModel.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [("iterations: 500", "iterations: many"), ("betas:", "beta:"), ("seed: 0", "seed: [0]"),
     ("stem_stride: 2", "stem_stride: 99"), ("batch: 4", "batch: 0"),
     ("method: stable", "method: none"), ("network:", "network: 3\nrest:")],
    ids=lambda change: change[1][:20],
)
def test_a_wrong_training_configuration_is_named(tmp_path, change):
    path = tmp_path / "config.yaml"
    config = preset_config("standard")
    save_config(config, path)
    assert load_config(path) == config
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(DualError, match="config.yaml"):
        load_config(path)


@dataclass(frozen=True)
class Sample:
    """Every kind of annotation that is used."""

    name: str
    share: float = field(default=0.5, metadata=within_bounds(Bounds(0, 1)))
    kind: str = field(default="a", metadata=one_of("a", "b"))
    sides: Tuple[int, ...] = ()
    pair: Optional[Tuple[float, float]] = None
    facts: Dict[str, Any] = field(default_factory=dict)
    inner: Optional[List[Dict[str, float]]] = None


def test_the_right_values_pass_as_json_gives_them():
    made = checked(
        Sample,
        {"name": "µ", "sides": [1, 2], "pair": [1, 2], "facts": {"x": [1]}, "inner": [{"a": 1}]},
        "here",
    )
    assert made == Sample("µ", sides=(1, 2), pair=(1.0, 2.0), facts={"x": [1]}, inner=[{"a": 1.0}])


def random_value(random: np.random.Generator, depth: int = 0) -> Any:
    """Something that JSON or Python could hold, of any kind."""
    kind = int(random.integers(11 if depth < 3 else 8))
    if kind < 8:
        return [
            None, True, 0, -(10**40), 10**5000, math.inf, "\ud800\0\n" * int(random.integers(99)),
            float(random.normal() * 10.0 ** int(random.integers(-300, 300))),
        ][kind]
    parts = [random_value(random, depth + 1) for _ in range(int(random.integers(4)))]
    return parts if kind == 8 else {str(kind) * number: part for number, part in enumerate(parts)}


def test_nothing_but_a_short_line_comes_of_random_values():
    random = np.random.default_rng(5)
    for _ in range(1000):
        values: Dict[str, Any] = {
            entry.name: random_value(random)
            for entry in dataclasses.fields(Sample)
            if random.random() < 0.7
        }
        try:
            made = checked(Sample, values, "here")
        except DualError as error:
            assert len(str(error)) < 500
            assert "\n" not in str(error)
        else:
            assert 0 <= made.share <= 1
            assert made.kind in ("a", "b")


def test_network_configuration_refuses_what_it_does_not_know():
    with pytest.raises(DualError, match="unknown"):
        network_config({**plain_config(SMALL), "x" * 5000: 1})
