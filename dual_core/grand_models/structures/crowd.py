"""The crowd: small proteins that fill the space between everything else.

The cytosol holds about 200 to 300 mg/ml of protein, 2 to 4 million molecules a cubic micrometre
(Milo 2013, BioEssays 35:1050). Single small ones are not seen in a tomogram, but together they make
the ground that everything else stands out from. They are one object and one class.
"""

from __future__ import annotations

import math
from typing import List

import numpy as np

from dual_core.grand_models.canvas import Canvas, Piece
from dual_core.grand_models.labels import Particle
from dual_core.grand_models.molecules.density import resolution_sigma_A
from dual_core.grand_models.molecules.phantoms import Blob, Phantom, phantom_density
from dual_core.grand_models.molecules.sources import (
    OVERSAMPLING,
    MoleculeSpec,
    molecule_from_density,
)
from dual_core.grand_models.orientations import random_orientation
from dual_core.grand_models.packing import Rotator, find_place
from dual_core.grand_models.shortfall import report_shortfall

# 1 mg/ml in dalton per cubic angstrom.
MG_PER_ML = 6.022e-4
# Smallest and largest protein of the crowd; between them as many light as heavy octaves.
MASSES_KDA = (20.0, 95.0)

_SHAPES = 12
_TURNS = 16
_DOMAIN_KDA = 25.0
# Small proteins are mostly surface, and that is mobile: more blur than the resolution's.
_SURFACE_SIGMA_A = 8.0
# Proteins of the crowd differ in density by this (standard deviation).
_DENSITY_SPREAD = 0.05
# Proteins in a row that find no place until the rest is given up.
_MOST_FAILURES = 20


def small_proteins() -> List[Phantom]:
    """The kinds of proteins of the crowd: chains of one to four globular domains.

    Always the same ones; only where they lie and how they are turned depends on the seed.
    """
    rng = np.random.default_rng(2024)
    proteins = []
    for mass_kDa in np.geomspace(*MASSES_KDA, _SHAPES):
        place, blobs = np.zeros(3), []
        for _ in range(max(1, round(mass_kDa / _DOMAIN_KDA))):
            a, b, c = rng.uniform(0.75, 1.25, 3)
            blob: Blob = ((float(place[0]), float(place[1]), float(place[2])),
                          (float(a), float(b), float(c)))
            blobs.append(blob)
            step = rng.standard_normal(3)
            place = place + 1.5 * step / np.linalg.norm(step)
        proteins.append(Phantom(f"crowd_{mass_kDa:.0f}", float(mass_kDa), "C1", tuple(blobs)))
    return proteins


def _pieces(voxel_size_A: float, resolution_A: float, gap_A: float,
            rng: np.random.Generator) -> List[List[Piece]]:
    """For each protein its density, turned and shifted at random, many times."""
    spacing = voxel_size_A / OVERSAMPLING
    sigma_A = math.hypot(resolution_sigma_A(resolution_A), _SURFACE_SIGMA_A)
    pieces = []
    for protein in small_proteins():
        density = phantom_density(protein, spacing, sigma_A)
        molecule = molecule_from_density(MoleculeSpec(protein.name), density, spacing,
                                         protein.mass_kDa, "crowd")
        rotator = Rotator(molecule, voxel_size_A, gap_A)
        turned = []
        for _ in range(_TURNS):
            shift = rng.uniform(-0.5, 0.5, 3)
            turned.append(rotator.piece(random_orientation(rng), (shift[0], shift[1], shift[2])))
        pieces.append(turned)
    return pieces


def place_crowd(canvas: Canvas, mg_per_ml: float, resolution_A: float, gap_A: float,
                class_number: int, rng: np.random.Generator, best_effort: bool = False) -> float:
    """Fill the free space with small proteins.

    Parameters
    ----------
    canvas : Canvas
    mg_per_ml : float
        Mass of the crowd over the volume of the whole sample.
    resolution_A, gap_A : float
    class_number : int
    rng : numpy.random.Generator
    best_effort : bool

    Returns
    -------
    float
        The concentration that was reached, mg/ml.

    Raises
    ------
    DualError
        If it is not reached, unless `best_effort`.
    """
    sample_A3 = canvas.slab_voxels * canvas.voxel_size_A ** 3
    wanted_kDa = mg_per_ml * MG_PER_ML * sample_A3 / 1000.0
    if wanted_kDa <= 0.0:
        return 0.0
    pieces = _pieces(canvas.voxel_size_A, resolution_A, gap_A, rng)
    masses = [protein.mass_kDa for protein in small_proteins()]
    instance, placed_kDa, failures = canvas.next_instance(), 0.0, 0
    total, count = np.zeros(3), 0
    while placed_kDa < wanted_kDa and failures < _MOST_FAILURES:
        which = int(rng.integers(len(pieces)))
        piece = pieces[which][int(rng.integers(_TURNS))]
        corner = find_place(canvas, piece, rng)
        if corner is None:
            failures += 1
            continue
        failures = 0
        scale = float(np.clip(rng.normal(1.0, _DENSITY_SPREAD), 0.8, 1.2))
        canvas.add(corner, piece, class_number, instance, scale)
        placed_kDa += masses[which]
        labelled = piece.points[piece.mask]
        total += (labelled + corner).sum(axis=0)
        count += len(labelled)
    if count:
        z, y, x = total / count
        canvas.particles.append(Particle(instance, class_number, "crowd", "crowd",
                                         (float(z), float(y), float(x)), canvas.voxel_size_A,
                                         None, placed_kDa))
    reached = 1000.0 * placed_kDa / (MG_PER_ML * sample_A3)
    if placed_kDa < wanted_kDa:
        report_shortfall(f"the crowd of {mg_per_ml:g} mg/ml was not reached: {reached:.0f} mg/ml "
                         "found a place; ask for less (--crowd)", best_effort)
    return reached
