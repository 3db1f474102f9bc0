"""Atomic models (PDB, mmCIF) to density, through gemmi."""

from __future__ import annotations

import gzip
import logging
import math
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from scipy.spatial import cKDTree

from dual_core.errors import DualError
from dual_core.safety.limits import COORDINATE_A, MOST_MOLECULE, check_voxels
from dual_core.safety.open_files import open_regular
from dual_core.safety.shown import printable

logger = logging.getLogger(__name__)

ATOMIC_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
_HYDROGEN_DALTON = 1.008
WATER_DALTON = 18.015  # leaves a residue when it joins its chain
SAME_PLACE_A = 3.0  # nearer than atoms of two molecules come to each other
NO_ALTERNATE = "\0"
# Beside HOH and DOD, which gemmi knows.
WATERS = frozenset(("SOL", "WAT", "H2O", "TIP", "TIP2", "TIP3", "TIP4", "TIP5", "TP3", "TP4",
                    "T3P", "T4P", "SPC", "OH2"))


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
    os.close(open_regular(path))
    names = path.name[:-3] if path.name.endswith(".gz") else path.name
    try:
        if not names.lower().endswith((".cif", ".mmcif")):
            _check_pdb_coordinates(path)
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError, OSError, EOFError) as error:
        reason = printable(str(error).splitlines()[0], 200) if str(error) else type(error).__name__
        raise DualError(f"{path}: broken atomic model ({reason}); "
                        "download the file again") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise DualError(f"{path}: broken atomic model, it holds no atoms; "
                        "download the file again")
    return structure


def _assemble(structure: Any, path: Path, assembly: Optional[str]) -> Tuple[Any, str]:
    """The atoms to draw, and how they were chosen."""
    gemmi = _gemmi()
    structure.setup_entities()
    best_conformers(structure)
    remove_waters(structure)
    structure.remove_empty_chains()
    if len(structure) == 0:
        raise DualError(f"{path}: broken atomic model, nothing but water in it; "
                        "give another file")
    if len(structure) > 1 and models_are_copies(structure):
        merged = structure[0]
        for other in list(structure)[1:]:
            for chain in other:
                merged.add_chain(chain)
        return merged, f"the {len(structure)} models of the file together, as its assembly"
    if assembly == "none" or (assembly is None and not structure.assemblies):
        several = f", the first of {len(structure)} models" if len(structure) > 1 else ""
        return structure[0], "as in the file" + several
    known = [item.name for item in structure.assemblies]
    wanted = known[0] if assembly is None else assembly
    if wanted not in known:
        raise DualError(f"{path}: has no biological assembly {wanted!r}; it has "
                        f"{', '.join(known) or 'none (set assembly: none)'}")
    chosen = structure.assemblies[known.index(wanted)]
    if not _keep_known_parts(chosen, structure[0], path):
        return structure[0], "as in the file"
    model = gemmi.make_assembly(chosen, structure[0], gemmi.HowToNameCopiedChain.Short)
    return model, f"biological assembly {wanted}"


def _keep_known_parts(assembly: Any, model: Any, path: Path) -> bool:
    """Leave out of an assembly what the file does not hold; whether anything is left."""
    there = {part.subchain_id() for part in model.subchains()}
    chains = {chain.name for chain in model}
    missing, left = set(), False
    for generator in assembly.generators:
        absent = {name for name in generator.subchains if name not in there}
        absent_chains = {name for name in generator.chains if name not in chains}
        missing |= absent | (absent_chains if not generator.subchains else set())
        generator.subchains = [name for name in generator.subchains if name in there]
        generator.chains = [name for name in generator.chains if name in chains]
        left = left or bool(generator.subchains) or bool(generator.chains)
    if missing:
        logger.warning("%s: its assembly names %s, which %s not in the file; left out", path,
                       ", ".join(sorted(missing)[:5]), "is" if len(missing) == 1 else "are")
    return left


def remove_waters(structure: Any) -> None:
    """Take out waters, under the names of crystallography and of force fields."""
    structure.remove_waters()
    for model in structure:
        for chain in model:
            for at in reversed(range(len(chain))):
                if chain[at].name in WATERS:
                    del chain[at]


def best_conformers(structure: Any) -> None:
    """Of alternate locations keep the best occupied one, with full weight.

    Where atoms of a residue or whole residues have several, each of them is there for a part of
    the molecules only; a single molecule has one of them whole.
    """
    for model in structure:
        for chain in model:
            _best_residues(chain)
            for residue in chain:
                _best_atoms(residue)


def _best_residues(chain: Any) -> None:
    """Of residues of several kinds at one place keep the best occupied one."""
    places: Dict[str, List[int]] = {}
    for at, residue in enumerate(chain):
        if any(atom.altloc != NO_ALTERNATE for atom in residue):
            places.setdefault(str(residue.seqid), []).append(at)
    unwanted: List[int] = []
    for several in places.values():
        best = max(several, key=lambda at: max(atom.occ for atom in chain[at]))
        unwanted += [at for at in several if at != best]
    for at in sorted(unwanted, reverse=True):
        del chain[at]


def _best_atoms(residue: Any) -> None:
    occupied: Dict[str, List[float]] = {}
    for atom in residue:
        if atom.altloc != NO_ALTERNATE:
            occupied.setdefault(atom.altloc, []).append(atom.occ)
    if not occupied:
        return
    order = sorted(occupied, key=lambda name: (-sum(occupied[name]) / len(occupied[name]), name))
    taken: Dict[str, str] = {}
    for wanted in order:
        for atom in residue:
            if atom.altloc == wanted:
                taken.setdefault(atom.name, wanted)
    for at in reversed(range(len(residue))):
        atom = residue[at]
        if atom.altloc == NO_ALTERNATE:
            continue
        if taken[atom.name] != atom.altloc:
            del residue[at]
        else:
            atom.occ, atom.altloc = 1.0, NO_ALTERNATE


def models_are_copies(structure: Any) -> bool:
    """Whether the models of a file are the copies of an assembly, and not views of one molecule.

    Copies cannot be in one place; the models of an NMR ensemble are.
    """
    one, other = (_positions(structure[at]) for at in (0, 1))
    if not len(one) or not len(other):
        return False
    distance, _ = cKDTree(one).query(other, distance_upper_bound=SAME_PLACE_A)
    return bool(np.isfinite(distance).mean() < 0.5)


def _positions(model: Any) -> np.ndarray:
    found = [atom.pos.tolist() for chain in model for residue in chain for atom in residue]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _mass_dalton(model: Any) -> float:
    """Mass of a model; hydrogens that an X-ray model leaves out are added residue by residue."""
    gemmi = _gemmi()
    mass = float(model.calculate_mass())
    if model.has_hydrogen():
        return mass
    hydrogens = 0.0
    for chain in model:
        for residue in chain:
            known = gemmi.find_tabulated_residue(residue.name)
            # Two of them left as water when the residue joined its chain.
            hydrogens += max(0, int(known.hydrogen_count) - 2)
    return mass + _HYDROGEN_DALTON * hydrogens


def _warn_of_missing_atoms(model: Any, mass: float, path: Path) -> None:
    """Say where the atoms are a trace of the chain rather than the molecule."""
    gemmi = _gemmi()
    whole = sum(
        max(0.0, float(gemmi.find_tabulated_residue(residue.name).weight) - WATER_DALTON)
        for chain in model for residue in chain
    )
    if mass < 0.5 * whole:
        logger.warning("%s: its atoms weigh %.0f kDa and its residues %.0f; it is a trace of the "
                       "chain. Give mass_kDa for it in a YAML list of molecules", path,
                       mass / 1000.0, whole / 1000.0)


def atomic_density(path: Path, voxel_size_A: float, sigma_A: float,
                   assembly: Optional[str] = None) -> Tuple[np.ndarray, float, str]:
    """Density of an atomic model on a cubic grid.

    The biological assembly is built (or the models of the file are taken together, where they are
    its copies), waters are left out, of alternate locations the best occupied is taken, and every
    atom is drawn with its electron scattering factor (International Tables C,
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
    try:
        model, note = _assemble(_read(path), path, assembly)
        mass = _mass_dalton(model)
        _warn_of_missing_atoms(model, mass, path)
    except UnicodeDecodeError as error:  # gemmi hands names out as they are in the file
        raise DualError(f"{path}: broken atomic model, it has names that are no text; "
                        "download the file again") from error
    atoms = [atom for chain in model for residue in chain for atom in residue]
    if not atoms:
        raise DualError(f"{path}: broken atomic model, nothing but water in it; "
                        "give another file")
    positions = _positions(model)
    if not np.isfinite(positions).all() or not COORDINATE_A.hold(float(np.abs(positions).max())):
        raise DualError(f"{path}: broken atomic model, it has coordinates that make no sense; "
                        "download the file again")
    middle = 0.5 * (positions.min(axis=0) + positions.max(axis=0))
    reach = float(np.abs(positions - middle).max()) + 4.0 * sigma_A + 6.0
    check_voxels((2 * reach / voxel_size_A,) * 3,
                 f"the molecule in {path}, {2 * reach:.4g} A wide,",
                 "check its coordinates, or give larger voxels", MOST_MOLECULE)
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
