"""Grand models of every kind that `dual pack` can make, for the general model.

Nothing but the package's own means: built-in molecules, molecules drawn at random (soft ellipsoids
in a chain, repeated by a point group), membranes, filaments, a crowd of small proteins, gold. From
number `FULL_FROM` on two of three cells are full, as the cytosol is: packing without overlap ends
at some 40 mg/ml of small proteins, and cells hold 200 to 300. A seed and a number give the same
cell for ever.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

import numpy as np

from dual_core.grand_models.config import STRUCTURES, PackConfig
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY
from dual_core.grand_models.molecules.phantoms import PHANTOMS, Blob, Phantom
from dual_core.grand_models.molecules.sources import MoleculeSpec, load_molecule
from dual_core.grand_models.orientations import random_orientation
from dual_core.grand_models.pack import load_molecules, pack_grand_model
from dual_core.grand_models.packing import Rotator
from dual_core.grand_models.structures.crowd import MG_PER_ML

SHAPE = (112, 176, 176)
VOXEL_SIZES_A = (6.5, 17.0)
BUILT_IN = tuple(PHANTOMS)
SYMMETRIES = ("C1",) * 10 + ("C2", "C3", "C4", "C5", "C6", "C7", "C12", "D2", "D3", "D4", "D7")
MASSES_KDA = (60.0, 4500.0)
FULL_FROM = 80  # number of the first cell that may be full
FULL_MG_PER_ML = (80.0, 320.0)
FULL_MASSES_KDA = (20.0, 900.0)  # as much mass in each octave
FULL_KINDS, FULL_TURNS = 14, 12


def random_molecule(
    name: str, generator: np.random.Generator, masses_kDa: Tuple[float, float] = MASSES_KDA
) -> Phantom:
    """A chain of soft ellipsoids beside the axis of a random point group."""
    symmetry = str(generator.choice(SYMMETRIES))
    order = int(symmetry[1:])
    place = np.array([0.0, 0.0, 0.0])
    if symmetry != "C1":
        place = np.array([0.35 * order * generator.uniform(0.7, 1.3), 0.0, 0.4])
    blobs: List[Blob] = []
    for _ in range(int(generator.integers(2, 9 if symmetry == "C1" else 5))):
        axes = generator.uniform(0.45, 1.15, 3)
        blobs.append((_triple(place), _triple(axes)))
        step = generator.standard_normal(3)
        place = place + step / np.linalg.norm(step) * axes.mean() * generator.uniform(0.8, 1.4)
    low, high = np.log(masses_kDa)
    mass = math.exp(generator.uniform(low, high))
    return Phantom(name, max(mass, 30.0 * order), symmetry, tuple(blobs))


def random_cell(seed: int, number: int) -> Tuple[np.ndarray, float]:
    """A cell, density in units of protein, ``SHAPE`` float32, bright; and its voxel size (A)."""
    generator = np.random.default_rng([seed, number])
    low, high = np.log(VOXEL_SIZES_A)
    voxel_size_A = math.exp(generator.uniform(low, high))
    specs = _molecules(generator, number)
    config = PackConfig(
        specs, SHAPE, voxel_size_A, seed=int(generator.integers(2**31)), best_effort=True,
        resolution_A=voxel_size_A * generator.uniform(2.0, 2.6),
        occupancy=math.exp(generator.uniform(math.log(0.02), math.log(0.3))),
        thickness_nm=0.1 * SHAPE[0] * voxel_size_A * generator.uniform(0.6, 1.0),
        **_contents(generator, number),
    )
    density = pack_grand_model(config, load_molecules(config), 0).canvas.density
    if number >= FULL_FROM and number % 3:
        _fill(density[slice(*config.slab)], config, number, generator)
    return (density / PROTEIN_DENSITY).astype(np.float32), voxel_size_A


def _fill(
    density: np.ndarray, config: PackConfig, number: int, generator: np.random.Generator
) -> None:
    """Put proteins of all sizes everywhere, in place; where two meet, the denser one counts.

    So the concentration is nominal: of 300 mg/ml some 230 are left.
    """
    voxel_size_A = config.voxel_size_A
    turned: List[Tuple[float, List[np.ndarray]]] = []
    for count in range(FULL_KINDS):
        protein = random_molecule(f"full_{number}_{count}", generator, FULL_MASSES_KDA)
        PHANTOMS[protein.name] = protein
        spec = MoleculeSpec(protein.name)
        rotator = Rotator(load_molecule(spec, voxel_size_A, config.used_resolution_A), voxel_size_A)
        shifts = generator.uniform(-0.5, 0.5, (FULL_TURNS, 3))
        turned.append((protein.mass_kDa, [
            rotator.turned(random_orientation(generator), _triple(shift)).astype(np.float32)
            for shift in shifts
        ]))
    low, high = np.log(FULL_MG_PER_ML)
    wanted_kDa = math.exp(generator.uniform(low, high)) * MG_PER_ML * 1e-3
    wanted_kDa *= density.size * voxel_size_A**3
    # A heavy protein is as much mass as many light ones: as many copies as give equal masses.
    inverse = np.array([1.0 / mass for mass, _ in turned])
    chances = inverse / inverse.sum()
    filled_kDa = 0.0
    while filled_kDa < wanted_kDa:
        mass, boxes = turned[int(generator.choice(len(turned), p=chances))]
        filled_kDa += mass
        box = boxes[int(generator.integers(FULL_TURNS))]
        start = [int(generator.integers(-n // 2, length - n // 2))
                 for n, length in zip(box.shape, density.shape)]
        inside = tuple(slice(max(k, 0), max(k + n, 0)) for k, n in zip(start, box.shape))
        part = tuple(slice(max(-first, 0), None) for first in start)
        place = density[inside]
        np.maximum(place, box[part][tuple(slice(n) for n in place.shape)], out=place)


def _molecules(generator: np.random.Generator, number: int) -> Tuple[MoleculeSpec, ...]:
    """Built-in and random molecules; in each fifth cell one alone, as in a purified sample."""
    names = [str(name) for name in generator.permutation(BUILT_IN)]
    names = names[: int(generator.integers(1, 7))]
    for count in range(int(generator.integers(1, 7))):
        molecule = random_molecule(f"random_{number}_{count}", generator)
        PHANTOMS[molecule.name] = molecule
        names.append(molecule.name)
    if number % 5 == 4:
        names = [names[int(generator.integers(len(names)))]]
    return tuple(
        MoleculeSpec(name, abundance=float(generator.uniform(0.2, 2.0))) for name in names
    )


def _contents(generator: np.random.Generator, number: int) -> Dict[str, Any]:
    """Membranes, filaments, crowd and gold: none, as many as a cell has, or several times that."""
    found: Dict[str, Any] = {"crowd": float(generator.uniform(0.0, 150.0))}
    if number % 5 == 4:
        found["crowd"] *= 0.1
    else:
        for name in STRUCTURES:
            kind = generator.random()
            found[name] = None if kind < 0.6 else 0 if kind < 0.8 else int(generator.integers(1, 5))
    if generator.random() < 0.6:
        found["gold"] = int(generator.integers(1, 15))
        found["gold_diameter_nm"] = float(generator.choice([5.0, 6.0, 10.0, 10.0, 15.0]))
    return found


def _triple(values: np.ndarray) -> Tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
