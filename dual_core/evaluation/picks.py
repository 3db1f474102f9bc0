"""How well picks agree with known particles: precision, recall and F1 at a tolerance.

One to one, the default: a pick is a hit if it can be paired with a particle within the tolerance,
and every particle and every pick is in one pair at most. Of all pairings the one with the most
pairs counts, so that the order of the files does not matter.

Overlap, the paper's counting (experiments, ribosomes): every pick that is near to any particle
counts for the precision, and every particle that is near to any pick counts for the recall. Where
the picks keep a least distance that is above twice the tolerance the two are the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree

from dual_core.errors import DualError

MOST_PAIRS = 5_000_000  # a few per particle are usual; each takes some tens of bytes
COUNTINGS = ("one-to-one", "overlap")
STATISTICS = ("precision", "recall", "f1")


@dataclass(frozen=True)
class PickScores:
    """Agreement of picks with particles.

    Attributes
    ----------
    particles, picks : int
        How many there are.
    hits : int
        Picks that count as right.
    found : int
        Particles that count as found; the same as ``hits`` one to one.
    precision, recall, f1 : float
        ``hits / picks``, ``found / particles`` and their harmonic mean; 0 without picks.
    """

    particles: int
    picks: int
    hits: int
    found: int
    precision: float
    recall: float
    f1: float

    def as_dict(self) -> Dict[str, float]:
        """All of it by name."""
        return asdict(self)


def score_picks(
    truth: np.ndarray, picks: np.ndarray, tolerance: float, counting: str = "one-to-one"
) -> PickScores:
    """Score picks.

    Parameters
    ----------
    truth : ndarray, (n, 3)
        Particles, of at least one.
    picks : ndarray, (m, 3)
        In the same unit.
    tolerance : float
        Largest distance of a hit, in that unit; a hit may be exactly so far.
    counting : {"one-to-one", "overlap"}
        See the top of this module.

    Raises
    ------
    DualError
        No particles.
    """
    if counting not in COUNTINGS:
        raise DualError(f"counting '{counting}': give one of {', '.join(COUNTINGS)}")
    if len(truth) == 0:
        raise DualError("no particles in the truth; give a list with at least one")
    near = _neighbours(truth, picks, tolerance)
    if counting == "overlap":
        hits = sum(1 for particles in near if particles)
        found = len({particle for particles in near for particle in particles})
    else:
        hits = found = int(_pair(near, len(truth))[1].sum())
    return _scores(len(truth), len(picks), hits, found)


def pair_picks(truth: np.ndarray, picks: np.ndarray, tolerance: float) -> np.ndarray:
    """The particle that each pick is paired with, one to one; -1 for a pick without one.

    Parameters
    ----------
    truth, picks : ndarray, (n, 3) and (m, 3)
    tolerance : float

    Returns
    -------
    ndarray of int, (m,)
    """
    return _pair(_neighbours(truth, picks, tolerance), len(truth))[0]


def precision_recall_curve(
    truth: np.ndarray, picks: np.ndarray, tolerance: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Precision and recall of the first pick alone, of the first two, and so on, one to one.

    Parameters
    ----------
    truth : ndarray, (n, 3)
    picks : ndarray, (m, 3)
        The best first.
    tolerance : float

    Returns
    -------
    precision, recall : ndarray, (m,)
    """
    hits = np.cumsum(_pair(_neighbours(truth, picks, tolerance), len(truth))[1])
    return hits / np.arange(1, len(picks) + 1), hits / max(1, len(truth))


def mean_and_deviation(values: Sequence[float]) -> Tuple[float, float]:
    """Mean and deviation over tomograms (of a sample, n - 1); 0 for a single one."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else 0.0


def _scores(particles: int, picks: int, hits: int, found: int) -> PickScores:
    precision = hits / picks if picks else 0.0
    recall = found / particles
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return PickScores(particles, picks, hits, found, precision, recall, f1)


def _neighbours(truth: np.ndarray, picks: np.ndarray, tolerance: float) -> List[List[int]]:
    """For each pick the particles within the tolerance, the nearest first."""
    if len(truth) == 0 or len(picks) == 0:
        return [[] for _ in range(len(picks))]
    tree, radius = cKDTree(truth), tolerance * (1 + 1e-9)
    pairs = int(tree.query_ball_point(picks, radius, return_length=True).sum())
    if pairs > MOST_PAIRS:
        raise DualError(
            f"{pairs} pairs of a particle and a pick are within the tolerance of {tolerance:g}; "
            "give a smaller --tolerance, or check the lists for positions that repeat"
        )
    found = tree.query_ball_point(picks, radius)
    distance = [np.linalg.norm(truth[near] - pick, axis=1) for near, pick in zip(found, picks)]
    return [
        [near[at] for at in np.argsort(far, kind="stable")] for near, far in zip(found, distance)
    ]


def _pair(near: List[List[int]], particles: int) -> Tuple[np.ndarray, np.ndarray]:
    """Most pairs by augmenting paths, pick by pick (Kuhn 1955).

    A pick adds one pair or none to what the picks before it could have at most. So the second
    result, summed up to a pick, is the number of hits among the first picks.

    Returns
    -------
    partner : ndarray of int, (picks,)
        Particle of each pick or -1.
    added : ndarray of bool, (picks,)
    """
    partner = np.full(len(near), -1, dtype=np.intp)
    taken_by = np.full(particles, -1, dtype=np.intp)
    added = np.zeros(len(near), dtype=bool)
    for pick in range(len(near)):
        # Breadth first: from the pick to a free particle, by way of picks that can move.
        came_from: Dict[int, int] = {}
        waiting, free = [pick], -1
        for mover in waiting:
            for particle in near[mover]:
                if particle in came_from:
                    continue
                came_from[particle] = mover
                if taken_by[particle] < 0:
                    free = particle
                    break
                waiting.append(int(taken_by[particle]))
            if free >= 0:
                break
        added[pick] = free >= 0
        while free >= 0:
            mover = came_from[free]
            before = int(partner[mover])
            partner[mover], taken_by[free] = free, mover
            free = before
    return partner, added
