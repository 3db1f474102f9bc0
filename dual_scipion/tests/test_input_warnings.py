"""What the forms warn of before a run: voxel size, orientation, tilt range, half maps, masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, List, Optional, Tuple

from pyworkflow.tests import BaseTest
from tomo.objects import SetOfTomoMasks, TomoAcquisition, TomoMask

from dual_core.networks.card import GENERAL, ModelCard, TrainedRange, read_card
from dual_scipion import convert
from dual_scipion.protocols import (
    ProtDualAverage,
    ProtDualCompensateWedge,
    ProtDualDenoise,
    ProtDualEvaluate,
    ProtDualPickDog,
    ProtDualTrain,
)
from dual_scipion.protocols.parts.input_warnings import tilt_warnings, voxel_size_warnings
from dual_scipion.tests import support, test_protocols

TURNED = (34, 12, 30)  # (z, y, x): a tomogram as IMOD writes it, thinnest along y


class Sized:
    """Stands in for a set: its voxel size is all that is asked for."""

    def __init__(self, voxel_size_A: float) -> None:
        self.voxel_size_A = voxel_size_A

    def getSamplingRate(self) -> float:
        """In angstrom."""
        return self.voxel_size_A


class TestAgainstTheCard(BaseTest):
    """What a card says against an input, without any project."""

    def voxels(self, card: ModelCard, size: float) -> str:
        return " ".join(voxel_size_warnings(card, [None, Sized(size)]))

    def test_a_model_of_many_voxel_sizes_takes_them_all(self) -> None:
        general = read_card(GENERAL)
        low, high = general.known_voxel_sizes_A
        self.assertLess(low, 0.8 * general.voxel_size_A)
        for size in (low, general.voxel_size_A, high):
            self.assertEqual(self.voxels(general, size), "")
        for size in (0.7 * low, 1.3 * high):
            told = self.voxels(general, size)
            self.assertIn(f"{size:.2f} A and that of the model {low:.2f} to", told)

    def test_a_model_of_one_voxel_size_takes_a_fifth_more_or_less(self) -> None:
        card = ModelCard(10.0, "bright", {})
        for size in (8.1, 11.9):
            self.assertEqual(self.voxels(card, size), "")
        self.assertIn("12.50 A and that of the model 10.00 A.", self.voxels(card, 12.5))

    def tilts(self, card: ModelCard, *ranges: Optional[Tuple[float, float]]) -> List[str]:
        return tilt_warnings(card, ranges, 15.0)

    def test_tilt_ranges_far_from_the_training(self) -> None:
        given = ModelCard(10.0, "bright", {}, tilt_range_deg=(-60.0, 60.0))
        self.assertEqual(self.tilts(given, (-50.0, 70.0), None), [])
        (told,) = self.tilts(given, (-60.0, 60.0), (-40.0, 40.0))
        self.assertIn("+-40 degrees", told)
        self.assertIn("trained on +-60", told)
        seen = TrainedRange((10.0, 10.0), (-65.0, -45.0), (45.0, 65.0))
        measured = dataclasses.replace(given, tilt_range_deg=None, trained_on=seen)
        self.assertEqual(self.tilts(measured, (-35.0, 75.0)), [])
        self.assertEqual(len(self.tilts(measured, (-25.0, 60.0))), 1)
        self.assertEqual(self.tilts(ModelCard(10.0, "bright", {}), (-5.0, 5.0)), [])


class TestForms(test_protocols.DualTest):
    """The same and more, from the forms."""

    def warned(self, kind: type, pointers: Any, **values: Any) -> str:
        protocol = self.newProtocol(kind, **{"numberOfThreads": 1, **values})
        for name, (source, output) in pointers.items():
            pointer = getattr(protocol, name)
            pointer.set(source)
            pointer.setExtended(output)
        return " ".join(protocol.warnings())

    def test_a_tomogram_on_its_side_is_told_by_every_form(self) -> None:
        turned = self.inputs.tomograms([self.tomogram("turned", shape=TURNED)])
        tomograms, model = (turned, "Tomograms"), (self.model, "Model")
        for kind, pointers in (
            (ProtDualTrain, {}),
            (ProtDualDenoise, {"inputModel": model}),
            (ProtDualCompensateWedge, {"inputModel": model}),
            (ProtDualPickDog, {}),
            (ProtDualEvaluate, {"inputDenoised": tomograms, "inputModel": model}),
        ):
            told = self.warned(kind, {"inputTomograms": tomograms, **pointers})
            self.assertIn("30 x 12 x 34 voxels (x, y, z) and are thinnest along y", told, kind)
        flat = self.inputs.tomograms([self.tomogram("flat")])
        told = self.warned(ProtDualPickDog, {"inputTomograms": (flat, "Tomograms")})
        self.assertEqual(told, "")

    def test_a_file_that_is_gone_is_no_matter_of_warnings(self) -> None:
        item = self.tomogram("gone")
        Path(item.getFileName()).unlink()
        gone = self.inputs.tomograms([item])
        self.assertEqual(self.warned(ProtDualPickDog, {"inputTomograms": (gone, "Tomograms")}), "")

    def test_an_angstrom_is_often_never_set(self) -> None:
        one = self.inputs.tomograms([self.tomogram("one")], voxel_size_A=1.0)
        told = self.warned(ProtDualTrain, {"inputTomograms": (one, "Tomograms")})
        self.assertIn("1.00 A, which often means that nobody set it", told)

    def test_another_tilt_range_and_contrast(self) -> None:
        item = self.tomogram("narrow")
        item.setAcquisition(TomoAcquisition(angleMin=-40, angleMax=40, step=2))
        narrow = self.inputs.tomograms([item])
        pointers = {"inputTomograms": (narrow, "Tomograms"), "inputModel": (self.model, "Model")}
        for kind in (ProtDualDenoise, ProtDualCompensateWedge):
            self.assertIn("The tilt range is +-40 degrees", self.warned(kind, pointers))
        told = self.warned(ProtDualDenoise, pointers, contrast=2)
        self.assertIn("You say that density is bright", told)

    def test_half_maps_of_which_one_is_gone(self) -> None:
        halves = [support.write_tomogram(self.folder / f"lone{i}.mrc", seed=i) for i in (1, 2)]
        both, none = self.tomogram("both", halves=halves), self.tomogram("none")
        mixed = self.inputs.tomograms([both, none])
        told = self.warned(ProtDualTrain, {"inputTomograms": (mixed, "Tomograms")})
        self.assertIn("1 of 2 tomograms have half maps; since some have none", told)
        lone = self.tomogram("lone", halves=[halves[0], str(self.folder / "gone.mrc")])
        pointers = {"inputTomograms": (self.inputs.tomograms([both, lone]), "Tomograms")}
        self.assertIn("1 tomograms (TS_lone): the noise", self.warned(ProtDualTrain, pointers))
        self.assertEqual(self.warned(ProtDualTrain, pointers, useHalves=False), "")
        pointers["inputModel"] = (self.model, "Model")
        told = self.warned(ProtDualDenoise, pointers, denoiseHalves=True)
        self.assertIn("(TS_lone): their results will have none", told)
        pointers["inputDenoised"] = pointers["inputTomograms"]
        self.assertIn("left out of the comparison", self.warned(ProtDualEvaluate, pointers))

    def test_half_maps_of_another_run_may_be_those_of_what_was_filtered(self) -> None:
        paths = {}
        for run in ("000001_Reconstruct", "000002_Filter"):
            folder = Path("Runs", run, "extra")  # in the project, which is the current folder
            folder.mkdir(parents=True, exist_ok=True)
            paths[run] = [
                support.write_tomogram(folder / f"{name}.mrc") for name in ("whole", "even", "odd")
            ]
        made, filtered = paths.values()
        own = support.tomogram(made[0], "TS_own", halves=made[1:])
        handed_on = support.tomogram(filtered[0], "TS_handed_on", halves=made[1:])
        for item, wanted in ((own, ""), (handed_on, "1 tomograms (TS_handed_on) were made by")):
            pointers = {"inputTomograms": (self.inputs.tomograms([item]), "Tomograms")}
            told = [self.warned(ProtDualTrain, pointers)]
            pointers["inputModel"] = (self.model, "Model")
            told.append(self.warned(ProtDualDenoise, pointers, denoiseHalves=True))
            pointers["inputDenoised"] = pointers["inputTomograms"]
            told.append(self.warned(ProtDualEvaluate, pointers))
            for one in told:
                self.assertIn(wanted, one)
                self.assertEqual(bool(one), bool(wanted), one)

    def test_masks_are_no_clean_volumes(self) -> None:
        noisy = self.inputs.tomograms([self.tomogram("noisy")])
        protocol = self.inputs._protocol(ProtDualTrain)
        masks = SetOfTomoMasks.create(protocol._getPath(), prefix="masks")
        masks.setSamplingRate(support.VOXEL_SIZE_A)
        item = self.tomogram("mask")
        masks.append(convert.derived_mask(item, item.getFileName()))
        masks.write()
        self.inputs._finish(protocol, Masks=masks)
        self.assertIsInstance(masks.getFirstItem(), TomoMask)
        told = self.warned(
            ProtDualTrain,
            {"inputTomograms": (noisy, "Tomograms"), "inputClean": (protocol, "Masks")},
        )
        self.assertIn("The clean volumes are masks", told)

    def test_the_average_looks_at_its_tomograms(self) -> None:
        turned = self.inputs.tomograms([self.tomogram("aside", shape=TURNED)])
        protocol = self.newProtocol(ProtDualAverage)
        protocol.inputTomograms.set(turned)
        protocol.inputTomograms.setExtended("Tomograms")
        self.assertIn("thinnest along y", " ".join(protocol.warnings()))
