"""What a training changes and leaves behind: networks, outputs, the model's card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Dict

import numpy as np
import pytest
import torch
from tiny_training import OPTIONS, TINY, config, run, weights

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard, read_card
from dual_core.networks.model import DualModel, plain_config
from dual_core.training.config import preset_config
from dual_core.training.data import open_training_data
from dual_core.training.monitor import read_history
from dual_core.training.rehearsal import share_gradient
from dual_core.training.session import Session
from dual_core.training.step import Batch, Trainer


def test_every_network_is_trained(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path / "short", config(iterations=1))
    run(data, tmp_path / "long", config(iterations=1), replace(OPTIONS))
    torch.manual_seed(0)
    untrained = weights(tmp_path / "short")
    run(data, tmp_path / "more", config(iterations=8, average_decay=0.0))
    trained = weights(tmp_path / "more")
    for network in (
        "denoiser", "structural_generator", "noise_encoder", "noise_decoder",
        "noisy_discriminator", "clean_discriminator",
    ):
        names = [name for name in trained if name.startswith(network) and "weight" in name]
        assert names
        assert any(not torch.equal(trained[name], untrained[name]) for name in names), network


def test_outputs_and_card(data: Dict[str, Path], tmp_path: Path) -> None:
    options = replace(OPTIONS, previews=1, snapshots=2)
    run(data, tmp_path, config(tilt_range_deg=(-50.0, 70.0)), options)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "model.safetensors", "config.yaml", "history.jsonl", "checkpoint/state.safetensors",
        "checkpoint/state.json", "previews/slices_0000006.png", "previews/spectra_0000006.png",
        "snapshots/model_0000003.safetensors", "snapshots/model_0000006.safetensors",
    } <= names
    card = read_card(tmp_path / "model.safetensors")
    assert (card.voxel_size_A, card.contrast, card.iterations) == (10.0, "bright", 6)
    assert card.noisy_domain[0]["name"] == "tomogram.mrc"
    assert card.tilt_range_deg == (-50.0, 70.0)
    entries = read_history(tmp_path)
    assert [entry["iteration"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    for term in ("loss_density", "loss_tomogram", "loss_adversarial_t", "loss_noise_code"):
        assert all(np.isfinite(entry[term]) for entry in entries)
    assert str(tmp_path) not in json.dumps(card.noisy_domain)


def test_voxel_sizes_are_brought_together(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path, config(iterations=1, noisy_voxel_size_A=12.0, voxel_size_A=8.0))
    assert read_card(tmp_path / "model.safetensors").voxel_size_A == 8.0


def test_volume_smaller_than_a_patch_is_one_line(data: Dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DualError, match="smaller --patch"):
        run(data, tmp_path, config(patch=48, network=replace(TINY, noise_side=48)))


def test_share_gradient_keeps_values_and_scales_gradients() -> None:
    volume = torch.randn(5, requires_grad=True)
    for share in (0.0, 0.3, 1.0, 4.0):
        shared = share_gradient(volume, share)
        assert torch.allclose(shared, volume)
        if share:
            (gradient,) = torch.autograd.grad(shared.sum(), volume)
            assert torch.allclose(gradient, torch.full((5,), share))
        else:
            assert not shared.requires_grad


def test_rehearsals_of_gs_train_gs_alone(data: Dict[str, Path]) -> None:
    opened = open_training_data([data["tomogram"]], [data["grand_model"]], config())
    session = Session(opened, config(), torch.device("cpu"), False)
    before = {name: value.clone() for name, value in session.trainer.model.state_dict().items()}
    block = opened.simulator.draw_block(np.random.default_rng(0))
    code = torch.zeros(1, TINY.code_size)
    arrays = [None if a is None else torch.from_numpy(a) for a in block.to_simulate]
    losses = [session.trainer.rehearsals.generator(*arrays, code) for _ in range(8)]
    assert losses[-1] < losses[0]
    after = session.trainer.model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"structural_generator"}


@pytest.mark.parametrize("progress, trains_gs", [(0.5, True), (0.9, False)])
def test_towards_the_end_gs_learns_from_its_rehearsals_alone(
    data: Dict[str, Path], progress: float, trains_gs: bool
) -> None:
    opened = open_training_data([data["tomogram"]], [data["grand_model"]], config())
    session = Session(opened, config(), torch.device("cpu"), False)
    model = session.trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    session.trainer.step(session.draws.next().batch, progress)
    after = model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert ("structural_generator" in changed) is trains_gs
    assert {"denoiser", "noise_encoder", "noise_decoder"} <= changed


@pytest.mark.parametrize("method", ["stable", "paper"])
def test_only_the_u_nets_see_bfloat16(method: str) -> None:
    """torch's weight gradients of 2 x 2 x 2 maps in bfloat16 are of memory never written."""
    patch = 16 if method == "paper" else 24
    small = preset_config("quick", method, patch=patch, batch=1)
    torch.manual_seed(0)
    model = DualModel(small.network, ModelCard(10.0, "bright", plain_config(small.network)))
    seen: Dict[str, set] = {}
    for name, layer in model.named_modules():
        of = name.split(".")[0]
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_hook(
                lambda _, given, made, of=of: seen.setdefault(of, set()).add(
                    (made.dtype, min(given[0].shape[2:]) > 2)
                )
            )
    volume = torch.randn(1, 1, patch, patch, patch)
    code = torch.randn(1, small.network.code_size)
    Trainer(model, small, bfloat16=True).step(
        Batch(volume, volume, volume, code, volume if method == "stable" else None), 0.0
    )
    for name in ("denoiser", "structural_generator"):
        assert (torch.bfloat16, True) in seen[name]
        assert (torch.bfloat16, False) not in seen[name]
    for name in ("noise_encoder", "noise_decoder", "noisy_discriminator", "clean_discriminator"):
        assert {kind for kind, _ in seen[name]} == {torch.float32}
