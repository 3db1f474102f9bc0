"""Pick particles without a template, by a Difference of Gaussians."""

from __future__ import annotations

import glob
import math
from enum import Enum
from typing import Any, Dict, List, Optional

from tomo.objects import Coordinate3D, SetOfCoordinates3D

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id, transferred
from dual_scipion.protocols.forms.pick import BY_NUMBER, define_pick_params
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms

BOX_PER_DIAMETER = 1.5  # room for the mask and the background of a particle
SMALLEST_SIGMA = 0.5  # voxels, as in the engine
SIGMAS_PER_DIAMETER = 2 * math.sqrt(3)


class PickOutputs(Enum):
    """What the protocol makes."""

    Coordinates = SetOfCoordinates3D


class ProtDualPickDog(ProtDualTomograms):
    """Pick particles of a known size by a three-dimensional Difference of Gaussians (DoG).

    It finds everything of about the given diameter and needs neither template nor training. It
    tells neither shapes nor orientations apart: membranes, ice and gold of that size are found,
    too, and classification sorts them out later.

    *Pick on denoised tomograms, extract and average from the raw ones.* Give the denoised
    tomograms as input and the raw ones as "Tomograms to extract from": then the coordinates belong
    to the raw tomograms, and extraction takes its particles from them.

    *How to choose*: the diameter is that of the particle (ribosome: 250 to 280 A). Begin with the
    score threshold of 4, look at the picks, and raise it where there are many wrong ones. Where
    you know how many particles there are, choose their number.

    Each pick has a score: how far it rises above the filtered tomogram, in robust standard
    deviations. A tomogram that fails goes into the output FailedTomograms and the others go on.
    The protocol may be started while its input is still being made. It needs no GPU.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "DoG picking"
    _possibleOutputs = PickOutputs

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._others: Dict[str, Dict[str, Any]] = {}

    # --------------------------- form ---------------------------
    def _defineParams(self, form: Any) -> None:
        define_pick_params(self, form)

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self.insertTomogramSteps(self.pickStep, self.closeOutputsStep)

    def pickStep(self, ts_ids: List[str], begun: str) -> None:
        """Pick in these tomograms, in one run of the engine unless each has its mask."""
        self.runTomograms("pick", ts_ids, self.engineOptions)

    # --------------------------- the engine's options and files ---------------------------
    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The options of ``dual pick`` for a tomogram."""
        by_number = self.pickBy.get() == BY_NUMBER
        mask = self._matching("masks", self.inputMasks.get(), tomogram, "mask")
        return {
            "diameter": self.diameter.get(),
            "factor": self.factor.get(),
            "min_distance": self.minDistance.get() or None,
            "number": self.number.get() if by_number else None,
            # 0 would be no option of the engine's, whose scores there are all above it.
            "threshold": None if by_number else max(self.threshold.get(), 1e-6),
            "border": self.border.get() or None,
            "mask": None if mask is None else convert.volume_path(mask),
            "contrast": self.getEnumText("contrast"),
            "voxel_size": tomogram.getSamplingRate(),
        }

    def _matching(self, name: str, volumes: Any, tomogram: Any, what: str) -> Optional[Any]:
        """The item of another set with the tsId of a tomogram; None where no set is given."""
        if volumes is None:
            return None
        wanted = convert.ts_id(tomogram)
        with self._lock:
            if wanted not in self._others.get(name, {}):  # it may have come by now
                self._others[name] = items_by_ts_id(volumes)
        if wanted not in self._others[name]:
            raise DualError(f"there is no {what} with the tsId {wanted}; add it, then Continue")
        return self._others[name][wanted]

    def engineFiles(self, tomogram: Any) -> Dict[str, str]:
        (name,) = self.inputFiles(tomogram)
        ends = (".csv", ".star")
        return {f"{name}_picks{end}": self._getExtraPath(name + end) for end in ends}

    # --------------------------- outputs ---------------------------
    def registerTomogram(self, tomogram: Any) -> None:
        picks = convert.read_picks(self.resultFiles(tomogram)[0])
        raw = self._matching("raw", self.inputExtract.get(), tomogram, "tomogram to extract from")
        if raw is not None:
            picks = transferred(picks, tomogram, raw)
        if not picks:
            return  # a set without items would be made anew each time
        pointers = [self.inputTomograms]
        if self.inputExtract.get() is not None:
            pointers.append(self.inputExtract)
        name = self._outputName()
        output = self.getOutputSet(name, SetOfCoordinates3D, pointers, self._prepare)
        convert.append_picks(output, raw or tomogram, picks)
        self.storeOutput(name, output)

    def _prepare(self, output: Any) -> None:
        convert.prepare_coordinates(output, self._owner(), self.boxVoxels())

    def _owner(self) -> Any:
        """Pointer to the set that the coordinates belong to."""
        given = self.inputExtract.get() is not None
        return self.inputExtract if given else self.inputTomograms

    def boxVoxels(self) -> int:
        """The box size: as given, or an even number of voxels around one and a half diameters."""
        voxels = BOX_PER_DIAMETER * self.diameter.get() / self._owner().get().getSamplingRate()
        return int(self.boxSize.get() or 2 * math.ceil(voxels / 2))

    def closeOutputsStep(self, begun: str) -> None:
        if not self.doneCount() and not self.failedItems:
            raise DualError(
                "No particle was found in any tomogram. Lower the score threshold, or check "
                "diameter, contrast, border and masks"
            )
        super().closeOutputsStep(begun)

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        tomograms = self.inputTomograms.get()
        if tomograms is None:
            return errors
        voxels = self.diameter.get() / tomograms.getSamplingRate()
        if voxels < SMALLEST_SIGMA * SIGMAS_PER_DIAMETER:
            errors.append(
                f"The diameter is only {voxels:.1f} voxels of the tomograms: give it in angstrom, "
                "or pick on tomograms with smaller voxels."
            )
        for volumes, what in self._companions():
            if not tomograms.isStreamOpen() and not self._shared(volumes):
                errors.append(f"No tsId of the tomograms is among those of the {what}.")
        return errors

    def _companions(self) -> List[Any]:
        given = (
            (self.inputExtract.get(), "tomograms to extract from"),
            (self.inputMasks.get(), "masks"),
        )
        return [(volumes, what) for volumes, what in given if volumes is not None]

    def _shared(self, volumes: Any) -> List[str]:
        known = items_by_ts_id(volumes)
        return [name for name in map(convert.ts_id, self.iterInput()) if name in known]

    def _warnings(self) -> List[str]:
        warnings = super()._warnings()
        if self.inputTomograms.get() is None:
            return warnings
        total = len(list(self.iterInput()))
        for volumes, what in self._companions():
            missing = total - len(self._shared(volumes))
            if missing and not volumes.isStreamOpen():
                warnings.append(
                    f"{missing} of {total} tomograms have no counterpart in the {what} (by "
                    "tsId) and will fail."
                )
        return warnings

    def _summary(self) -> List[str]:
        summary = super()._summary()
        done = len(glob.glob(self._getExtraPath("*.csv")))
        total = self.inputTomograms.get().getSize() if self.inputTomograms.get() else 0
        summary[0] = f"{done} of {total} tomograms picked."
        counts = self.countsByTomogram()
        if counts:
            empty = done - len(counts)
            summary.append(
                f"*{sum(counts.values())} particles*, {min(counts.values())} to "
                f"{max(counts.values())} in a tomogram"
                + (f"; none in {empty} tomograms." if empty > 0 else ".")
            )
            summary.append(f"Box of {self.boxVoxels()} voxels, coordinates of the {self._whose()}.")
        return summary

    def _whose(self) -> str:
        if self.inputExtract.get() is None:
            return "tomograms that were picked on"
        return "tomograms to extract from"

    def countsByTomogram(self) -> Dict[str, int]:
        """How many particles there are in each tomogram that has any."""
        output = getattr(self, self._outputName(), None)
        if output is None or output.getSize() == 0:
            return {}
        key = Coordinate3D.TOMO_ID_ATTR
        with self._lock:
            found = {str(row[key]): int(row["COUNT"]) for row in output.aggregate(
                ["COUNT"], key, [key]
            )}
            output.close()
        return found

    def _methods(self) -> List[str]:
        counts = self.countsByTomogram()
        if not counts:
            return []
        return [
            f"{sum(counts.values())} particles were picked in {len(counts)} tomograms with the "
            f"three-dimensional Difference of Gaussians [Voss2009] of DUAL [Zeng2024DUAL] for a "
            f"diameter of {self.diameter.get():g} A."
        ]

    def _citations(self) -> List[str]:
        return [*super()._citations(), "Voss2009"]
