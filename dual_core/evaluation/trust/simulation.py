"""The line of the trust report on what a model simulates: is it told from the tomogram?"""

from __future__ import annotations

import logging
from typing import List

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.realism.statistics_judge import judge
from dual_core.evaluation.trust.findings import Finding
from dual_core.evaluation.trust.network_pass import Networks

logger = logging.getLogger(__name__)

KEY = "simulation"


def simulation_findings(
    networks: Networks, tomogram: np.ndarray, restored: np.ndarray
) -> List[Finding]:
    """How well a discriminant tells the tomogram from one that is simulated of the same density.

    Without a verdict, since it says nothing of the denoising. No finding for a model without
    measured noise, and for a volume that is too small for the discriminant.

    Parameters
    ----------
    networks : of the model.
    tomogram : standardised, ``(z, y, x)``.
    restored : ``Gs(h * Dn(t))``, the structure of the simulated tomogram.
    """
    if networks.noisy is None:
        return []
    try:
        found = judge([tomogram], [networks.noisy(restored)], networks.tilt_axis)
    except DualError as error:
        logger.debug("what the model simulates is not judged: %s", error)
        return []
    return [
        Finding(
            KEY,
            "Blocks of a simulated tomogram that are told from this one's",
            found.accuracy,
            "",
            "",
            f"A tomogram that the model simulates from its result is told from this one in "
            f"{100 * found.accuracy:.0f} % of the blocks, by a discriminant on their power and "
            "intensities (50 %: not at all; conventional simulations: nearly all). This is about "
            "'dual simulate' and no part of the verdict.",
        )
    ]
