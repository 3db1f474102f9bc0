"""`DualModel` in its file: the same outputs again, whole or absent, and nothing of it is run."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dual_core.errors import DualError
from dual_core.networks.card import CARD_KEY, ModelCard, read_card
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, network_config, plain_config, write_atomically
from dual_core.volumes.reading import write_volume

CONFIG = NetworkConfig(
    channels=(3, 4),
    stem_stride=2,
    noise_channels=(2, 3),
    code_size=4,
    noise_side=8,
    discriminator_channels=(2, 3),
    discriminator_scales=1,
    spectral_norm=False,
)


def make_model(seed: int = 0, **changes: Any) -> DualModel:
    torch.manual_seed(seed)
    config = dataclasses.replace(CONFIG, **changes)
    model = DualModel(config, ModelCard(10.0, "bright", plain_config(config), seed=seed))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def outputs(model: DualModel) -> Dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    volume = torch.randn(2, 1, 16, 16, 16, generator=generator)
    with torch.no_grad():
        code = model.noise_encoder(volume)
        found = {
            "code": code,
            "mask": model.noise_decoder(code),
            "denoised": model.denoiser(volume),
            "simulated": model.structural_generator(volume),
        }
        for name in ("noisy_discriminator", "clean_discriminator"):
            for number, logits in enumerate(getattr(model, name)(volume)):
                found[f"{name}.{number}"] = logits
    return found


# Round trip ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", ({}, {"stem_stride": 1}, {"spectral_norm": True, "discriminator_scales": 2})
)
def test_a_loaded_model_gives_identical_outputs(tmp_path, changes):
    model = make_model(**changes)
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = DualModel.load(path)
    assert not again.training
    assert again.card == model.card == read_card(path)
    assert again.config == model.config
    expected, found = outputs(model), outputs(again)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_the_six_networks_stand_under_the_names_of_the_paper(tmp_path):
    model = make_model()
    assert {name for name, _ in model.named_children()} == {
        "denoiser",
        "structural_generator",
        "noise_encoder",
        "noise_decoder",
        "noisy_discriminator",
        "clean_discriminator",
    }
    assert model.multiple == model.denoiser.multiple == 4
    assert model.receptive_radius == model.denoiser.receptive_radius


def test_the_same_model_makes_the_same_file(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    make_model().save(first)
    DualModel.load(first).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_network_configuration_makes_the_round_trip():
    assert network_config(plain_config(CONFIG)) == CONFIG
    assert all(not isinstance(value, tuple) for value in plain_config(CONFIG).values())


# Atomic writing -----------------------------------------------------------------------------


def disk_full(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ("replace", "fsync"))
def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch, failing):
    path = tmp_path / "model.safetensors"
    make_model(seed=1).save(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, disk_full)
        with pytest.raises(DualError) as caught:
            make_model(seed=2).save(path)
    assert "No space left" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name], "no temporary file stays"
    assert DualModel.load(path).card.seed == 1


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("where", ("nowhere/model.safetensors", "file/model.safetensors", "folder"))
def test_a_place_that_cannot_be_written_is_named(tmp_path, where):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DualError, match="cannot be written") as caught:
        make_model().save(tmp_path / where)
    assert where in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_new_model_replaces_the_old(tmp_path):
    path = tmp_path / "model.safetensors"
    make_model(seed=1).save(path)
    make_model(seed=2).save(path)
    assert DualModel.load(path).card.seed == 2
    assert os.listdir(tmp_path) == [path.name]


# What cannot be loaded ----------------------------------------------------------------------


def write_model(path: Path, card: Dict[str, Any], **weights: torch.Tensor) -> None:
    """A model file whose card or weights have been meddled with."""
    make_model().save(path)
    tensors = {**load_file(str(path)), **weights}
    whole = dataclasses.replace(read_card(path), **card)
    save_file(tensors, str(path), {CARD_KEY: whole.to_json()})


def truncated(path: Path) -> None:
    make_model().save(path)
    path.write_bytes(path.read_bytes()[:-200])


def too_long(path: Path) -> None:
    make_model().save(path)
    path.write_bytes(path.read_bytes() + b"more")


def further_weight(path: Path) -> None:
    write_model(path, {}, further=torch.zeros(3))


def weight_of_another_shape(path: Path) -> None:
    write_model(path, {}, **{"denoiser.head.bias": torch.zeros(77)})


def other_sizes(path: Path) -> None:
    write_model(path, {"network": {**plain_config(CONFIG), "channels": [5, 6]}})


def no_network(path: Path) -> None:
    write_model(path, {"network": {}})


def network_of_another_kind(path: Path) -> None:
    write_model(path, {"network": {"layers": 3}})


def network_is_a_list(path: Path) -> None:
    write_model(path, {"network": [1, 2]})


def network_of_words(path: Path) -> None:
    write_model(path, {"network": {**plain_config(CONFIG), "channels": "many"}})


def network_of_nothing(path: Path) -> None:
    write_model(path, {"network": {**plain_config(CONFIG), "noise_channels": []}})


def no_weights(path: Path) -> None:
    save_file({}, str(path), {CARD_KEY: make_model().card.to_json()})


@pytest.mark.parametrize(
    "make",
    (
        truncated,
        too_long,
        further_weight,
        weight_of_another_shape,
        other_sizes,
        no_network,
        network_of_another_kind,
        network_is_a_list,
        network_of_words,
        network_of_nothing,
        no_weights,
    ),
)
def test_a_damaged_model_is_refused(tmp_path, make: Callable[[Path], None]):
    path = tmp_path / "model.safetensors"
    make(path)
    with pytest.raises(DualError, match="damaged") as caught:
        DualModel.load(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


class Mischief:
    """Unpickled, it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self._trace,)


@pytest.mark.parametrize("write", ("pickle", "torch"))
def test_a_pickle_is_refused_and_never_run(tmp_path, write):
    path, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Mischief(trace)))
    else:
        torch.save({"weights": torch.zeros(3), "more": Mischief(trace)}, path)
    with pytest.raises(DualError, match="not a DUAL model"):
        DualModel.load(path)
    assert not trace.exists()


def test_tomograms_and_missing_files_are_refused(tmp_path):
    tomogram = tmp_path / "tomogram.mrc"
    write_volume(tomogram, np.random.default_rng(0).standard_normal((8, 8, 8)).astype("f4"), 10.0)
    with pytest.raises(DualError, match="not a DUAL model"):
        DualModel.load(tomogram)
    with pytest.raises(DualError, match="does not exist"):
        DualModel.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(DualError, match="folder"):
        DualModel.load(tmp_path)


def test_a_model_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, {"format_version": 99, "network": {"attention": True}})
    with pytest.raises(DualError, match="update DUAL"):
        DualModel.load(path)
