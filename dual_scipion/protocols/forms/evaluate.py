"""The form of the protocol that evaluates denoising."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED


def define_evaluation_params(protocol: Any, form: Any) -> None:
    """Add all parameters of the evaluation to a form."""
    protocol._addInputSection(form)
    protocol._addInputTomograms(
        form, help="The tomograms as they were before denoising.", label="Raw tomograms"
    )
    form.addParam(
        "inputDenoised",
        params.PointerParam,
        pointerClass="SetOfTomograms",
        important=True,
        label="Denoised tomograms",
        help="The same tomograms denoised (by DUAL or another program), matched by tsId, with as "
        "many voxels.",
    )
    protocol._addInputModel(
        form,
        allowsNull=True,
        help="Optional: the model that denoised them (where *denoise* adapted it, its output "
        "AdaptedModel). With it the report says how far the result "
        "can be trusted, for which no truth is needed: what was removed, what the model makes of "
        "mere noise, how much it depends on how the volume lies.",
    )
    _add_choice(form.addGroup("Which tomograms"))
    _add_truth(form.addGroup("Known truth (synthetic data)"))
    _add_picks(form.addGroup("Particles"))
    protocol._addContrast(form)
    protocol._addTiltAxis(form)
    protocol._addMachine(form)
    protocol._addGpu(form)
    protocol._addParallel(form)


def _add_choice(group: Any) -> None:
    group.addParam(
        "howMany",
        params.IntParam,
        default=3,
        validators=[params.GE(0, error="must be 0 (all) or more")],
        label="How many tomograms",
        help="Of a larger set so many are examined, evenly spread over it; 0: all. Each takes "
        "about ten times as long as denoising it, and some megabytes in the report.",
    )
    group.addParam(
        "tsIds",
        params.StringParam,
        default="",
        expertLevel=LEVEL_ADVANCED,
        label="Only these tomograms (tsIds)",
        help="Examine these and no others: tsIds, separated by blanks or commas. Empty: chosen by "
        "the number above.",
    )


def _add_truth(group: Any) -> None:
    group.addParam(
        "inputTruth",
        params.PointerParam,
        pointerClass="SetOfTomograms, SetOfVolumes",
        allowsNull=True,
        label="Clean volumes",
        help="Optional, for simulated tomograms: what they show, without noise, density bright "
        "(the grand models). Matched by tsId; if no tsId fits, by order, and then there must be "
        "as many as raw tomograms. Gives correlation, PSNR, SSIM and FSC.",
    )


def _add_picks(group: Any) -> None:
    group.addParam(
        "inputTruePicks",
        params.PointerParam,
        pointerClass="SetOfCoordinates3D",
        allowsNull=True,
        label="Known particles",
        help="Optional: where the particles are, from a simulation or picked by hand. Give the "
        "picks below, too; precision, recall and F1 come out.",
    )
    group.addParam(
        "inputPicks",
        params.PointerParam,
        pointerClass="SetOfCoordinates3D",
        allowsNull=True,
        label="Picks",
        help="Optional: the picks to compare with the known particles, matched by tsId. The two "
        "sets may belong to differently binned tomograms.",
    )
    group.addParam(
        "diameter",
        params.FloatParam,
        default=150.0,
        validators=[params.GT(0, error="must be more than 0 A")],
        label="Particle diameter (A)",
        help="Of the particle that you are interested in, in angstrom. Blobs of this size are "
        "counted in the denoised tomogram and in what the model makes of mere noise, where there "
        "should be hardly any.",
    )
    group.addParam(
        "tolerance",
        params.FloatParam,
        default=0.0,
        validators=[params.GE(0, error="must be 0 (automatic) or more A")],
        label="Tolerance of picks (A)",
        help="A pick so near to a known particle, in angstrom, is right. 0: half the diameter.",
    )
    group.addParam(
        "onlyClass",
        params.IntParam,
        default=0,
        expertLevel=LEVEL_ADVANCED,
        validators=[params.GE(0, error="must be 0 (all) or the number of a class")],
        label="Class of the particles",
        help="Compare with the known particles of this class (group id) only; 0: with all. "
        "Give it where one of several kinds was picked.",
    )
