"""Fill the missing wedge of tomograms with what a trained model predicts."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from tomo.objects import SetOfTomograms

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.objects import tilt_text
from dual_scipion.protocols.forms.train import TILT_AXES
from dual_scipion.protocols.parts.engine_record import range_text, read_results
from dual_scipion.protocols.parts.input_warnings import names_text
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms

FROM_ACQUISITION, FROM_MODEL, BY_HAND = range(3)
AMPLITUDES = ("auto", "shells", "single", "model")
OTHER_RANGE_DEG = 5.0  # a model that was trained for a tilt range further away is warned of
WEDGE_TASK = "missing-wedge"


class CompensateOutputs(Enum):
    """What the protocol makes."""

    Tomograms = SetOfTomograms


class ProtDualCompensateWedge(ProtDualTomograms):
    """Fill the missing wedge of tomograms, so that things look less stretched along the beam.

    What was measured stays as it was. What lay in the missing wedge is *predicted* by a network;
    it was not measured. Use the result to look at, to segment and to pick. *Never average it*, and
    never report a structure that is seen only in it: take the raw tomograms for that.

    *Which model*: one from *train model* with the task *missing wedge*, trained on these
    tomograms. A denoising model works too, and fills less.

    *The tilt range* comes from the acquisition of each tomogram. Where that does not know it, or
    is wrong, give it by hand. A wrong tilt range leaves a part of the wedge empty, or replaces
    measured data by predictions; the log warns where the tomogram itself says something else.

    Each tomogram keeps its size, voxel size, origin, contrast and intensities. One that fails goes
    into the output FailedTomograms and the others go on. *Continue* treats only what is not done
    yet. The protocol may be started while its input is still being made.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "compensate missing wedge"
    _possibleOutputs = CompensateOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        self._addInputTomograms(
            form,
            help="The tomograms, as they come from the reconstruction. Not denoised ones: to have "
            "the noise removed as well, give a denoising model below.",
        )
        self._addInputModel(
            form,
            help="A model from *train model* with the task *missing wedge*, or a denoising model.",
        )
        form.addParam(
            "denoisingModel",
            params.PointerParam,
            pointerClass="DualModel",
            allowsNull=True,
            label="Denoising model (optional)",
            help="If given, the measured part is that of the tomogram after denoising with this "
            "model. Otherwise what is measured keeps its noise, and what is predicted has none: "
            "the result is then noisier in some directions than in others.",
        )
        self._defineWedge(form.addGroup("Missing wedge"))
        self._addMachine(form)
        self._addGpu(form)
        self._addStreaming(form)
        self._addBatch(form)
        self._addParallel(form)

    def _defineWedge(self, group: Any) -> None:
        group.addParam(
            "tiltSource",
            params.EnumParam,
            choices=["from the acquisition", "from the model", "by hand"],
            default=FROM_ACQUISITION,
            label="Tilt range",
            help="*From the acquisition*: that of each tomogram; best where it is known. *From the "
            "model*: that of the tomograms it was trained on. *By hand*: the same for all.",
        )
        line = group.addLine(
            "Tilt angles (degrees)",
            condition=f"tiltSource == {BY_HAND}",
            help="The lowest and the highest tilt angle of the tilt series, such as -60 and 60. "
            "If the range is not symmetric its sign matters: some programs turn the tomogram "
            "around, and then -50 to 70 becomes -70 to 50.",
        )
        for name, label, default in (("tiltMin", "lowest", -60.0), ("tiltMax", "highest", 60.0)):
            line.addParam(
                name,
                params.FloatParam,
                default=default,
                condition=f"tiltSource == {BY_HAND}",
                validators=[params.Range(-90, 90, error="must be from -90 to 90 degrees")],
                label=label,
                help=f"The {label} tilt angle in degrees.",
            )
        group.addParam(
            "tiltAxis",
            params.EnumParam,
            choices=list(TILT_AXES),
            default=TILT_AXES.index("y"),
            expertLevel=LEVEL_ADVANCED,
            label="Tilt axis of the tomograms",
            help="Axis of the tomogram that the sample was tilted about. It is *y* after nearly "
            "all reconstruction programs; *x* if the tomograms were turned by 90 degrees in the "
            "plane.",
        )
        self._defineFilling(group)
        self._addContrast(group)

    @staticmethod
    def _defineFilling(group: Any) -> None:
        group.addParam(
            "softEdge",
            params.FloatParam,
            default=3.0,
            validators=[params.Range(0, 90, error="must be from 0 to 90 degrees")],
            expertLevel=LEVEL_ADVANCED,
            label="Soft edge (degrees)",
            help="Over how many degrees inside the wedge the prediction fades in. Where the result "
            "has stripes along the edge of the wedge, make it wider; more than 10 leaves a part "
            "of the wedge empty.",
        )
        group.addParam(
            "amplitude",
            params.EnumParam,
            choices=list(AMPLITUDES),
            default=AMPLITUDES.index("auto"),
            expertLevel=LEVEL_ADVANCED,
            label="Strength of what fills the wedge",
            help="*shells*: as strong as what was measured, frequency by frequency. *single*: one "
            "factor for all frequencies. *model*: as the network gives it. *auto* takes *model* "
            "for a missing wedge model and *shells* for a denoising model. Leave it, unless what "
            "fills the wedge looks much stronger or weaker than the rest in the power spectrum.",
        )

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self.insertTomogramSteps(self.compensateStep, self.closeOutputsStep)

    def compensateStep(self, ts_ids: List[str], begun: str) -> None:
        """Fill the wedge of these tomograms, those of one tilt range in one run of the engine."""
        self.runTomograms("compensate", ts_ids, self.engineOptions)

    # --------------------------- the engine's options and files ---------------------------
    def tiltRange(self, tomogram: Any) -> Optional[Tuple[float, float]]:
        """The tilt range of a tomogram in degrees, as the form says; ``None`` if not known."""
        if self.tiltSource.get() == BY_HAND:
            return float(self.tiltMin.get()), float(self.tiltMax.get())
        if self.tiltSource.get() == FROM_MODEL:
            model = self.inputModel.get()
            return None if model is None else model.getTiltRange()
        found = convert.tilt_range(tomogram)
        return found if found is not None and found[0] < found[1] else None

    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The options of ``dual compensate`` for a tomogram."""
        tilt_range = self.tiltRange(tomogram)
        if tilt_range is None:
            raise DualError(
                "the acquisition does not tell the tilt range; give it in the form, by hand"
            )
        denoising = self.denoisingModel.get()
        return {
            "model": self.inputModel.get().getFileName(),
            "measured_from": None if denoising is None else denoising.getFileName(),
            "tilt_range": list(tilt_range),
            "tilt_axis": self.getEnumText("tiltAxis"),
            "soft_edge": self.softEdge.get(),
            "amplitude": self.getEnumText("amplitude"),
            "contrast": self.getEnumText("contrast"),
            "voxel_size": tomogram.getSamplingRate(),
            **self.machineOptions(),
        }

    def engineFiles(self, tomogram: Any) -> Dict[str, str]:
        names = self.inputFiles(tomogram)
        return {f"{name}_compensated.mrc": self._getExtraPath(f"{name}.mrc") for name in names}

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        source = self.tiltSource.get()
        if source == BY_HAND and not -90 <= self.tiltMin.get() < self.tiltMax.get() <= 90:
            errors.append("The tilt angles must be two from -90 to 90, the lower one first.")
        elif source == FROM_MODEL:
            if self.inputModel.get() is not None and self.tiltRange(None) is None:
                errors.append("The model does not know its tilt range: choose another source.")
        elif source == FROM_ACQUISITION:
            unknown = [convert.ts_id(i) for i in self.iterInput() if self.tiltRange(i) is None]
            if unknown:
                errors.append(
                    f"The acquisition of {names_text(unknown)} does not tell the tilt range: give "
                    "it by hand."
                )
        return errors

    def _warnings(self) -> List[str]:
        model, tomograms = self.inputModel.get(), self.inputTomograms.get()
        warnings = super()._warnings() + self.modelWarnings(model, [tomograms])
        if model is None:
            return warnings
        if model.getTask() != WEDGE_TASK:
            warnings.append(
                f"The model was trained for '{model.getTask()}': it fills less of the wedge than "
                "one that was trained with the task 'missing wedge'."
            )
        warnings += self.tiltWarnings(model, map(self.tiltRange, self.iterInput()), OTHER_RANGE_DEG)
        return warnings + self.contrastWarnings(model)

    def _results(self) -> List[Dict[str, Any]]:
        return read_results(self.figuresPath(ts_id) for ts_id in sorted(self.registeredTsIds()))

    def _summary(self) -> List[str]:
        summary = super()._summary()
        results = self._results()
        ranges = Counter(tilt_text(*one["tilt_range"]) for one in results if one.get("tilt_range"))
        if ranges:
            given = ", ".join(f"{text} ({number})" for text, number in ranges.items())
            summary.append(f"Tilt range in degrees (tomograms): {given}.")
        found = [one["correlation"] for one in results if one.get("correlation") is not None]
        if found:
            summary.append(f"Correlation of tomogram and network output: {range_text(found)}.")
        summary.append("What fills the wedge is predicted: do not average these tomograms.")
        return summary

    def _methods(self) -> List[str]:
        model = self.inputModel.get()
        if not self.doneCount() or model is None:
            return []
        return [
            f"The missing wedge of {self.doneCount()} tomograms was filled with the prediction of "
            f"a DUAL model [Zeng2024DUAL] ({model.getTask()}, {model.getIterations()} iterations "
            f"at {model.getVoxelSize():.2f} A per voxel); measured Fourier coefficients were kept"
            f"{'' if self.denoisingModel.get() is None else ' after denoising'}."
        ]
