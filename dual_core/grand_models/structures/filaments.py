"""Where filaments lie: across the sample, or up to what is in their way."""

from __future__ import annotations

import math
from typing import List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, Piece
from dual_core.grand_models.orientations import orientation_along
from dual_core.grand_models.shortfall import report_shortfall
from dual_core.grand_models.structures.helices import STEP, Axis, FilamentKind, filament_piece

# Axes drawn for one filament; the first with a long open way from side to side is taken, else the
# one with the longest way.
_AXES = 100
# What counts as long: this part of the sample's shorter side. A way across a corner does not.
_LONG = 0.8
# Axes go out of the level of the sample by no more than this, and by less in a thin one.
_LARGEST_SLOPE_DEG = 20.0

# Length, whether it leads from side to side, first and last position, axis.
Way = Tuple[float, bool, float, float, Axis]


def _random_axis(canvas: Canvas, kind: FilamentKind, low: float, high: float,
                 rng: np.random.Generator) -> Axis:
    """An axis that stays within sections `low` to `high` all through the sample."""
    span = float(np.hypot(*canvas.shape[1:]))
    point = np.array([rng.uniform(low, high), rng.uniform(0, canvas.shape[1] - 1),
                      rng.uniform(0, canvas.shape[2] - 1)])
    # In a thin sample only as steep as keeps the filament inside.
    limit = min(math.radians(_LARGEST_SLOPE_DEG),
                math.atan2(min(point[0] - low, high - point[0]), span))
    slope, turn = rng.uniform(-limit, limit), rng.uniform(0.0, 2.0 * math.pi)
    direction = np.array([math.sin(slope), math.cos(slope) * math.sin(turn),
                          math.cos(slope) * math.cos(turn)])
    # Bent within the level of the sample, so that it stays in there.
    side = np.array([0.0, -math.cos(turn), math.sin(turn)])
    curvature = rng.uniform(-1.0, 1.0) * canvas.voxel_size_A / kind.bend_radius_A
    return Axis(point, direction, side, curvature)


def _open_part(canvas: Canvas, axis: Axis, radius: float) -> Tuple[float, float, bool]:
    """The longest open way along an axis, and whether it leads from side to side.

    A way is open where neither the axis nor two rings about it touch anything; a filament's own
    voxels are tested afterwards. Positions are in voxels from the axis' point.
    """
    span = float(np.hypot(*canvas.shape[1:])) + radius
    along = np.arange(-span, span + STEP, STEP)
    line = axis.at(along)
    other = np.cross(axis.direction, axis.side)
    inside = np.all((line[:, 1:] > -radius)
                    & (line[:, 1:] < np.array(canvas.shape[1:]) - 1 + radius), axis=1)
    free = inside.copy()
    angles = np.arange(0.0, 2.0 * math.pi, math.pi / 12.0)
    for ring in (0.0, 0.5 * radius, radius):
        for angle in angles if ring else angles[:1]:
            away = ring * (math.cos(angle) * axis.side + math.sin(angle) * other)
            index = np.rint(line + away).astype(int)
            within = np.all((index >= 0) & (index < np.array(canvas.shape)), axis=1)
            z, y, x = index[within].T
            free[np.flatnonzero(within)[canvas.blocked[z, y, x]]] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], free, [False]]).astype(int)))
    if not len(edges):
        return 0.0, 0.0, False
    lengths = edges[1::2] - edges[::2]
    best = int(np.argmax(lengths))
    first, last = edges[2 * best], edges[2 * best + 1] - 1
    through = bool(lengths[best] == np.count_nonzero(inside))
    return float(along[first]), float(along[last]), through


def _find_filament(canvas: Canvas, kind: FilamentKind, low: float, high: float, sigma_A: float,
                   rng: np.random.Generator) -> Optional[Tuple[Piece, np.ndarray, Axis]]:
    """A filament that is free, its corner and its axis; None where there is no place."""
    radius = (kind.outer_radius_A + 2.0 * sigma_A) / canvas.voxel_size_A + 1.0
    long = _LONG * min(canvas.shape[1:])
    shortest = min(kind.shortest_A / canvas.voxel_size_A, 0.5 * long)
    found = []
    for _ in range(_AXES):
        axis = _random_axis(canvas, kind, low, high, rng)
        first, last, through = _open_part(canvas, axis, radius)
        found.append((last - first, through, first, last, axis))
        if through and last - first >= long:
            break
    # Ends at an obstacle keep away from it by the filament's radius.
    for length, through, first, last, axis in _longest_first(found, long):
        keep = 0.0 if through else radius
        if length - 2.0 * keep < shortest:
            continue
        turn = float(rng.uniform(0.0, 2.0 * math.pi))
        piece, corner = filament_piece(kind, canvas, axis, (first + keep, last - keep), sigma_A,
                                       turn)
        if piece is not None and canvas.is_free(corner, piece):
            return piece, corner, axis
    return None


def _longest_first(found: List[Way], long: float) -> List[Way]:
    """Long ways from side to side, then the others, each by length."""
    return sorted(found, key=lambda one: (one[1] and one[0] >= long, one[0]), reverse=True)


def filament_room(kind: FilamentKind, canvas: Canvas, sigma_A: float) -> Tuple[float, float]:
    """First and last section that an axis may lie in; the first is above the last in a thin sample.
    """
    radius = (kind.outer_radius_A + 4.0 * sigma_A) / canvas.voxel_size_A
    return canvas.slab[0] + radius, canvas.slab[1] - 1 - radius


def place_filaments(canvas: Canvas, kind: FilamentKind, number: int, sigma_A: float,
                    class_number: int, rng: np.random.Generator, best_effort: bool = False) -> None:
    """Place filaments, cut at the volume's sides.

    Raises
    ------
    DualError
        If the sample is too thin or not all find a place, unless `best_effort`.
    """
    low, high = filament_room(kind, canvas, sigma_A)
    if number and low > high:
        raise DualError(f"the sample is too thin for a {kind.name} of "
                        f"{0.2 * kind.outer_radius_A:.0f} nm; give a larger --thickness")
    for done in range(number):
        found = _find_filament(canvas, kind, low, high, sigma_A, rng)
        if found is None:
            report_shortfall(f"only {done} of {number} filaments ({kind.name}) found a place; "
                             "ask for fewer or a larger volume", best_effort)
            return
        piece, corner, axis = found
        canvas.place(corner, piece, class_number, kind.name, "filament",
                     orientation_along(axis.direction[::-1], 0.0))
        canvas.seal(corner, piece)
