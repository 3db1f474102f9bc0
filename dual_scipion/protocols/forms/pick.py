"""The form of the protocol that picks particles."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

BY_SCORE, BY_NUMBER = range(2)


def define_pick_params(protocol: Any, form: Any) -> None:
    """Add all parameters of picking to a form."""
    protocol._addInputSection(form)
    protocol._addInputTomograms(
        form,
        label="Tomograms to pick on",
        help="Best the denoised ones: in raw tomograms noise hides small particles. A voxel "
        "size of a twentieth to a tenth of the diameter is enough and fast.",
    )
    form.addParam(
        "inputExtract",
        params.PointerParam,
        pointerClass="SetOfTomograms",
        allowsNull=True,
        label="Tomograms to extract from",
        help="Optional: the raw tomograms, matched by tsId. The coordinates then belong to "
        "these, at the same places. They may be binned less than those that are picked on. "
        "If it is empty the coordinates belong to the tomograms that are picked on.",
    )
    form.addParam(
        "inputMasks",
        params.PointerParam,
        pointerClass="SetOfTomoMasks",
        allowsNull=True,
        label="Masks",
        help="Optional: picks lie where the mask of a tomogram (matched by tsId, of the same "
        "size) is above 0.5, for example in the lamella, in the cytosol, or away from gold. "
        "A tomogram without a mask is then not picked and goes into FailedTomograms.",
    )
    _add_particle(form.addGroup("Particle"))
    _add_amount(form.addGroup("How many"))
    _add_where(protocol, form.addGroup("Where"))
    protocol._addStreaming(form)
    protocol._addBatch(form)
    protocol._addParallel(form)


def _add_particle(group: Any) -> None:
    group.addParam(
        "diameter",
        params.FloatParam,
        default=280.0,
        important=True,
        validators=[params.GT(0, error="must be more than 0 A")],
        label="Diameter (A)",
        help="Diameter of the particle in angstrom; of a long one something between length "
        "and width. Ribosome 250 to 280, proteasome 150 to 200, apoferritin 130. A guess "
        "will do to begin with.",
    )
    group.addParam(
        "minDistance",
        params.FloatParam,
        default=0.0,
        validators=[params.GE(0, error="must be 0 (automatic) or more A")],
        label="Least distance (A)",
        help="Two picks are never nearer to each other; of two that would be, the better one "
        "stays. 0: six sevenths of the diameter. Less for particles that touch or overlap, more if "
        "a particle is picked twice.",
    )
    group.addParam(
        "boxSize",
        params.IntParam,
        default=0,
        validators=[params.GE(0, error="must be 0 (automatic) or more voxels")],
        label="Box size (voxels)",
        help="Written into the set of coordinates, for extraction and for viewers; picking "
        "does not depend on it. In voxels of the tomograms that the coordinates belong to. "
        "0: one and a half diameters.",
    )
    group.addParam(
        "factor",
        params.FloatParam,
        default=1.1,
        expertLevel=LEVEL_ADVANCED,
        validators=[params.Range(1.01, 5, error="must be from 1.01 to 5")],
        label="Ratio of the Gaussians",
        help="The wider Gaussian is so many times the narrower one. 1.1 responds sharply to "
        "the given diameter; 1.6 accepts more different sizes.",
    )


def _add_amount(group: Any) -> None:
    group.addParam(
        "pickBy",
        params.EnumParam,
        choices=["score threshold", "number of picks"],
        default=BY_SCORE,
        display=params.EnumParam.DISPLAY_HLIST,
        label="Choose by",
        help="*Score threshold* takes all that are good enough, so that a crowded tomogram "
        "gives more than an empty one. *Number of picks* takes the best so many of each "
        "tomogram, good or not.",
    )
    group.addParam(
        "threshold",
        params.FloatParam,
        default=4.0,
        condition=f"pickBy == {BY_SCORE}",
        validators=[params.Range(0, 1000, error="must be from 0 to 1000")],
        label="Lowest score",
        help="In robust standard deviations of the filtered tomogram. 4 leaves few picks that "
        "are mere noise; 3 finds fainter particles and more noise; 5 to 6 for clean picks. "
        "Scores are kept, so that a stricter choice can be made later, not a looser one.",
    )
    group.addParam(
        "number",
        params.IntParam,
        default=500,
        condition=f"pickBy == {BY_NUMBER}",
        validators=[params.GT(0, error="must be 1 or more")],
        label="Picks in a tomogram",
        help="The best so many of each tomogram. Take some more than there are particles, "
        "and let classification sort the wrong ones out.",
    )


def _add_where(protocol: Any, group: Any) -> None:
    group.addParam(
        "border",
        params.FloatParam,
        default=0.0,
        validators=[params.GE(0, error="must be 0 or more A")],
        label="Border (A)",
        help="No picks so near to a face of the tomogram. Half the box that you will extract "
        "makes sure that every box is inside; 0 for no border.",
    )
    protocol._addContrast(group)
