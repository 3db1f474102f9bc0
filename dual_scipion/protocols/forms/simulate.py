"""Parts of the form of *simulate tomograms*."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from dual_scipion.constants import CONTRASTS
from dual_scipion.protocols.forms.labels import define_box_param
from dual_scipion.protocols.forms.parts import add_noise_contrast

# As the engine calls them, in the order of the choices in the form.
OUTPUT_CONTRASTS = ("auto", "dark", "bright", "as-model")
STANDARDISE = ("model", "own")


def define_noise(group: Any) -> None:
    """Where the noise comes from."""
    group.addParam(
        "inputNoise",
        params.PointerParam,
        pointerClass="SetOfTomograms",
        allowsNull=True,
        label="Noise like that of (optional)",
        help="Tomograms whose noise is imitated, for example those that shall be segmented "
        "later: that of the first for the first simulated tomogram, and so on, from the first "
        "again where they run out. Empty: noise of all kinds that the model has learned, which "
        "makes the more varied training set.",
    )
    add_noise_contrast(group)
    group.addParam(
        "seed",
        params.IntParam,
        default=0,
        validators=[params.GE(0, error="must be 0 or more")],
        label="Random seed",
        help="The same seed gives the same tomograms; take another one for a second set.",
    )


def define_result(group: Any) -> None:
    """Density, and the box of the positions."""
    group.addParam(
        "outputContrast",
        params.EnumParam,
        choices=["auto", "dark", "bright", "as the grand models of the model"],
        default=OUTPUT_CONTRASTS.index("auto"),
        expertLevel=LEVEL_ADVANCED,
        label="Density in the result",
        help="*auto*: as in the tomograms that the model was trained on, which is what a "
        "training set for these should have. Choose another one for a program that wants it.",
    )
    group.addParam(
        "contrast",
        params.EnumParam,
        choices=list(CONTRASTS),
        default=CONTRASTS.index("auto"),
        expertLevel=LEVEL_ADVANCED,
        label="Density in the grand models",
        help="Those of *generate grand models* are *bright*. *auto* finds out and says so in the "
        "log; choose it yourself where the log is in doubt.",
    )
    group.addParam(
        "standardise",
        params.EnumParam,
        choices=["as in training", "each by itself"],
        default=STANDARDISE.index("model"),
        expertLevel=LEVEL_ADVANCED,
        label="Scale of the density",
        help="*As in training*: right for grand models in the same units as those that the "
        "model was trained on. *Each by itself*: for volumes in other units.",
    )
    define_box_param(group)
