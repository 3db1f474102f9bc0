"""Atomic models (PDB, mmCIF) to density, through gemmi."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np

from dual_core.errors import DualError

ATOMIC_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
_HYDROGEN_DALTON = 1.008


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise DualError("atomic models need the package gemmi: install it with "
                        "pip install 'scipion-em-dual[molecules]'") from error
    return gemmi


def _check_pdb_coordinates(path: Path) -> None:
    """Refuse a PDB file with unreadable coordinates (gemmi takes them for zero)."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.startswith(("ATOM  ", "HETATM")):
                continue
            try:
                values = [float(line[at:at + 8]) for at in (30, 38, 46)]
            except ValueError:
                values = [math.nan]
            if not all(math.isfinite(value) for value in values):
                raise DualError(f"{path}: broken atomic model, line {number} has no readable "
                                "coordinates; download the file again")


def _read(path: Path) -> Any:
    gemmi = _gemmi()
    names = path.name[:-3] if path.name.endswith(".gz") else path.name
    try:
        if not names.lower().endswith((".cif", ".mmcif")):
            _check_pdb_coordinates(path)
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DualError(f"{path}: broken atomic model ({reason}); "
                        "download the file again") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise DualError(f"{path}: broken atomic model, it holds no atoms; "
                        "download the file again")
    return structure


def _assemble(structure: Any, path: Path, assembly: Optional[str]) -> Tuple[Any, str]:
    gemmi = _gemmi()
    structure.setup_entities()
    structure.remove_alternative_conformations()
    structure.remove_waters()
    structure.remove_empty_chains()
    if assembly == "none" or (assembly is None and not structure.assemblies):
        return structure[0], "as in the file"
    known = [item.name for item in structure.assemblies]
    wanted = known[0] if assembly is None else assembly
    if wanted not in known:
        raise DualError(f"{path}: has no biological assembly {wanted!r}; it has "
                        f"{', '.join(known) or 'none (set assembly: none)'}")
    model = gemmi.make_assembly(structure.assemblies[known.index(wanted)], structure[0],
                                gemmi.HowToNameCopiedChain.Short)
    return model, f"biological assembly {wanted}"


def _mass_dalton(model: Any) -> float:
    """Mass of a model; hydrogens that an X-ray model leaves out are added residue by residue."""
    gemmi = _gemmi()
    mass = float(model.calculate_mass())
    if model.has_hydrogen():
        return mass
    hydrogens = 0
    for chain in model:
        for residue in chain:
            known = gemmi.find_tabulated_residue(residue.name)
            # Two of them left as water when the residue joined its chain.
            hydrogens += max(0, int(known.hydrogen_count) - 2)
    return mass + _HYDROGEN_DALTON * hydrogens


def atomic_density(path: Path, voxel_size_A: float, sigma_A: float,
                   assembly: Optional[str] = None) -> Tuple[np.ndarray, float, str]:
    """Density of an atomic model on a cubic grid.

    The biological assembly is built, waters and alternative conformations are left out, and
    every atom is drawn with its electron scattering factor (International Tables C,
    table 4.3.2.2), blurred to the resolution; the whole is scaled to the molecule's mass.

    Parameters
    ----------
    path : pathlib.Path
        PDB or mmCIF file, gzipped or not.
    voxel_size_A, sigma_A : float
        Spacing of the grid and Gaussian blur that stands for the resolution.
    assembly : str, optional
        Name of the biological assembly; ``None`` for the first, ``"none"`` for the file's atoms.

    Returns
    -------
    density : numpy.ndarray
        ``(z, y, x)`` float64, odd sides, Da/A3.
    mass_kDa : float
    note : str
        Which assembly was taken.

    Raises
    ------
    DualError
        If gemmi is missing, the file is broken or the assembly unknown.
    """
    gemmi = _gemmi()
    model, note = _assemble(_read(path), path, assembly)
    mass = _mass_dalton(model)
    atoms = [atom for chain in model for residue in chain for atom in residue]
    if not atoms:
        raise DualError(f"{path}: broken atomic model, nothing but water in it; "
                        "give another file")
    positions = np.array([atom.pos.tolist() for atom in atoms])
    middle = 0.5 * (positions.min(axis=0) + positions.max(axis=0))
    reach = float(np.abs(positions - middle).max()) + 4.0 * sigma_A + 6.0
    half = int(math.ceil(reach / voxel_size_A))
    side = 2 * half + 1
    edge_A = side * voxel_size_A
    b_factor = 8.0 * math.pi ** 2 * sigma_A ** 2
    for atom, position in zip(atoms, positions - middle + half * voxel_size_A):
        atom.pos = gemmi.Position(*position)
        atom.b_iso = b_factor
        atom.aniso = gemmi.SMat33f(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    calculator = gemmi.DensityCalculatorE()
    calculator.grid.set_unit_cell(gemmi.UnitCell(edge_A, edge_A, edge_A, 90.0, 90.0, 90.0))
    calculator.grid.spacegroup = gemmi.SpaceGroup("P1")
    calculator.grid.set_size(side, side, side)
    calculator.add_model_density_to_grid(model)
    # gemmi's grid is indexed (x, y, z).
    density = np.array(calculator.grid.array, dtype=np.float64).transpose(2, 1, 0)
    density = np.clip(density, 0.0, None)
    total = float(density.sum()) * voxel_size_A ** 3
    if not total > 0.0:
        raise DualError(f"{path}: broken atomic model, its atoms have no density; "
                        "check the element column")
    return density * (mass / total), mass / 1000.0, note
