"""The linear model as it lies in a model file: a few tensors on a small grid."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import numpy as np

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import on_grid

SIDE = 32  # of the grid in a file
NAMES = ("transfer", "noise_amplitude", "measured")


def linear_to_arrays(model: LinearModel) -> Dict[str, np.ndarray]:
    """H, sqrt(N) and what was measured, float32 ``(SIDE, SIDE, SIDE // 2 + 1)`` by name."""
    measured = model.measured if model.measured is not None else np.ones_like(model.transfer)
    values = (model.transfer, model.noise_amplitude, measured)
    return {
        name: np.ascontiguousarray(on_grid(value, (SIDE,) * 3))
        for name, value in zip(NAMES, values)
    }


def linear_of(tensors: Mapping[str, Any]) -> Optional[LinearModel]:
    """The linear model of `DualModel.linear`; None for a model that has none.

    H, N and the measured coefficients are in units of the standardised tomogram.
    """
    if not all(name in tensors for name in NAMES):
        return None
    transfer, amplitude, measured = (np.asarray(tensors[name]) for name in NAMES)
    return LinearModel(transfer, amplitude, (), "file", measured)
