"""The examples are short and do what they say, on tiny data: run as their readers run them."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import dual_core  # noqa: E402
from dual_core.networks.model import DualModel  # noqa: E402
from dual_core.training import config as configuration  # noqa: E402
from dual_core.volumes.reading import open_volume, write_volume  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LONGEST = 25
SMALL = {"(64, 128, 128)": "(24, 40, 40)", "(64, 96, 96)": "(32, 40, 40)", "nm=50": "nm=20"}
PDB = "ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"


def run(name: str, tmp_path: Path, *arguments: object) -> None:
    """Run a copy in which cells are smaller; everything else is as in the file."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for large, small in SMALL.items():
        text = text.replace(large, small)
    script = tmp_path / name
    script.write_text(text, encoding="utf-8")
    before = sys.argv
    sys.argv = [str(script), *map(str, arguments)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before


def model_file(folder: Path) -> Path:
    from dataclasses import asdict

    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig

    torch.manual_seed(0)
    network = NetworkConfig(
        channels=(3, 4), stem_stride=2, noise_channels=(2, 4), code_size=5, noise_side=16,
        discriminator_channels=(2, 4), discriminator_scales=1, spectral_norm=False,
    )
    card = ModelCard(10.0, "bright", asdict(network), clean_mean=0.02, clean_deviation=0.1)
    DualModel(network, card).save(folder / "model.safetensors")
    return folder / "model.safetensors"


def tomogram_file(folder: Path) -> Path:
    random = np.random.default_rng(0)
    volume = random.normal(size=(24, 40, 40)).astype(np.float32)
    volume[8:14, 10:16, 20:26] -= 4
    write_volume(folder / "tomo.mrc", volume, 10.0)
    return folder / "tomo.mrc"


def test_all_are_here_and_short():
    files = sorted(EXAMPLES.glob("*.py"))
    assert len(files) == 5
    assert all(len(f.read_text(encoding="utf-8").splitlines()) <= LONGEST for f in files)
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{f.name}"' in tested for f in files)


def test_denoise_an_array(tmp_path, capsys):
    model, tomogram = model_file(tmp_path), tomogram_file(tmp_path)
    run("denoise_an_array.py", tmp_path, tomogram, model, tmp_path / "out.mrc")
    expected = dual_core.denoise(tomogram, model, strength=0.9).array
    assert np.array_equal(open_volume(tmp_path / "out.mrc").load(), expected)
    assert "density is dark" in capsys.readouterr().out


def test_train_and_denoise(tmp_path, monkeypatch, capsys):
    # The preset with a run of one iteration: what is tested is the way through, not the model.
    quick = {
        "iterations": 1, "patch": 24, "batch": 1, "calibration_weight": 0.0, "rehearsals": 0,
        "generator_rehearsals": 0, "recorrupted": 0,
    }
    monkeypatch.setitem(configuration._PRESETS, "quick", quick)
    monkeypatch.setitem(os.environ, "PRESET", "quick")
    run("train_and_denoise.py", tmp_path, tmp_path, tomogram_file(tmp_path))
    assert open_volume(tmp_path / "tomo_denoised.mrc").load().std() > 0
    assert len(list((tmp_path / "cells").glob("grand_model_*.mrc"))) == 3
    assert "tomo_denoised.mrc: density dark" in capsys.readouterr().out


def test_labelled_training_set(tmp_path, capsys):
    run("labelled_training_set.py", tmp_path, model_file(tmp_path), tmp_path / "set", 2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    for line in lines[:4]:
        tomogram, mask, particles = line.split()
        one, other = open_volume(tomogram), open_volume(mask)
        assert one.shape == other.shape and set(np.unique(other.load())) - {0}
        assert len(Path(particles).read_text().splitlines()) > 1
    assert not np.array_equal(*(open_volume(line.split()[0]).load() for line in lines[:2]))


def test_clean_domain_from_pdb(tmp_path, capsys):
    pytest.importorskip("gemmi")
    random = np.random.default_rng(0)
    atoms = [
        PDB.format(n=n, x=x, y=y, z=z)
        for n, (x, y, z) in enumerate(random.uniform(-25, 25, (900, 3)), start=1)
    ]
    (tmp_path / "enzyme.pdb").write_text("\n".join([*atoms, "END", ""]))
    run("clean_domain_from_pdb.py", tmp_path, tmp_path / "cells", tmp_path / "enzyme.pdb")
    assert "enzyme" in capsys.readouterr().out
    for number in (0, 1):
        assert open_volume(tmp_path / "cells" / f"grand_model_{number}.mrc").load().max() > 0.1


def test_scores_against_a_truth(tmp_path, capsys):
    run("scores_against_a_truth.py", tmp_path, model_file(tmp_path))
    raw, denoised, picks = capsys.readouterr().out.splitlines()
    assert raw.startswith("raw") and denoised.startswith("denoised") and "precision" in picks
