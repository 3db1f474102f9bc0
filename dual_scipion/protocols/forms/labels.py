"""What positions and masks of simulated tomograms show, asked in two forms."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED


def define_labels_param(group: Any) -> None:
    """What masks and positions show; *simulate tomograms* has this as well."""
    group.addParam(
        "everything",
        params.BooleanParam,
        default=False,
        label="Label membranes, filaments, crowd and gold too?",
        help="No: masks and positions show molecules only; the rest is background. Yes: all that "
        "was placed has its class in the masks, and its centre among the positions; choose it to "
        "segment membranes. DeepFinder wants classes 1, 2, ... without a gap, which *No* gives.",
    )


def define_box_param(group: Any) -> None:
    """Box size of the positions."""
    group.addParam(
        "boxSize",
        params.IntParam,
        default=0,
        validators=[params.GE(0, error="must be 0 or more")],
        expertLevel=LEVEL_ADVANCED,
        label="Box size (voxels)",
        help="Of the output of positions; 0 takes twice the diameter of the heaviest molecule. It "
        "can be changed when particles are extracted.",
    )
