"""The likelihood of noise levels given the powers of blocks, and the smoothest likely ones."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp
from scipy.stats import gamma

SPREAD = 4.0  # shape of the structure's distribution over blocks
CENSORED = 0.7  # quantile of the block powers above which only "above" counts
NOISE_LEVELS = np.exp(np.linspace(np.log(0.01), np.log(1.4), 48))  # in the ring's median power
STRUCTURE_LEVELS = np.exp(np.linspace(np.log(0.01), np.log(30.0), 24))
QUANTILES = 12  # of the structure's distribution
ROUGHNESS = 4.0  # weight of squared second differences of log N from ring to ring


def misfits(powers: np.ndarray, freedom: float) -> np.ndarray:
    """-log likelihood of a ring's block powers at each of `NOISE_LEVELS`, best structure each.

    Parameters
    ----------
    powers : ``(count,)``, median 1.
    freedom : degrees of freedom of the ring's power: that of noise is Gamma distributed.
    """
    limit = np.quantile(powers, CENSORED)
    low = powers[powers <= limit]
    above = float((powers > limit).sum())
    middle = (np.arange(QUANTILES) + 0.5) / QUANTILES
    structure = gamma.ppf(middle, SPREAD) / SPREAD
    constant = freedom * np.log(freedom) - gammaln(freedom)
    found = np.empty(len(NOISE_LEVELS))
    for number, noise in enumerate(NOISE_LEVELS):
        level = noise + STRUCTURE_LEVELS[:, None] * structure  # (structure, quantile)
        exponents = -freedom * (np.log(level)[..., None] + low / level[..., None])
        likelihood = logsumexp(exponents, axis=1) - np.log(QUANTILES)
        likelihood += constant + (freedom - 1.0) * np.log(low)
        beyond = gamma.sf(limit * freedom / level, freedom).mean(axis=1)
        total = likelihood.sum(axis=1) + above * np.log(np.maximum(beyond, 1e-300))
        found[number] = -total.max()
    return found - found.min()


def smoothest(table: np.ndarray, height: np.ndarray) -> Tuple[np.ndarray, float]:
    """log N of each ring in its own units: likely by its own blocks, and smooth over the rings.

    Parameters
    ----------
    table : misfits ``(rows, columns, levels)``.
    height : log of each ring's unit, ``(rows, columns)``: the whole is smooth, not its parts.
    """
    levels = np.log(NOISE_LEVELS)
    step = levels[1] - levels[0]
    slopes = np.gradient(table, step, axis=-1)
    index = np.indices(height.shape)

    def cost(values: np.ndarray) -> Tuple[float, np.ndarray]:
        place = np.clip((values.reshape(height.shape) - levels[0]) / step, 0, len(levels) - 1.001)
        lower = place.astype(int)
        part = place - lower
        total, gradient = 0.0, np.zeros(height.shape)
        for number, weight in ((lower, 1.0 - part), (lower + 1, part)):
            total += float((weight * table[index[0], index[1], number]).sum())
            gradient += weight * slopes[index[0], index[1], number]
        whole = values.reshape(height.shape) + height
        for axis in (0, 1):
            if height.shape[axis] < 3:
                continue
            bend = np.diff(whole, n=2, axis=axis)
            total += ROUGHNESS / 2 * float((bend**2).sum())
            for shift, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
                part_of = [slice(None), slice(None)]
                part_of[axis] = slice(shift, shift + bend.shape[axis])
                gradient[tuple(part_of)] += ROUGHNESS * factor * bend
        return total, gradient.ravel()

    start = levels[np.argmin(table, axis=-1)].ravel()
    result = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=[(levels[0], levels[-1])] * start.size
    )
    curvature = np.maximum(np.gradient(slopes, step, axis=-1), 0.0)
    nearest = np.rint((result.x.reshape(height.shape) - levels[0]) / step).astype(int)
    at_best = curvature[index[0], index[1], np.clip(nearest, 0, len(levels) - 1)]
    error = float(np.median(1.0 / np.sqrt(at_best + ROUGHNESS)))
    return result.x.reshape(height.shape), error
