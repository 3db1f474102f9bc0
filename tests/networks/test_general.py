"""The model that comes with the package: it is there, it is small, it denoises and nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.networks import card as card_module
from dual_core.networks.card import GENERAL, ModelCard, model_file, read_card
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config, save_denoiser
from dual_core.volumes.reading import write_volume

LARGEST = 6_000_000  # bytes
WHOLE = os.fspath(model_file(GENERAL))


@pytest.fixture(scope="module")
def general() -> DualModel:
    return DualModel.load(GENERAL)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation of its own; empty."""
    monkeypatch.setattr(card_module, "__file__", str(tmp_path / "card.py"))
    return tmp_path


def test_it_is_found_by_its_name_and_small() -> None:
    path = Path(model_file(GENERAL))
    assert path.is_file()
    assert path.stat().st_size <= LARGEST
    assert read_card(GENERAL) == read_card(path)


def test_a_file_of_that_name_is_given_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("general").write_bytes(b"something else")
    assert read_card(GENERAL).denoises_only
    with pytest.raises(DualError, match="not a DUAL model"):
        read_card("./general")


def test_its_card_says_what_it_has_seen(general: DualModel) -> None:
    card = general.card
    assert card.denoises_only
    assert card.iterations > 0
    assert card.voxel_sizes_A is not None
    low, high = card.voxel_sizes_A
    assert low < card.voxel_size_A < high


def test_it_finds_structure_in_noise(general: DualModel) -> None:
    random = np.random.default_rng(0)
    points = np.zeros((64, 64, 64), dtype=np.float32)
    points[tuple(random.integers(10, 54, (3, 12)))] = 1.0
    truth = gaussian_filter(points, 3.0)
    truth /= truth.max()
    tomogram = truth / truth.std() * 0.4 + random.standard_normal(truth.shape)
    tomogram = ((tomogram - tomogram.mean()) / tomogram.std()).astype(np.float32)
    with torch.no_grad():
        found = general.denoiser(torch.from_numpy(tomogram)[None, None])[0, 0].numpy()
    before, after = (
        np.corrcoef(volume.ravel(), truth.ravel())[0, 1] for volume in (tomogram, found)
    )
    assert after > before + 0.3


@pytest.mark.parametrize(
    "given, used", [(3.0, 7.0), (7.0, 7.0), (11.3, 11.3), (16.0, 16.0), (40.0, 16.0)]
)
def test_voxel_sizes_within_its_range_are_not_resampled(given: float, used: float) -> None:
    card = ModelCard(10.0, "bright", {}, voxel_sizes_A=(7.0, 16.0))
    assert card.working_voxel_size_A(given) == used
    assert replace(card, voxel_sizes_A=None).working_voxel_size_A(given) == 10.0


def test_without_the_file_one_line_says_so(installation: Path) -> None:
    with pytest.raises(DualError, match="general model is missing from this installation"):
        read_card(GENERAL)


@pytest.mark.parametrize("kept", [0, 7, 3000, 500_000])
def test_a_damaged_file_is_one_line(installation: Path, kept: int) -> None:
    with open(WHOLE, "rb") as whole:
        (installation / "general.safetensors").write_bytes(whole.read(kept))
    with pytest.raises(DualError) as caught:
        DualModel.load(GENERAL)
    assert "\n" not in str(caught.value)





@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_denoiser_alone_is_saved_and_read(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(channels=(3, 4), output_filter=True)
    card = ModelCard(10.0, "bright", plain_config(config), task="denoise")
    model = DualModel(config, card)
    path = tmp_path / "model.safetensors"
    save_denoiser(model.denoiser, card, path, dtype)
    again = DualModel.load(path)
    assert not hasattr(again, "structural_generator")
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        first, second = model.denoiser(volume), again.denoiser(volume)
    assert second.dtype == torch.float32
    error = float((first - second).square().mean() / first.var())
    assert error <= (1e-12 if dtype is torch.float32 else 1e-3)


@pytest.mark.parametrize("command", ["simulate", "translate"])
def test_what_needs_other_networks_is_refused_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, command: str
) -> None:
    volume = tmp_path / "t.mrc"
    write_volume(volume, np.random.default_rng(0).standard_normal((32, 32, 32)), 10.0)
    arguments = {
        "simulate": ["simulate"],
        "translate": ["translate", "--direction", "to-noisy"],
    }[command]
    arguments += ["--model", GENERAL, str(volume), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip()
    assert "denoises only" in told
    assert "\n" not in told


def test_info_shows_its_card(capsys: pytest.CaptureFixture) -> None:
    assert main(["info", GENERAL]) == 0
    assert "voxel_sizes_A" in capsys.readouterr().out


def test_halves_are_judged_with_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    random = np.random.default_rng(1)
    structure = gaussian_filter(random.standard_normal((48, 48, 48)), 2.5)
    halves = [tmp_path / f"{name}.mrc" for name in ("even", "odd")]
    for path in halves:
        noise = random.standard_normal(structure.shape)
        write_volume(path, (structure / structure.std() + 1.5 * noise).astype(np.float32), 10.0)
    arguments = ["evaluate", "halves", "--model", GENERAL, *map(str, halves)]
    assert main([*arguments, "--contrast", "bright", "--device", "cpu"]) == 0
    assert "half coherence" in capsys.readouterr().out.lower()
