"""Average what lies at picks, without alignment: do they sit on particles?"""

from __future__ import annotations

import json
import os
from enum import Enum
from typing import Any, Dict, List, Tuple

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from pyworkflow.utils import createAbsLink
from tomo.objects import AverageSubTomogram, TomoAcquisition

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id, picks_of, transferred, write_picks
from dual_scipion.protocols.parts.input_warnings import geometry_warnings
from dual_scipion.protocols.parts.protocol_base import ProtDualBase
from dual_scipion.protocols.protocol_pick_dog import BOX_PER_DIAMETER

AVERAGE, PROFILE, FIGURES = "average.mrc", "radial_profile.csv", "average.json"
KEPT = ("radial_profile.png", PROFILE, FIGURES, AVERAGE)  # the average last: then all is there
# Of the radius of the ball that fits best to that of the particle.
SAME_SIZE = (0.7, 1.4)
CLEAR, FAINT = 0.25, 0.1  # parts of the average's variance that the ball explains


class AverageOutputs(Enum):
    """What the protocol makes."""

    Average = AverageSubTomogram


class ProtDualAverage(ProtDualBase):
    """Average the raw tomograms at picks, without alignment: a check of the picks.

    Particles lie in all orientations, and so the average of right picks is a ball of the
    particle's size. Picks off the centre smear it, and each wrong one lowers it. It takes seconds,
    and tells before hours of averaging whether picks sit on particles. It is no structure.

    *Which tomograms*: the *raw* ones, also where the picks were made on denoised ones: an average
    of denoised tomograms shows what the network believes. They are matched by tsId and may be
    binned differently from those that the coordinates belong to.

    *How to read it*: the summary says whether there is a ball, of which radius, and how high it is
    in deviations of the tomograms. Picks in mere noise give a ball as well, since maxima were
    picked, but a low one. Compare the height with that of picks that are known to be right, or
    with that of the best picks alone (*Best picks of each tomogram*).

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "average at picks"
    _possibleOutputs = AverageOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        form.addParam(
            "inputCoordinates",
            params.PointerParam,
            pointerClass="SetOfCoordinates3D",
            important=True,
            label="Coordinates",
            help="The picks, from *DoG picking* or any other protocol.",
        )
        self._addInputTomograms(
            form,
            label="Raw tomograms",
            help="The tomograms as they come from the reconstruction, not denoised. A tomogram "
            "with picks that is not among them (by tsId) is left out.",
        )
        form.addParam(
            "diameter",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0, error="must be 0 (by the box) or more angstrom")],
            label="Diameter (A)",
            help="Of the particle, in angstrom. The box is up to twice as large, and the verdict "
            "compares the ball with it. 0: two thirds of the box of the coordinates, which is the "
            "diameter that *DoG picking* was given.",
        )
        form.addParam(
            "number",
            params.IntParam,
            default=0,
            validators=[params.GE(0, error="must be 0 (all) or more")],
            expertLevel=LEVEL_ADVANCED,
            label="Best picks of each tomogram",
            help="Take so many picks of each tomogram, those with the highest scores; 0: all. If "
            "the best ones give a higher ball than all, some of the others are wrong.",
        )
        form.addParam(
            "boxSize",
            params.IntParam,
            default=0,
            validators=[params.GE(0, error="must be 0 (automatic) or more voxels")],
            expertLevel=LEVEL_ADVANCED,
            label="Box (voxels)",
            help="Side of the box in voxels of the raw tomograms. A box that leaves its tomogram "
            "counts with the part inside; picks nearer than a quarter of the box to a face are "
            "left out. 0: twice the diameter.",
        )
        form.addParam(
            "group",
            params.IntParam,
            default=0,
            validators=[params.GE(0, error="must be 0 (all) or more")],
            expertLevel=LEVEL_ADVANCED,
            label="Group",
            help="Take the picks of this group alone (the class, where a protocol of DUAL made "
            "them); 0: all. Give it where a set has several kinds of particles.",
        )
        self._addContrast(form)
        self._addParallel(form)

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.averageStep, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def averageStep(self) -> None:
        """Write the picks in voxels of the raw tomograms, and let the engine average there."""
        folder = self.workFolder("average")
        links, lists = [], []
        for raw, picks in self.picked():
            name = convert.safe_name(convert.ts_id(raw))
            links.append(os.path.join(folder, f"{name}.mrc"))
            createAbsLink(os.path.abspath(convert.volume_path(raw)), links[-1])
            lists.append(os.path.join(folder, f"{name}.csv"))
            write_picks(lists[-1], picks, raw.getSamplingRate())
        output = os.path.join(folder, "out")
        options = {
            "tomograms": links,
            "picks": lists,
            "output": output,
            "diameter": self.particleDiameter(),
            "box": self.boxSize.get() or None,
            "number": self.number.get() or None,
            "contrast": self.getEnumText("contrast"),
            "voxel_size": self.voxelSize(),
        }
        self.runEngine("average", options, [os.path.join(output, name) for name in KEPT])
        convert.set_header_voxel_size(os.path.join(output, AVERAGE), self.voxelSize())
        for name in KEPT:
            os.replace(os.path.join(output, name), self._getExtraPath(name))
        self.cleanFolder(folder)

    def createOutputStep(self) -> None:
        """Define the average as output."""
        average = AverageSubTomogram()
        average.setFileName(self.averagePath())
        average.setSamplingRate(self.voxelSize())
        average.setAcquisition(TomoAcquisition())
        self._defineOutputs(**{self._outputName(): average})
        self._defineSourceRelation(self.inputCoordinates, average)
        self._defineSourceRelation(self.inputTomograms, average)

    # --------------------------- values ---------------------------
    def picked(self) -> List[Tuple[Any, List[convert.Pick]]]:
        """Raw tomograms with their picks, in voxels of the raw tomograms.

        Raises
        ------
        DualError
            If there are none, or the tomograms show another region.
        """
        coordinates = self.inputCoordinates.get()
        raw = items_by_ts_id(self.inputTomograms.get())
        owners = items_by_ts_id(coordinates.getPrecedents())
        found = []
        for name, owner in owners.items():
            if name not in raw:
                continue
            picks = picks_of(coordinates, owner)
            picks = [one for one in picks if self.group.get() in (0, one.group)]
            if picks:
                found.append((raw[name], transferred(picks, owner, raw[name])))
        coordinates.close()
        if not found:
            raise DualError("no raw tomogram has picks (by tsId, and of the group)")
        return found

    def averagePath(self) -> str:
        """The average, for viewers."""
        return str(self._getExtraPath(AVERAGE))

    def profilePath(self) -> str:
        """Its radial profile as a table, for viewers."""
        return str(self._getExtraPath(PROFILE))

    def voxelSize(self) -> float:
        """Of the raw tomograms and the average, in angstrom."""
        return float(self.inputTomograms.get().getSamplingRate())

    def particleDiameter(self) -> float:
        """In angstrom, as given or by the box of the coordinates."""
        coordinates = self.inputCoordinates.get()
        box_A = float(coordinates.getBoxSize() or 0) * coordinates.getSamplingRate()
        return float(self.diameter.get() or box_A / BOX_PER_DIAMETER)

    def figures(self) -> Dict[str, float]:
        """The engine's figures of the average; empty where there are none yet."""
        try:
            with open(self._getExtraPath(FIGURES), encoding="utf-8") as stream:
                return dict(json.load(stream))
        except (OSError, ValueError):
            return {}

    def verdictLines(self) -> List[str]:
        """What the average says about the picks, in words."""
        found = self.figures()
        if not found:
            return []
        return [
            verdict(found["radius_A"], found["explained"], self.particleDiameter()),
            f"{found['particles']:.0f} particles averaged, {found['left_out']:.0f} too near to a "
            f"face. The ball that fits best has a radius of {found['radius_A']:.0f} A and explains "
            f"{100 * found['explained']:.0f} % of the variance; it is {found['height']:.2f} "
            f"deviations of the tomograms high, the noise around it {found['noise']:.2f}.",
            "Picks in mere noise give a low ball, too: compare the height with that of picks that "
            "are known to be right.",
        ]

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        coordinates, tomograms = self.inputCoordinates.get(), self.inputTomograms.get()
        if coordinates is None or tomograms is None:
            return errors
        if not self.particleDiameter():
            errors.append("The coordinates have no box size: give the diameter of the particle.")
        known = items_by_ts_id(tomograms)
        picked = {str(name) for name in coordinates.getTSIds()}
        coordinates.close()
        if not picked & set(known):
            errors.append("No tomogram with picks is among the raw tomograms (by tsId).")
        return errors

    def _warnings(self) -> List[str]:
        coordinates, tomograms = self.inputCoordinates.get(), self.inputTomograms.get()
        warnings = super()._warnings() + geometry_warnings(tomograms)
        if coordinates is None or tomograms is None:
            return warnings
        picked = {str(name) for name in coordinates.getTSIds()}
        coordinates.close()
        missing = len(picked - set(items_by_ts_id(tomograms)))
        if missing:
            warnings.append(
                f"{missing} of {len(picked)} tomograms with picks are not among the raw ones (by "
                "tsId) and are left out."
            )
        return warnings

    def _summary(self) -> List[str]:
        return self.verdictLines() or ["No average yet."]

    def _methods(self) -> List[str]:
        found = self.figures()
        if not found:
            return []
        return [
            f"{found['particles']:.0f} picks were checked by the average of the raw tomograms at "
            f"their positions, without alignment, by DUAL [Zeng2024DUAL]: a ball of "
            f"{found['radius_A']:.0f} A radius explains {100 * found['explained']:.0f} % of its "
            "variance."
        ]


def verdict(radius_A: float, explained: float, diameter_A: float) -> str:
    """A sentence on the ball in an average at picks of particles of a diameter."""
    low, high = (factor * diameter_A / 2 for factor in SAME_SIZE)
    if explained < FAINT:
        return "*No ball*: the picks do not sit on particles of one size, or they are too few."
    if not low <= radius_A <= high:
        return (
            f"*A ball of another size*: {2 * radius_A:.0f} A across, not {diameter_A:.0f} A. The "
            "picks may sit on something else, or beside the centres."
        )
    if explained < CLEAR:
        return "*A faint ball* of the particle's size: many picks are wrong, or they are few."
    return "*A clear ball* of the particle's size: the picks sit on something of that size."
