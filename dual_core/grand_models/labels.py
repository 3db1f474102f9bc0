"""Particle lists: what lies where, as CSV and RELION STAR."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from dual_core import particles as lists
from dual_core.grand_models.orientations import euler_angles
from dual_core.particles import write_text

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
    """Write the molecules as a RELION STAR file, as `dual_core.particles.write_star` explains it.

    Membranes, gold and filaments are left out: they are not particles to average.

    Parameters
    ----------
    path : pathlib.Path
    particles : sequence of Particle
    tomogram_name : str
    shape : tuple of int
        ``(z, y, x)`` of the grand model.
    """
    molecules = [particle for particle in particles if particle.kind == "molecule"]
    angles = [particle.euler_deg for particle in molecules]
    columns = {f"rlnAngle{name}": [f"{angle[at]:.3f}" for angle in angles]
               for at, name in enumerate(("Rot", "Tilt", "Psi"))}
    lists.write_star(
        path,
        tomogram_name,
        np.array([particle.centre_voxel for particle in molecules]).reshape(-1, 3),
        molecules[0].voxel_size_A if molecules else 0.0,
        shape,
        {**columns,
         "rlnClassNumber": [particle.class_number for particle in molecules],
         "rlnObjectNumber": [particle.instance for particle in molecules]},
    )
