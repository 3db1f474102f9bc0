"""Evaluate denoising: a report to look at, and numbers."""

from __future__ import annotations

import logging
import os
from enum import Enum
from typing import Any, Dict, List, Tuple

from pwem.objects import EMFile
from pyworkflow.utils import createAbsLink

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id, picks_of, write_picks
from dual_scipion.protocols.forms.evaluate import define_evaluation_params
from dual_scipion.protocols.forms.parts import TILT_AXES
from dual_scipion.protocols.parts import evaluation_numbers, input_warnings
from dual_scipion.protocols.parts.evaluation_inputs import Examined, link_files, truths_by_ts_id
from dual_scipion.protocols.parts.protocol_base import ProtDualBase

REPORT = "report.html"
TRUST = os.path.join("report_files", "trust", "trust.json")  # beside it, as the engine calls it
NUMBERS = "numbers.json"
WEDGE_TASK = "missing-wedge"  # of a model that does not denoise
logger = logging.getLogger(__name__)
MODEL, HISTORY = "model.safetensors", "history.jsonl"
# What a training left beside its model, and the report can show.
TRAINING = (HISTORY, "config.yaml", "train.yaml", "previews")


class EvaluateOutputs(Enum):
    """What the protocol makes."""

    Report = EMFile


class ProtDualEvaluate(ProtDualBase):
    """Find out how good denoising was, and how far its result can be trusted.

    The result is a report, one HTML page with pictures that opens in any browser: raw, denoised
    and removed side by side, spectra, and what can be measured with what is given:

    * *with the DUAL model*: can it be trusted on these tomograms? No truth is needed. Each number
      has a verdict, green, amber or red, and a sentence that explains it.
    * *with half maps* as well: does the result know more of the specimen than a filter would?
    * *with clean volumes* (simulated tomograms): correlation, PSNR, SSIM and Fourier shell
      correlation, raw and denoised.
    * *with known particles and picks*: precision, recall and F1.

    The main numbers are in the summary; the page is the output Report.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "evaluate denoising"
    _possibleOutputs = EvaluateOutputs

    def _defineParams(self, form: Any) -> None:
        define_evaluation_params(self, form)

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.reportStep, needsGPU=self.usesGpu())
        if self.halved():
            self._insertFunctionStep(self.halvesStep, needsGPU=self.usesGpu())
        if self.inputTruth.get() is not None:
            self._insertFunctionStep(self.truthStep, needsGPU=False)
        if self.inputPicks.get() is not None:
            self._insertFunctionStep(self.picksStep, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def reportStep(self) -> None:
        """Write the page, and with a model the trust report that it shows."""
        folder = self.workFolder("report")
        links = [link_files(folder, one) for one in self.examined()]
        first = self.examined()[0].raw
        run, model = os.path.join(folder, "denoising"), self.inputModel.get()
        os.makedirs(run)
        if model is None:
            open(os.path.join(run, HISTORY), "w", encoding="utf-8").close()  # a run without model
        else:
            path = model.getFileName()
            createAbsLink(os.path.abspath(path), os.path.join(run, MODEL))
            for name in TRAINING:
                beside = os.path.join(os.path.dirname(path), name)
                if os.path.exists(beside):
                    createAbsLink(os.path.abspath(beside), os.path.join(run, name))
        halves = convert.half_paths(first) if model is not None else []
        options = {
            "run": run,
            "tomograms": [raw for raw, _, _ in links],
            "denoised": [denoised for _, denoised, _ in links],
            "truth": [truth for _, _, truth in links if truth is not None] or None,
            "halves": [os.path.abspath(path) for path in halves] or None,
            "output": self.reportPath(),
            "diameter": self.diameter.get(),
            "no_trust": model is None,
            "contrast": self.getEnumText("contrast"),
            "voxel_size": first.getSamplingRate(),
            **self._tilts(),
            **self.machineOptions(),
        }
        self.runEngine("report", options, [self.reportPath()])
        self.cleanFolder(folder)

    def halvesStep(self) -> None:
        """Denoise the half maps and compare each with the other one as it was measured."""
        pairs = [[os.path.abspath(path) for path in halves] for halves in self.halved()]
        options = {
            "first": pairs[0][0],
            "second": pairs[0][1],
            "pair": pairs[1:] or None,
            "model": self.inputModel.get().getFileName(),
            "contrast": self.getEnumText("contrast"),
            "voxel_size": self.examined()[0].raw.getSamplingRate(),
            **self._tilts(),
            "output": os.path.dirname(self._halvesPath()),
            **self.machineOptions(),
        }
        try:
            self.runEngine("evaluate halves", options, [self._halvesPath()], "halves")
        except DualError as error:  # the page is there, and the other numbers are to come
            logger.error("the half maps cannot be compared: %s", error)
            os.makedirs(os.path.dirname(self._halvesPath()), exist_ok=True)
            evaluation_numbers.write_numbers(self._halvesPath(), {"problem": str(error)})

    def truthStep(self) -> None:
        """Score every tomogram, raw and denoised, against its truth."""
        for one in self.examined():
            folder = self.workFolder("truth")
            raw, denoised, truth = link_files(folder, one)
            options = {
                "volumes": [raw, denoised],
                "truth": truth,
                "voxel_size": one.raw.getSamplingRate(),
                **self._tilts(),
                "tilt_axis": self.tiltAxisOfTomograms(),
                "output": os.path.dirname(self._scoresPath(one)),
            }
            self.runEngine(
                "evaluate volumes", options, [self._scoresPath(one)], f"truth_{one.name}"
            )
            self.cleanFolder(folder)

    def picksStep(self) -> None:
        """Compare the picks with the known particles."""
        folder = self.workFolder("picks")
        lists: Dict[str, List[str]] = {"truth": [], "picks": []}
        sets = {"truth": self.inputTruePicks.get(), "picks": self.inputPicks.get()}
        for name in self._pickedTsIds():
            for kind, coordinates in sets.items():
                tomogram = items_by_ts_id(coordinates.getPrecedents())[name]
                path = os.path.join(folder, f"{convert.safe_name(name)}_{kind}.csv")
                write_picks(path, picks_of(coordinates, tomogram), coordinates.getSamplingRate())
                lists[kind].append(path)
        options = {
            **lists,
            "tolerance": self.tolerance.get() or self.diameter.get() / 2,
            "only_class": self.onlyClass.get() or None,
            "output": os.path.dirname(self._picksPath()),
        }
        self.runEngine("evaluate picks", options, [self._picksPath()], "picks")
        self.cleanFolder(folder)

    def createOutputStep(self) -> None:
        """Put the numbers together and define the page as output."""
        examined = self.examined()
        given = self.inputTruth.get() is not None
        numbers: Dict[str, Any] = {"tomograms": [one.name for one in examined]}
        if self.inputModel.get() is not None:
            numbers["trust"] = evaluation_numbers.trust_numbers(str(self._getExtraPath(TRUST)))
        if self.halved():
            halves = evaluation_numbers.halves_numbers(self._halvesPath())
            numbers["halves"] = {**halves, "tomograms": len(self.halved())}
        if given:
            paths = [self._scoresPath(one) for one in examined]
            numbers["truth"] = evaluation_numbers.truth_numbers(paths)
        if self.inputPicks.get() is not None:
            numbers["picks"] = evaluation_numbers.pick_numbers(self._picksPath())
        evaluation_numbers.write_numbers(str(self._getExtraPath(NUMBERS)), numbers)
        report = EMFile(self.reportPath())
        self._defineOutputs(**{self._outputName(): report})
        for pointer in self._pointers():
            if pointer.get() is not None:
                self._defineSourceRelation(pointer, report)

    # --------------------------- what is examined ---------------------------
    def reportPath(self) -> str:
        """The page, for viewers."""
        return str(self._getExtraPath(REPORT))

    def _scoresPath(self, one: Examined) -> str:
        return str(self._getExtraPath("truth", one.name, "scores.json"))

    def _halvesPath(self) -> str:
        return str(self._getExtraPath("halves", "half_coherence.json"))

    def halved(self) -> List[List[str]]:
        """The half maps of the examined tomograms that have both; none without a model."""
        model = self.inputModel.get()
        if model is None or model.getTask() == WEDGE_TASK:
            return []
        return [found for found in (convert.half_paths(o.raw) for o in self.examined()) if found]

    def _picksPath(self) -> str:
        return str(self._getExtraPath("picks", "picks.json"))

    def _pointers(self) -> Tuple[Any, ...]:
        return (
            self.inputTomograms,
            self.inputDenoised,
            self.inputModel,
            self.inputTruth,
            self.inputTruePicks,
            self.inputPicks,
        )

    def examined(self) -> List[Examined]:
        """The tomograms that are examined: those of the tsIds in the form, or some of the set.

        Raises
        ------
        DualError
            If no tomogram is left, or a truth is missing.
        """
        raw, denoised = (
            items_by_ts_id(one.get()) for one in (self.inputTomograms, self.inputDenoised)
        )
        wanted = convert.parse_names(self.tsIds.get())
        names = [name for name in raw if name in denoised and (not wanted or name in wanted)]
        if not names:
            raise DualError("no raw tomogram has the tsId of a denoised one")
        number = self.howMany.get()
        if not wanted and 0 < number < len(names):
            names = [names[i * len(names) // number] for i in range(number)]
        truths = truths_by_ts_id(self.inputTruth.get(), list(raw))
        missing = [name for name in names if truths and name not in truths]
        if missing:
            raise DualError(f"there is no clean volume for {', '.join(missing)} (by tsId)")
        return [
            Examined(convert.safe_name(name), raw[name], denoised[name], truths.get(name))
            for name in names
        ]

    def _tilts(self) -> Dict[str, Any]:
        found = convert.common_tilt_range(one.raw for one in self.examined())
        return {"tilt_range": found, "tilt_axis": TILT_AXES[self.getEnumText("tiltAxis")]}

    def _pickedTsIds(self) -> List[str]:
        """Tomograms with known particles that were picked; perhaps nothing was found in them."""
        truth, picks = self.inputTruePicks.get(), self.inputPicks.get()
        picked = items_by_ts_id(picks.getPrecedents())
        names = sorted(str(name) for name in truth.getTSIds() if str(name) in picked)
        truth.close()
        return names

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        if self.inputTomograms.get() is None or self.inputDenoised.get() is None:
            return errors
        if all(p.get() is None for p in (self.inputModel, self.inputTruth, self.inputPicks)):
            errors.append(
                "There is nothing to measure: give the DUAL model, clean volumes, or known "
                "particles with picks."
            )
        if (self.inputPicks.get() is None) != (self.inputTruePicks.get() is None):
            errors.append("Give both the known particles and the picks, or neither.")
        elif self.inputPicks.get() is not None and not self._pickedTsIds():
            errors.append("No tomogram with known particles (by tsId) was picked.")
        unknown = set(convert.parse_names(self.tsIds.get()))
        unknown -= set(items_by_ts_id(self.inputTomograms.get()))
        if unknown:
            errors.append(f"There is no tomogram {', '.join(sorted(unknown))} in the input set.")
        else:
            try:
                self.examined()
            except DualError as error:
                errors.append(f"{error}.")
        return errors

    def _warnings(self) -> List[str]:
        warnings = super()._warnings()
        model = self.inputModel.get()
        if self.gpuCount() > 1:
            warnings.append(
                f"{self.gpuCount()} GPUs are given; the evaluation uses the first of the list."
            )
        raw = self.inputTomograms.get()
        warnings += input_warnings.geometry_warnings(raw) + self.modelWarnings(model, [raw])
        if model is not None and raw is not None:
            items = list(items_by_ts_id(raw).values())
            lost = "they are left out of the comparison of half maps"
            warnings += input_warnings.halves_warnings(items, lost)
            warnings += input_warnings.foreign_halves(items)
            warnings += self.tiltWarnings(model, map(convert.tilt_range, items))
        return warnings + self.contrastWarnings(model)

    def _numbers(self) -> Dict[str, Any]:
        return evaluation_numbers.read_json(str(self._getExtraPath(NUMBERS))) or {}

    def _summary(self) -> List[str]:
        if getattr(self, self._outputName(), None) is None:
            return ["No report yet."]
        numbers = self._numbers()
        names = numbers.get("tomograms", [])
        lines = [f"Tomograms examined: {len(names)} ({', '.join(names)})."]
        return lines + evaluation_numbers.told(numbers) + [f"Report: {self.reportPath()}"]

    def _methods(self) -> List[str]:
        numbers = self._numbers()
        if not numbers:
            return []
        scores = " ".join(line.replace("*", "") for line in evaluation_numbers.told(numbers))
        return [
            f"Denoising was evaluated on {len(numbers['tomograms'])} tomograms with DUAL "
            f"[Zeng2024DUAL]. {scores}"
        ]
