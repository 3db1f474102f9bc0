"""Particle lists: what lies where, as CSV and RELION STAR."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from dual_core.grand_models.orientations import euler_angles

CSV_COLUMNS = ("instance", "class", "name", "kind", "z_voxel", "y_voxel", "x_voxel",
               "z_A", "y_A", "x_A", "relion_rot_deg", "relion_tilt_deg", "relion_psi_deg",
               "mass_kDa")


@dataclass(frozen=True)
class Particle:
    """An object of a grand model.

    Attributes
    ----------
    instance : int
        Its number in the instance mask, from 1.
    class_number : int
        Its number in the class mask, from 1.
    name : str
        Class name.
    kind : str
        ``"molecule"``, ``"membrane"``, ``"gold"`` or ``"filament"``.
    centre_voxel : tuple of float
        ``(z, y, x)``; the centre of the first voxel is 0. The centre of mass of a molecule's
        density, the geometric centre of other things.
    voxel_size_A : float
    orientation : numpy.ndarray, optional
        Rotation matrix as in `orientations`; ``None`` for things without an orientation.
    mass_kDa : float
        0 for things without a known one.
    """

    instance: int
    class_number: int
    name: str
    kind: str
    centre_voxel: Tuple[float, float, float]
    voxel_size_A: float
    orientation: Optional[np.ndarray] = None
    mass_kDa: float = 0.0

    @property
    def centre_A(self) -> Tuple[float, float, float]:
        """``(z, y, x)`` in angstrom from the centre of the first voxel."""
        z, y, x = self.centre_voxel
        return z * self.voxel_size_A, y * self.voxel_size_A, x * self.voxel_size_A

    @property
    def euler_deg(self) -> Tuple[float, float, float]:
        """RELION rot, tilt, psi; zeros without an orientation."""
        return (0.0, 0.0, 0.0) if self.orientation is None else euler_angles(self.orientation)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()


def write_csv(path: Path, particles: Sequence[Particle]) -> None:
    """Write all particles as CSV, units in the column names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for particle in particles:
        numbers = particle.centre_voxel + particle.centre_A + particle.euler_deg
        writer.writerow([particle.instance, particle.class_number, particle.name, particle.kind,
                         *(f"{number:.3f}" for number in numbers), f"{particle.mass_kDa:.1f}"])
    write_text(path, text.getvalue())


def write_star(path: Path, particles: Sequence[Particle], tomogram_name: str,
               shape: Tuple[int, int, int]) -> None:
    """Write the molecules as a RELION STAR file (optics and particles).

    Membranes, gold and filaments are left out: they are not particles to average.
    Coordinates are in voxels of the grand model; the centred ones, as RELION 5 has them, are in
    angstrom from the volume's middle (the centre of voxel ``n / 2``, rounded down).

    Parameters
    ----------
    path : pathlib.Path
    particles : sequence of Particle
    tomogram_name : str
    shape : tuple of int
        ``(z, y, x)`` of the grand model.
    """
    molecules = [particle for particle in particles if particle.kind == "molecule"]
    voxel_size_A = molecules[0].voxel_size_A if molecules else 0.0
    middle = tuple(side // 2 for side in shape)
    lines = ["# version 50001", "", "data_optics", "", "loop_", "_rlnOpticsGroup #1",
             "_rlnOpticsGroupName #2", "_rlnImagePixelSize #3", "_rlnImageDimensionality #4",
             f"1 opticsGroup1 {voxel_size_A:.6g} 3", "", "# version 50001", "",
             "data_particles", "", "loop_"]
    columns = ["TomoName", "CoordinateX", "CoordinateY", "CoordinateZ", "CenteredCoordinateXAngst",
               "CenteredCoordinateYAngst", "CenteredCoordinateZAngst", "AngleRot", "AngleTilt",
               "AnglePsi", "ClassNumber", "ObjectNumber", "OpticsGroup"]
    lines += [f"_rln{column} #{number}" for number, column in enumerate(columns, start=1)]
    name = tomogram_name.replace(" ", "_")
    for particle in molecules:
        z, y, x = particle.centre_voxel
        centred = tuple((at - half) * particle.voxel_size_A
                        for at, half in zip((x, y, z), middle[::-1]))
        numbers = (x, y, z) + centred + particle.euler_deg
        lines.append(" ".join([name, *(f"{number:.3f}" for number in numbers),
                               str(particle.class_number), str(particle.instance), "1"]))
    write_text(path, "\n".join(lines) + "\n")
