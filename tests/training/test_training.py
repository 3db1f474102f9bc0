"""The training run: exact resume, stopping, faults, what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard, read_card
from dual_core.networks.generators import NetworkConfig, UNet
from dual_core.networks.model import DualModel, plain_config
from dual_core.training.config import TrainingConfig, load_config, preset_config, save_config
from dual_core.training.data import open_training_data
from dual_core.training.loop import OF_VERSION, RunOptions, TrainingResult, as_begun, train
from dual_core.training.monitor import read_history
from dual_core.training.rehearsal import share_gradient
from dual_core.training.session import Session
from dual_core.training.step import Batch, Trainer
from dual_core.volumes.reading import open_volume, write_volume

TINY = NetworkConfig(
    channels=(4, 6),
    noise_channels=(4, 4),
    code_size=5,
    noise_side=16,
    discriminator_channels=(4, 6),
)
OPTIONS = RunOptions(device="cpu", precision="float32", previews=0, log_every=1)


def config(**changes: Any) -> TrainingConfig:
    values: Dict[str, Any] = {
        "iterations": 6, "patch": 16, "batch": 2, "network": TINY, "contrast": "dark",
        "clean_contrast": "bright", "rehearsals": 1, "code_pool": 6,
    }
    return TrainingConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """A tomogram of one small cell and the grand model of another."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    paths = {}
    for name in ("tomogram", "grand_model"):
        seeds = np.zeros((32, 48, 48), dtype=np.float32)
        seeds[tuple(random.integers(0, side, 60) for side in seeds.shape)] = 1.0
        density = gaussian_filter(seeds, 1.5) * 30
        if name == "tomogram":
            density = -density + random.standard_normal(density.shape).astype(np.float32)
        paths[name] = folder / f"{name}.mrc"
        write_volume(paths[name], density.astype(np.float32), 10.0)
    return paths


def run(
    data: Dict[str, Path],
    folder: Path,
    settings: Optional[TrainingConfig] = None,
    options: RunOptions = OPTIONS,
    **arguments: Any,
) -> TrainingResult:
    return train(
        [data["tomogram"]], [data["grand_model"]], folder, settings or config(), options,
        **arguments,
    )


def weights(folder: Path) -> Dict[str, torch.Tensor]:
    return DualModel.load(folder / "model.safetensors").state_dict()


class Interrupt:
    """Stops a run with a signal after some iterations."""

    def __init__(self, after: int, number: int) -> None:
        self.after, self.number = after, number

    def __call__(self, done: int, total: int, values: Dict[str, float]) -> None:
        if done == self.after:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("method", ["stable", "paper"])
@pytest.mark.parametrize("memory_budget", [2 << 30, 1000])
def test_resumed_run_gives_identical_weights(
    data: Dict[str, Path], tmp_path: Path, method: str, memory_budget: int
) -> None:
    settings = config(method=method)
    if method == "paper":
        settings = config(
            method=method, calibration_weight=0.0, rehearsals=0, generator_rehearsals=0,
            clean_cycle_share=1.0, noisy_cycle_share=1.0, clean_adversarial_share=1.0,
        )
    options = replace(OPTIONS, memory_budget=memory_budget)
    run(data, tmp_path / "whole", settings, options)
    first = run(
        data, tmp_path / "halves", settings, options, progress=Interrupt(3, signal.SIGTERM)
    )
    assert (first.iterations, first.finished, first.reason) == (3, False, "SIGTERM")
    second = run(data, tmp_path / "halves", settings, options, resume=True)
    assert second.finished
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    histories = [read_history(tmp_path / name) for name in ("whole", "halves")]
    for entry in (*histories[0], *histories[1]):
        entry.pop("seconds")
    assert histories[0] == histories[1]


def test_another_seed_gives_other_weights(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path / "a", config(iterations=2))
    run(data, tmp_path / "b", config(iterations=2, seed=1))
    one, two = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert any(not torch.equal(one[name], two[name]) for name in one)


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


def test_sigint_keeps_a_model_and_says_how_to_go_on(data: Dict[str, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path, progress=Interrupt(2, signal.SIGINT))
    assert (result.iterations, result.reason) == (2, "SIGINT")
    assert read_card(tmp_path / "model.safetensors").iterations == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_runs_outside_the_main_thread(data: Dict[str, Path], tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run(data, tmp_path, config(iterations=1)))
    )
    thread.start()
    thread.join()
    assert results[0].finished


def test_time_limit_leaves_a_model_to_go_on_from(data: Dict[str, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path, options=replace(OPTIONS, time_limit_min=1e-6))
    assert result.reason == "time limit"
    assert 0 < result.iterations < 6
    assert run(data, tmp_path, resume=True).finished


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path, progress=Interrupt(3, signal.SIGTERM))
    before = weights(tmp_path)
    step = Trainer.step

    def broken(self: Trainer, *arguments: Any) -> Dict[str, float]:
        return {**step(self, *arguments), "loss": float("nan")}

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises(DualError, match="not finite at iteration 4.*--resume"):
        run(data, tmp_path, resume=True)
    monkeypatch.undo()
    for name, weight in weights(tmp_path).items():
        assert torch.equal(weight, before[name])
    assert run(data, tmp_path, resume=True).finished


def test_a_batch_that_is_not_finite_changes_no_weight(data: Dict[str, Path]) -> None:
    settings = config()
    found = open_training_data([data["tomogram"]], [data["grand_model"]], settings)
    session = Session(found, settings, torch.device("cpu"), False)
    before = {name: value.clone() for name, value in session.trainer.model.state_dict().items()}
    batch = session.draws.next().batch
    values = session.trainer.step(batch._replace(density=batch.density * float("inf")), 0.0)
    assert not np.isfinite(list(values.values())).all()
    for name, value in session.trainer.model.state_dict().items():
        if "standardise" not in name and "_u" not in name and "_v" not in name:
            assert torch.equal(value, before[name]), name


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


def test_resume_refuses_another_training(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path, config(iterations=2))
    with pytest.raises(DualError, match="another seed"):
        run(data, tmp_path, config(iterations=2, seed=7), resume=True)
    with pytest.raises(DualError, match="no checkpoint"):
        run(data, tmp_path / "elsewhere", resume=True)


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


def test_voxel_sizes_are_brought_together(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path, config(iterations=1, noisy_voxel_size_A=12.0, voxel_size_A=8.0))
    assert read_card(tmp_path / "model.safetensors").voxel_size_A == 8.0


def test_volume_smaller_than_a_patch_is_one_line(data: Dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DualError, match="smaller --patch"):
        run(data, tmp_path, config(patch=48, network=replace(TINY, noise_side=48)))


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


# Tasks --------------------------------------------------------------------------------------


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


def without_memory(monkeypatch: pytest.MonkeyPatch, most: int, first: int = 0) -> None:
    """From call `first` on there is no memory for batches of more than `most` patches."""
    generate = Trainer._generate
    calls = []

    def limited(self: Trainer, batch: Any) -> Any:
        calls.append(len(batch.tomogram))
        if len(calls) > first and len(batch.tomogram) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(self, batch)

    monkeypatch.setattr(Trainer, "_generate", limited)


def test_without_memory_half_the_batch_goes_on(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line says so; the checkpoint keeps it, and a resumed run is that of an unbroken one."""
    settings = config(batch=4, settle_from=1.0)
    without_memory(monkeypatch, most=1, first=2)
    whole = run(data, tmp_path / "whole", settings)
    assert whole.finished
    lines = [one.message for one in caplog.records if "out of memory" in one.message]
    assert lines == [
        "out of memory on cpu with a batch of 4 at iteration 3; going on with 2",
        "out of memory on cpu with a batch of 2 at iteration 3; going on with 1",
    ]
    entries = read_history(tmp_path / "whole")
    assert [entry["iteration"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    monkeypatch.undo()
    without_memory(monkeypatch, most=1, first=2)
    run(data, tmp_path / "halves", settings, progress=Interrupt(3, signal.SIGTERM))
    monkeypatch.undo()  # with memory enough for the whole batch again, which stays small
    assert run(data, tmp_path / "halves", settings, resume=True).finished
    for name, weight in weights(tmp_path / "whole").items():
        assert torch.equal(weight, weights(tmp_path / "halves")[name]), name


def test_without_memory_for_one_patch_there_is_one_line(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_memory(monkeypatch, most=0)
    with pytest.raises(DualError, match="out of memory on cpu with a batch of 1; give"):
        run(data, tmp_path, config(batch=2))


def test_other_errors_of_torch_are_no_lack_of_memory(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(Trainer, "_generate", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(data, tmp_path)


def test_the_preset_for_a_gpu_has_the_tiles_of_the_others() -> None:
    """Wider networks, of the same reach; patches that the linear model's blocks are larger than."""
    small, large = preset_config("standard"), preset_config("gpu")
    networks = [UNet(one.network.channels, one.network.stem_stride) for one in (small, large)]
    assert networks[0].receptive_radius == networks[1].receptive_radius
    assert networks[0].multiple == networks[1].multiple == large.multiple
    assert large.patch == large.network.noise_side == 64
    assert large.network.output_filter and preset_config("gpu", patch=96).network.noise_side == 96
    assert preset_config("gpu", "paper").network.channels == (16, 32, 64)


def test_drawing_ahead_changes_nothing(data: Dict[str, Path]) -> None:
    """Neither the weights nor where the draws stand, though the thread is one iteration ahead."""
    found = []
    for beside in (False, True):
        settings = config(recorrupted_from=0.0)
        opened = open_training_data([data["tomogram"]], [data["grand_model"]], settings)
        session = Session(opened, settings, torch.device("cpu"), False)
        with session.drawing_ahead() if beside else contextlib.nullcontext():
            for _ in range(3):
                session.iterate()
            if beside:
                wait_for_draws(session, 4)
            tensors, values = session._draws()
        found.append((session.trainer.weights(), tensors, values))
    assert session.draws.generator.bit_generator.state != found[1][2]["generator"]
    assert found[0][2] == found[1][2]
    assert found[0][1].keys() == found[1][1].keys()
    for name, tensor in found[0][1].items():
        assert torch.equal(tensor, found[1][1][name]), name
    for one, other in zip(found[0][0], found[1][0]):
        assert torch.equal(one, other)


def wait_for_draws(session: Session, iteration: int) -> None:
    end = time.monotonic() + 60.0
    while session.draws.iteration < iteration:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_moments_from_a_checkpoint_lie_as_the_weights_do(
    data: Dict[str, Path], tmp_path: Path
) -> None:
    """A fused step goes through them in the order of the memory."""
    run(data, tmp_path, config(iterations=1))
    opened = open_training_data([data["tomogram"]], [data["grand_model"]], config())
    session = Session(opened, config(), torch.device("cpu"), False)
    session.restore(tmp_path)
    moments = session.trainer.generator_optimiser.state
    assert any(not weight.is_contiguous() for weight in moments)
    for weight, entry in moments.items():
        assert entry["exp_avg"].stride() == entry["exp_avg_sq"].stride() == weight.stride()


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
