"""Adapting a denoiser to tomograms: no clean domain, kept, gone on with, and it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import dual_core
from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.networks.card import ModelCard, read_card
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config, save_denoiser
from dual_core.noise_model.calibration import LinearModel
from dual_core.tasks.denoise import DenoiseOptions
from dual_core.tasks.denoising import adapt
from dual_core.tasks.denoising.adapt import MODEL, RECORD, adapted_model
from dual_core.volumes.reading import write_volume

SIDE = 48


def truth(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    points = np.zeros((SIDE,) * 3, dtype=np.float32)
    points[tuple(random.integers(4, SIDE - 4, (3, 20)))] = 1.0
    density = gaussian_filter(points, 2.5)
    return density / density.std()


def tomogram(folder: Path, seed: int = 0, side: int = SIDE) -> Path:
    path = folder / f"t{seed}.mrc"
    noise = np.random.default_rng(100 + seed).standard_normal((SIDE,) * 3)
    write_volume(path, (0.7 * truth(seed) + noise).astype(np.float32)[:side], 10.0)
    return path


@pytest.fixture
def model() -> DualModel:
    """A denoiser that has learnt next to nothing: a blur of its input."""
    torch.manual_seed(0)
    config = NetworkConfig(channels=(4, 6), output_filter=True)
    model = DualModel(config, ModelCard(10.0, "bright", plain_config(config), task="denoise"))
    optimiser = torch.optim.Adam(model.denoiser.parameters(), 1e-2)
    for _ in range(60):
        volume = torch.randn(1, 1, 32, 32, 32)
        blurred = torch.nn.functional.avg_pool3d(volume, 3, 1, 1)
        loss = (model.denoiser(volume) - blurred).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Each look at the clock is a second later: what a minute is does not hang on the CPU."""
    now = [0.0]

    def monotonic() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(adapt.time, "monotonic", monotonic)
    return now


@pytest.fixture
def white(monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear model at once, for tests that do not ask how good the result is."""
    grid = np.ones((32, 32, 17), dtype=np.float32)
    found = LinearModel(0.6 * grid, 0.8 * grid, (), "blocks", grid)
    monkeypatch.setattr(adapt, "own_linear_model", lambda *given: found)


def correlation(model: DualModel, path_seed: int) -> float:
    noise = np.random.default_rng(100 + path_seed).standard_normal((SIDE,) * 3)
    volume = 0.7 * truth(path_seed) + noise
    volume = ((volume - volume.mean()) / volume.std()).astype(np.float32)
    with torch.no_grad():
        found = model.denoiser(torch.from_numpy(volume)[None, None])[0, 0].numpy()
    return float(np.corrcoef(found.ravel(), truth(path_seed).ravel())[0, 1])


def run(model: DualModel, sources: List[Path], folder: Path, minutes: float, **more) -> DualModel:
    options = DenoiseOptions(contrast="bright")
    return adapted_model(model, sources, folder, minutes, options, "cpu", "hash", **more)


def test_tomograms_teach_the_denoiser(tmp_path, model, clock) -> None:
    sources = [tomogram(tmp_path, seed) for seed in (0, 1)]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = run(model, sources, tmp_path, 1.2)
    # Also of a tomogram that it was not adapted to: it has not learnt them by heart.
    for seed in (0, 2):
        assert correlation(adapted, seed) > correlation(model, seed) + 0.05
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), "the model that was given stays as it is"


def test_it_is_kept_and_gone_on_with(tmp_path, model, clock, white) -> None:
    sources = [tomogram(tmp_path)]
    first = run(model, sources, tmp_path, 0.1)
    kept = DualModel.load(tmp_path / MODEL)
    volume = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(kept.denoiser(volume), first.denoiser(volume))
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["minutes_done"] >= 0.1
    again = run(model, sources, tmp_path, 0.1, resume=True)
    assert torch.equal(again.denoiser(volume), first.denoiser(volume)), "nothing was left to do"
    longer = run(model, sources, tmp_path, 0.2, resume=True)
    assert not torch.equal(longer.denoiser(volume), first.denoiser(volume))
    assert json.loads((tmp_path / RECORD).read_text())["steps"] > record["steps"]


@pytest.mark.parametrize("change", ["model", "tomograms", "cut"])
def test_of_another_model_or_other_tomograms_it_begins_anew(
    tmp_path, model, clock, white, change
) -> None:
    sources = [tomogram(tmp_path)]
    run(model, sources, tmp_path, 0.2)
    path = tmp_path / RECORD
    record = json.loads(path.read_text())
    record.update({"model": "other"} if change == "model" else {"tomograms": ["x.mrc"]})
    path.write_text(json.dumps(record)[: 20 if change == "cut" else None])
    steps = record["steps"]
    run(model, sources, tmp_path, 0.1, resume=True)
    assert json.loads(path.read_text())["steps"] < steps


def test_a_thin_tomogram_is_one_line(tmp_path, model) -> None:
    with pytest.raises(DualError, match="too thin to adapt to"):
        run(model, [tomogram(tmp_path, side=20)], tmp_path, 0.1)


def test_a_tomogram_that_cannot_be_used_is_left_out(tmp_path, model, clock, white, caplog) -> None:
    broken, good = tmp_path / "broken.mrc", tomogram(tmp_path)
    broken.write_bytes(good.read_bytes()[:5000])
    thin = tomogram(tmp_path, seed=1, side=20)
    run(model, [broken, good, thin], tmp_path, 0.05)
    left_out = [line for line in caplog.messages if line.startswith("left out of the adaptation")]
    assert len(left_out) == 2 and str(broken) in left_out[0] and str(thin) in left_out[1]
    assert (tmp_path / MODEL).is_file()


def test_the_command_adapts_and_denoises(tmp_path, model, clock, white, capsys) -> None:
    source, path, output = tomogram(tmp_path), tmp_path / "m.safetensors", tmp_path / "out"
    save_denoiser(model.denoiser, model.card, path)
    arguments = ["denoise", "--model", str(path), str(source), "--output", str(output)]
    arguments += ["--contrast", "bright", "--device", "cpu", "--adapt", "0.05"]
    assert main(arguments) == 0
    assert (output / "t0_denoised.mrc").is_file()
    assert read_card(output / MODEL).denoises_only
    assert main([*arguments, "--shard", "1/2"]) == 2
    assert "--adapt and --shard exclude each other" in capsys.readouterr().err


def test_the_command_may_adapt_only(tmp_path, model, clock, white, capsys) -> None:
    source, path, output = tomogram(tmp_path), tmp_path / "m.safetensors", tmp_path / "out"
    save_denoiser(model.denoiser, model.card, path)
    arguments = ["denoise", "--model", str(path), str(source), "--output", str(output)]
    arguments += ["--contrast", "bright", "--device", "cpu", "--adapt-only"]
    assert main(arguments) == 2
    assert "--adapt-only needs --adapt MIN" in capsys.readouterr().err
    assert main([*arguments, "--adapt", "0.05"]) == 0
    assert sorted(one.name for one in output.iterdir()) == [RECORD, MODEL]


def test_the_python_function_takes_arrays(tmp_path, model, clock, white) -> None:
    array = (0.7 * truth() + np.random.default_rng(1).standard_normal((SIDE,) * 3)).astype("f4")
    found = dual_core.adapt(
        [array, tomogram(tmp_path)], model, minutes=0.05, voxel_size_A=10.0, contrast="bright",
        output=tmp_path / "kept",
    )
    assert found.card.denoises_only
    assert (tmp_path / "kept" / MODEL).is_file()
    with pytest.raises(DualError, match="has no voxel size"):
        dual_core.adapt(array, model)
