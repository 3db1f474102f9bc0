"""What the demo makes and where, and the command lines that make the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from dual_core.grand_models.molecules.molecule_list import resolve_molecules
from dual_core.grand_models.pack import PackConfig
from dual_core.networks.card import GENERAL, MODEL_FILE
from dual_core.physics.config import SimulatorConfig
from dual_core.training.config import TrainingConfig, preset_config

VOXEL_SIZE_A = 10.0
PRESET = "quick"
PICTURES = ("first_look", "demo", "simulated", "spectra", "curves")


@dataclass(frozen=True)
class DemoScale:
    """How large the demo is; the defaults fit into 15 minutes on two CPU cores.

    Attributes
    ----------
    shape : of every cell, ``(z, y, x)``.
    clean_cells, noisy_cells : cells of each domain that are trained on. One more is projected
        and only tested on. No cell is in both domains.
    molecules : names of built-in molecules; all where empty.
    vesicles, vesicle_radius_nm, gold, gold_diameter_nm : in every cell. There is nothing else in
        it: few kinds of things are learnt in few minutes.
    tilt_step : degrees.
    training : changes to the ``quick`` preset.
    previews : pictures drawn while training.
    """

    shape: Tuple[int, int, int] = (64, 160, 160)
    clean_cells: int = 3
    noisy_cells: int = 2
    molecules: Tuple[str, ...] = ()
    vesicles: int = 2
    vesicle_radius_nm: Tuple[float, float] = (12.0, 24.0)
    gold: int = 3
    gold_diameter_nm: float = 8.0
    tilt_step: float = 3.0
    training: Dict[str, Any] = field(default_factory=dict)
    previews: int = 4


class DemoPlan:
    """Files, configurations and command lines of a demo.

    Attributes
    ----------
    clean : grand models of the clean domain.
    cells : grand models that are projected; the last is the truth of the test.
    tomograms : of the cells; the last is held out from training.
    first_look : the last tomogram, denoised by the general model.
    training_run : training directory, with ``model``.
    denoised : the last tomogram, denoised.
    simulated : another tomogram of the last cell; ``training_set`` tells of it and its labels.
    """

    def __init__(self, output: Path, seed: int, scale: DemoScale) -> None:
        self.output, self.seed, self.scale = output, seed, scale
        self.clean = _cells(output / "clean", scale.clean_cells)
        self.cells = _cells(output / "cells", scale.noisy_cells + 1)
        self.tomograms = [
            output / "tomograms" / f"{cell.stem}_tomogram.mrc" for cell in self.cells
        ]
        self.first_look = output / "first_look" / f"{self.tomograms[-1].stem}_denoised.mrc"
        self.training_run = output / "run"
        self.model = self.training_run / MODEL_FILE
        self.denoised = output / "denoised" / f"{self.tomograms[-1].stem}_denoised.mrc"
        self.simulated = output / "simulated" / f"{self.cells[-1].stem}_simulated_01.mrc"
        self.training_set = self.simulated.parent / "training_set.csv"
        self.scores = output / "scores.csv"
        self.report = output / "report.html"
        self.pictures = {name: output / f"{name}.png" for name in PICTURES}

    def pack_config(self, cells: Sequence[Path]) -> PackConfig:
        """How `cells`, one of the two sets, are packed."""
        scale = self.scale
        return PackConfig(
            molecules=tuple(resolve_molecules(scale.molecules)),
            shape=scale.shape,
            voxel_size_A=VOXEL_SIZE_A,
            vesicles=scale.vesicles,
            vesicle_radius_nm=scale.vesicle_radius_nm,
            gold=scale.gold,
            gold_diameter_nm=scale.gold_diameter_nm,
            seed=self._pack_seed(cells),
        )

    def pack_command(self, cells: Sequence[Path]) -> str:
        """The command line of `pack_config`."""
        scale = self.scale
        low, high = scale.vesicle_radius_nm
        molecules = f" --molecules {' '.join(scale.molecules)}" if scale.molecules else ""
        return (
            f"dual pack --output {cells[0].parent} --count {len(cells)} "
            f"--shape {' '.join(map(str, scale.shape))} --only-molecules "
            f"--vesicles {scale.vesicles} "
            f"--vesicle-radius {low:g} {high:g} --gold {scale.gold} "
            f"--gold-diameter {scale.gold_diameter_nm:g} --seed {self._pack_seed(cells)}{molecules}"
        )

    def simulator_config(self) -> SimulatorConfig:
        """How tomograms are simulated."""
        return SimulatorConfig(VOXEL_SIZE_A, tilt_step=self.scale.tilt_step)

    def project_command(self) -> str:
        """The command line of `simulator_config`."""
        low, high = self.simulator_config().tilt_range
        return (
            f"dual project {_names(self.cells)} --output {self.tomograms[0].parent} "
            f"--tilt-range {low:g} {high:g} {self.scale.tilt_step:g} --seed {self.seed}"
        )

    def first_look_command(self) -> str:
        """The command line that denoises the tomogram of the test without any training."""
        return (
            f"dual denoise --model {GENERAL} {self.tomograms[-1]} "
            f"--output {self.first_look.parent}"
        )

    def training_config(self) -> TrainingConfig:
        """What is trained."""
        return preset_config(PRESET, **{"seed": self.seed, **self.scale.training})

    def train_command(self) -> str:
        """The command line of `training_config`."""
        return (
            f"dual train --noisy {_names(self.tomograms[:-1])} --clean {_names(self.clean)} "
            f"--output {self.training_run} --preset {PRESET} --seed {self.seed}"
        )

    def denoise_command(self) -> str:
        """The command line that denoises the tomogram of the test."""
        return (
            f"dual denoise --model {self.model} {self.tomograms[-1]} "
            f"--output {self.denoised.parent}"
        )

    def simulate_command(self) -> str:
        """The command line that simulates another tomogram of the test's cell."""
        return (
            f"dual simulate --model {self.model} {self.cells[-1]} "
            f"--output {self.simulated.parent} --seed {self.seed}"
        )

    def score_command(self) -> str:
        """The command line that scores it, with pictures."""
        return (
            f"dual evaluate volumes --truth {self.cells[-1]} {self.tomograms[-1]} "
            f"{self.denoised} --output {self.output / 'evaluation'}"
        )

    def report_command(self) -> str:
        """The command line of the page with everything on it."""
        return (
            f"dual report {self.training_run} --tomograms {self.tomograms[-1]} "
            f"--truth {self.cells[-1]} --denoised {self.denoised} --no-trust "
            f"--output {self.report}"
        )

    def _pack_seed(self, cells: Sequence[Path]) -> int:
        # Even and odd, so that no two sets of any two demos are the same cells.
        return 2 * self.seed + (1 if cells is self.cells else 0)


def _cells(folder: Path, count: int) -> List[Path]:
    return [folder / f"grand_model_{number}.mrc" for number in range(count)]


def _names(paths: Sequence[Path]) -> str:
    return " ".join(map(str, paths))
