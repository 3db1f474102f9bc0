"""Particle lists as files: CSV with units in the column names, and RELION STAR.

Positions are ``(z, y, x)`` in memory; a position in voxels is 0 at the centre of the first voxel,
one in angstrom is the same times the voxel size.

STAR
----
One table, without a table of optics before it: RELION reads coordinates from the first table of a
file (3.1: ``relion_preprocess``, 5: ``relion_tomo_import_particles``).

* RELION 3.1 takes ``rlnMicrographName`` and ``rlnCoordinateX/Y/Z``, in voxels of this tomogram.
* RELION 5 takes ``rlnTomoName`` and ``rlnCenteredCoordinateX/Y/ZAngst`` where a table has them: in
  angstrom from the tomogram's middle, which is half its size (``ParticleSet::
  getParticleCoordDecenteredPixel`` adds half the size of the tomogram, not rounded).
* RELION 4 takes ``rlnCoordinateX/Y/Z`` in pixels of the tilt series: multiply them by the binning.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.particles.tables import (
    ANGSTROM,
    CENTRED,
    LARGEST,
    VOXEL,
    csv_columns,
    numbers,
    star_columns,
)
from dual_core.safety.documents import read_small_text
from dual_core.safety.leftovers import temporary_name
from dual_core.safety.shown import printable

PathLike = Union[str, Path]
Columns = Mapping[str, Sequence[object]]


@dataclass(frozen=True)
class ParticleList:
    """Positions read from a file, and what else it says of them.

    Attributes
    ----------
    path : pathlib.Path
    voxels, angstroms : ndarray, (n, 3), optional
        ``(z, y, x)``; None where the file does not have them.
    columns : dict of name to list of str
        All columns as they are in the file, a STAR file's under the names that our CSV has.
    """

    path: Path
    voxels: Optional[np.ndarray]
    angstroms: Optional[np.ndarray]
    columns: Dict[str, List[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        one = self.voxels if self.voxels is not None else self.angstroms
        return 0 if one is None else len(one)

    @property
    def voxel_size_A(self) -> Optional[float]:
        """From positions that are there in voxels and in angstrom; else None."""
        if self.voxels is None or self.angstroms is None:
            return None
        squares = float((self.voxels**2).sum())
        return float((self.voxels * self.angstroms).sum()) / squares if squares > 0 else None

    def positions_A(self, voxel_size_A: Optional[float] = None) -> np.ndarray:
        """Positions in angstrom, ``(n, 3)``; the voxel size is for files that have voxels only.

        Raises
        ------
        DualError
            The file has voxels only and no voxel size is given.
        """
        if self.angstroms is not None:
            return self.angstroms
        if self.voxels is None or voxel_size_A is None:
            raise DualError(f"{self.path}: positions in voxels only; give --voxel-size A")
        return self.voxels * voxel_size_A

    def scores(self) -> Optional[np.ndarray]:
        """Scores of the picks, ``(n,)``, or None.

        Raises
        ------
        DualError
            A score that is not a number.
        """
        if "score_sigmas" not in self.columns:
            return None
        return numbers(self.path, self.columns, ("score_sigmas",))[:, 0]

    def of_class(self, wanted: str) -> ParticleList:
        """Those whose column ``class`` or ``name`` is ``wanted``.

        Raises
        ------
        DualError
            No such column or no such particle.
        """
        told = [self.columns[key] for key in ("class", "name") if key in self.columns]
        if not told:
            raise DualError(f"{self.path}: no column 'class' or 'name'; leave --class out")
        keep = np.array([wanted in values for values in zip(*told)], dtype=bool)
        if not keep.any():
            known = ", ".join(sorted({value for values in told for value in values}))
            raise DualError(f"{self.path}: no particle of class '{wanted}'; there are: {known}")
        return ParticleList(
            self.path,
            None if self.voxels is None else self.voxels[keep],
            None if self.angstroms is None else self.angstroms[keep],
            {name: [v for v, k in zip(values, keep) if k] for name, values in self.columns.items()},
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises
    ------
    DualError
        When the disk is full or the folder cannot be written.
    """
    temporary = temporary_name(path)
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(temporary, path)
    except OSError as error:
        raise DualError(
            f"{path} cannot be written ({error.strerror}); free disk space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_csv(path: PathLike, columns: Columns) -> None:
    """Write columns of equal length, numbers as they are formatted by ``str``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values()))
    write_text(Path(path), text.getvalue())


def position_columns(voxels: np.ndarray, voxel_size_A: float) -> Dict[str, List[str]]:
    """The columns of a CSV that hold positions ``(n, 3)``, in voxels and in angstrom."""
    placed = np.asarray(voxels, dtype=np.float64)
    columns = {name: placed[:, axis] for axis, name in enumerate(VOXEL)}
    columns.update({name: placed[:, axis] * voxel_size_A for axis, name in enumerate(ANGSTROM)})
    return {name: [f"{value:.3f}" for value in values] for name, values in columns.items()}


def write_star(
    path: PathLike,
    tomogram_name: str,
    voxels: np.ndarray,
    voxel_size_A: float,
    shape: Tuple[int, int, int],
    columns: Optional[Columns] = None,
) -> None:
    """Write positions as a STAR file for RELION 3.1 and RELION 5; see the top of this module.

    Parameters
    ----------
    path : path
    tomogram_name : str
        For ``rlnTomoName`` and ``rlnMicrographName``; spaces become underscores.
    voxels : ndarray, (n, 3)
        ``(z, y, x)``, 0 at the centre of the first voxel.
    voxel_size_A : float
    shape : tuple of int
        ``(z, y, x)`` of the tomogram.
    columns : mapping of name to values, optional
        More columns, named as in RELION, without the underscore.
    """
    placed = np.asarray(voxels, dtype=np.float64).reshape(-1, 3)
    centred = (placed - np.array(shape) / 2) * voxel_size_A
    # A word of a STAR file, in characters that every program can read.
    name = re.sub(r"[\s\"'#]", "_", printable(tomogram_name))
    if re.match(r"_|loop_|data_|$", name):  # what begins a name of a column, or a table
        name = "t" + name
    number = len(placed)
    table: Dict[str, Sequence[object]] = {
        "rlnTomoName": [name] * number,
        "rlnMicrographName": [name] * number,
    }
    for at, axis in ((2, "X"), (1, "Y"), (0, "Z")):
        table[f"rlnCoordinate{axis}"] = [f"{value:.3f}" for value in placed[:, at]]
    for at, axis in ((2, "X"), (1, "Y"), (0, "Z")):
        table[f"rlnCenteredCoordinate{axis}Angst"] = [f"{value:.3f}" for value in centred[:, at]]
    table["rlnPixelSize"] = [f"{voxel_size_A:.6g}"] * number
    table.update(columns or {})
    lines = ["# version 30001", "", "data_particles", "", "loop_"]
    lines += [f"_{column} #{at}" for at, column in enumerate(table, start=1)]
    lines += [" ".join(map(str, row)) for row in zip(*table.values())]
    write_text(Path(path), "\n".join(lines) + "\n")


def read_particles(
    path: PathLike,
    shape: Optional[Tuple[int, int, int]] = None,
    voxel_size_A: Optional[float] = None,
) -> ParticleList:
    """Read a particle list, CSV or STAR by the end of its name.

    A CSV has the columns ``z_voxel, y_voxel, x_voxel`` or ``z_A, y_A, x_A`` or both; a STAR file
    ``rlnCoordinateX/Y/Z`` in voxels, of one tomogram. One of RELION 5 has only
    ``rlnCenteredCoordinateX/Y/ZAngst``, from the tomogram's middle, and needs the next two.

    Parameters
    ----------
    shape, voxel_size_A : of the tomogram, ``(z, y, x)`` and angstrom, where they are known.

    Raises
    ------
    DualError
        No such file, no such columns, values that are not numbers, several tomograms.
    """
    path = Path(path)
    try:
        text = read_small_text(path, LARGEST).lstrip("\ufeff")
    except OSError as error:
        raise DualError(
            f"{path}: cannot be read ({error.strerror}); give a CSV or STAR file"
        ) from error
    columns = star_columns(path, text) if path.suffix == ".star" else csv_columns(path, text)
    voxels = numbers(path, columns, VOXEL) if set(VOXEL) <= set(columns) else None
    angstroms = numbers(path, columns, ANGSTROM) if set(ANGSTROM) <= set(columns) else None
    if voxels is None and angstroms is None and set(CENTRED) <= set(columns):
        if shape is None or voxel_size_A is None:
            raise DualError(
                f"{path}: positions from the middle of the tomogram (RELION 5), and its size is "
                "not known; give --tomogram"
            )
        middle = np.array(shape) / 2 * voxel_size_A
        angstroms = numbers(path, columns, CENTRED) + middle
        voxels = angstroms / voxel_size_A
    if voxels is None and angstroms is None:
        raise DualError(
            f"{path}: no positions; it needs columns x_voxel, y_voxel, z_voxel or x_A, y_A, z_A "
            "(CSV), or rlnCoordinateX, Y and Z (STAR)"
        )
    return ParticleList(path, voxels, angstroms, columns)
