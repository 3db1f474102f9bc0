"""Simulated tomograms to compare with: what a user had before a learned simulator.

Two kinds from a grand model: white noise added to it, and the conventional simulator with the
parameters that somebody would guess who has not measured them.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from dual_core.evaluation.truth.metrics import standardise
from dual_core.physics.config import SimulatorConfig
from dual_core.physics.simulate import simulate_tomogram

GUESSED_SNR = 0.1


def white_reference(grand_model: np.ndarray, snr: float, seed: int = 0) -> np.ndarray:
    """Grand model ``(z, y, x)`` plus white noise; variance of structure over noise is ``snr``."""
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(grand_model.shape, dtype=np.float32) / np.float32(np.sqrt(snr))
    return standardise(standardise(grand_model) + noise)


def guessed_simulator(
    voxel_size_A: float,
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    snr: float = GUESSED_SNR,
) -> SimulatorConfig:
    """What a user would enter into a simulator without having measured anything.

    Tilt range as in the header of the data, steps of 3 degrees, 300 kV, 2.7 mm, 7 % amplitude
    contrast: from the microscope's sheet. Defocus 3 micrometres for all tilts, the middle of
    the usual 2 to 4. The noise is white in the tilt images, of the often cited SNR of 0.1, the same
    at all tilts. No radiation damage, no solvent, an ideal detector: what a guess leaves out.
    """
    return SimulatorConfig(
        voxel_size_A=voxel_size_A,
        tilt_range=tilt_range,
        tilt_step=min(3.0, tilt_range[1] - tilt_range[0]),
        defocus_um=3.0,
        defocus_spread_um=0.0,
        snr=snr,
        solvent_share=0.0,
        free_path_A=1e6,
        total_dose=0.0,
        mtf_nyquist=1.0,
        noise_mtf_nyquist=1.0,
        contrast="bright",
    )


def projected_reference(
    grand_model: np.ndarray, config: SimulatorConfig, seed: int = 0
) -> np.ndarray:
    """Tomogram of the conventional simulator, standardised, in the contrast of ``config``."""
    return standardise(simulate_tomogram(grand_model, config, np.random.default_rng([seed, 2])))
