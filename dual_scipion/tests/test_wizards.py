"""The wizards: which parameters have one, what they propose, what they write, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple
from unittest.mock import patch

from pyworkflow import Config
from pyworkflow.tests import BaseTest, setupTestProject
from pyworkflow.wizard import DESKTOP_TKINTER

from dual_core.errors import DualError
from dual_scipion import wizards
from dual_scipion.constants import CONTRASTS
from dual_scipion.protocols import ProtDualDenoise, ProtDualEvaluate, ProtDualPickDog, ProtDualTrain
from dual_scipion.protocols.forms.train import TASKS
from dual_scipion.tests.support import (
    SHAPE,
    Inputs,
    density,
    tomogram,
    write_tomogram,
    write_volume,
)
from dual_scipion.wizards import (
    DualContrastWizard,
    DualDiameterWizard,
    DualPatchWizard,
    DualTsIdsWizard,
    patch_sizes,
)
from dual_scipion.wizards.wizard_base import input_items, shown_volumes
from dual_scipion.wizards.wizard_contrast import INPUT_OF

WIZARD_OF = {
    "patchSize": DualPatchWizard,
    "tsIds": DualTsIdsWizard,
    "contrast": DualContrastWizard,
    "cleanContrast": DualContrastWizard,
    "noiseContrast": DualContrastWizard,
    "diameter": DualDiameterWizard,
}


class FakeForm:
    """What a wizard needs of a form, without a window."""

    root = None

    def __init__(self, protocol: Any, param: str) -> None:
        self.protocol, self.wizParamName = protocol, param
        self.said: List[str] = []
        self.written: Dict[str, Any] = {}

    def showWarning(self, text: str) -> None:
        self.said.append(text)

    def setVar(self, param: str, value: Any) -> None:
        self.written[param] = value


def own_protocols() -> Dict[str, Any]:
    """The public protocols of the plugin, by class name."""
    return {
        name: kind
        for name, kind in Config.getDomain().getProtocols().items()
        if kind.__module__.startswith("dual_scipion.") and not kind.isBase()
    }


def targets() -> Iterator[Tuple[type, type, str]]:
    """Wizard, protocol and parameter."""
    for name in wizards.__all__:
        kind = getattr(wizards, name)
        for protocol, names in kind._targets:
            for param in names:
                yield kind, protocol, param


class TestDiscovery(BaseTest):
    """Scipion finds the wizard of every parameter that should have one."""

    def test_targets_are_parameters_of_their_forms(self) -> None:
        self.assertGreaterEqual(len(list(targets())), 14)
        for kind, protocol, param in targets():
            self.assertTrue(protocol().hasAttribute(param), f"{kind.__name__}: {param}")

    def test_scipion_finds_them(self) -> None:
        for kind, protocol, param in targets():
            found = Config.getDomain().findWizards(protocol(), DESKTOP_TKINTER)
            self.assertIs(found[param], kind, f"{protocol.__name__}.{param}")

    def test_no_such_parameter_is_forgotten(self) -> None:
        known = {(protocol.__name__, param) for _, protocol, param in targets()}
        for name, kind in own_protocols().items():
            protocol = kind()
            for param in WIZARD_OF:
                if protocol.hasAttribute(param):
                    self.assertIn((name, param), known)

    def test_contrast_knows_the_input_of_each_parameter(self) -> None:
        for _, protocol, param in targets():
            if param in INPUT_OF:
                pointer = protocol().getParam(INPUT_OF[param])
                self.assertIn("SetOf", str(pointer.pointerClass), f"{protocol.__name__}.{param}")
                choices = tuple(protocol().getParam(param).choices)
                self.assertEqual(choices, CONTRASTS, f"{protocol.__name__}.{param}")

    def test_without_input_one_line_and_no_window(self) -> None:
        for kind, protocol, param in targets():
            form = FakeForm(protocol(), param)
            kind().show(form)
            (said,) = form.said
            self.assertTrue(said.startswith("Choose '"), said)
            self.assertNotIn("\n", said)
            self.assertEqual(form.written, {})


class TestWithInput(BaseTest):
    """What the wizards take out of a form with an input, and write into it."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(cls.getOutputPath())
        cls.folder.mkdir(parents=True, exist_ok=True)
        inputs = Inputs(cls.proj)
        names = ("TS_1", "TS_2", "TS_3")
        shapes = (SHAPE, (60, 64, 70), (40, 80, 44))
        paths = [
            write_tomogram(cls.folder / f"{name}.mrc", shape, seed)
            for seed, (name, shape) in enumerate(zip(names, shapes))
        ]
        items = [tomogram(path, name) for path, name in zip(paths, names)]
        cls.tomograms = inputs.tomograms(items)
        clean = write_volume(cls.folder / "clean.mrc", density((40, 40, 40)), 20.0)
        cls.clean = inputs.tomograms([tomogram(clean, "clean")], voxel_size_A=20.0)
        gone = tomogram(str(cls.folder / "gone.mrc"), "TS_gone")
        cls.broken = inputs.tomograms([gone, items[1]])
        cls.gone = inputs.tomograms([gone])
        cls.empty = inputs.tomograms([])

    def form(self, kind: type, param: str, tomograms: Any = None, **values: Any) -> FakeForm:
        protocol = self.proj.newProtocol(kind)
        pointers = {"inputTomograms": tomograms or self.tomograms}
        pointers.update({name: values.pop(name) for name in list(values) if "input" in name})
        for name, source in pointers.items():
            getattr(protocol, name).set(source)
            getattr(protocol, name).setExtended("Tomograms")
        for name, value in values.items():
            protocol.setAttributeValue(name, value)
        return FakeForm(protocol, param)

    def test_items_are_copies_in_order(self) -> None:
        form = self.form(ProtDualTrain, "tsIds")
        names = [item.getTsId() for item in input_items(form.protocol, "inputTomograms")]
        self.assertEqual(names, ["TS_1", "TS_2", "TS_3"])

    def test_only_volumes_with_a_file_are_shown(self) -> None:
        form = self.form(ProtDualPickDog, "diameter", self.broken)
        (shown,) = shown_volumes(form.protocol, "inputTomograms")
        self.assertEqual((shown.name, shown.voxel_size_A), ("TS_2", 10))

    def test_unusable_sets_are_told(self) -> None:
        for wizard, kind, param in (
            (DualDiameterWizard, ProtDualPickDog, "diameter"),
            (DualContrastWizard, ProtDualDenoise, "contrast"),
            (DualPatchWizard, ProtDualTrain, "patchSize"),
        ):
            for tomograms in (self.gone, self.empty):
                form = self.form(kind, param, tomograms)
                wizard().show(form)
                self.assertEqual(len(form.said), 1)

    # --------------------------- patch size ---------------------------
    def test_grid_is_that_of_the_form_or_of_the_clean_volumes_or_of_the_tomograms(self) -> None:
        def grid(**values: Any) -> patch_sizes.TrainingGrid:
            form = self.form(ProtDualTrain, "patchSize", **values)
            return patch_sizes.training_grid(form.protocol)

        only = grid()
        self.assertEqual((only.voxel_size_A, only.smallest, only.name), (10, SHAPE, "TS_1"))
        self.assertIn("no clean volumes", only.source)
        # At 20 A the tomogram has half its 26 x 34 x 30 voxels.
        both = grid(inputClean=self.clean)
        self.assertEqual((both.voxel_size_A, both.smallest), (20, (13, 17, 15)))
        wedge = grid(inputClean=self.clean, task=TASKS.index("missing-wedge"))
        self.assertEqual((wedge.voxel_size_A, wedge.smallest), (10, SHAPE))
        given = grid(inputClean=self.clean, voxelSize=5.0)
        self.assertEqual((given.voxel_size_A, given.smallest), (5, (52, 68, 60)))
        chosen = grid(tsIds="TS_3, TS_2")
        self.assertEqual((chosen.name, chosen.shortest_side), ("TS_3", 40))
        with self.assertRaises(DualError):
            grid(tsIds="nobody")

    def test_the_clean_volumes_count_too(self) -> None:
        form = self.form(ProtDualTrain, "patchSize", inputClean=self.clean, tsIds="TS_2")
        grid = patch_sizes.training_grid(form.protocol)
        self.assertEqual((grid.name, grid.shortest_side), ("TS_2", 30))
        form = self.form(ProtDualTrain, "patchSize", inputClean=self.tomograms, tsIds="TS_2")
        self.assertEqual(patch_sizes.training_grid(form.protocol).smallest, SHAPE)

    def test_patch_is_written(self) -> None:
        form = self.form(ProtDualTrain, "patchSize", tsIds="TS_2", patchSize=40)
        with patch("dual_scipion.wizards.windows.patch.PatchWindow") as window:
            window.return_value.resultYes.return_value = True
            window.return_value.voxels = 48
            DualPatchWizard().show(form)
        self.assertEqual((form.said, form.written), ([], {"patchSize": 48}))
        self.assertEqual(window.call_args[0][3], 40)

    # --------------------------- the others ---------------------------
    def test_ts_ids_are_written(self) -> None:
        for kind, empty_is_all in ((ProtDualTrain, True), (ProtDualEvaluate, False)):
            form = self.form(kind, "tsIds", self.broken, tsIds="TS_2")
            with patch("dual_scipion.wizards.windows.ts_ids.TsIdsWindow") as window:
                window.return_value.resultYes.return_value = True
                window.return_value.text = "TS_gone TS_2"
                DualTsIdsWizard().show(form)
            self.assertEqual(form.written, {"tsIds": "TS_gone TS_2"})
            _, rows, text, is_all = window.call_args[0]
            self.assertEqual([row.size for row in rows], ["cannot be read", "70 x 64 x 60"])
            self.assertEqual((rows[1].thickness, rows[1].tilts), ("60", "-60 to 50"))
            self.assertEqual((text, is_all), ("TS_2", empty_is_all))

    def test_diameter_is_written_or_left(self) -> None:
        for accepted, written in ((True, {"diameter": 210.0}), (False, {})):
            form = self.form(ProtDualPickDog, "diameter", diameter=123.0)
            with patch("dual_scipion.wizards.windows.diameter.DiameterWindow") as window:
                window.return_value.resultYes.return_value = accepted
                window.return_value.diameter_A = 210.0
                DualDiameterWizard().show(form)
            self.assertEqual(form.written, written)
            self.assertEqual(window.call_args[0][2], 123.0)

    def test_diameter_of_an_evaluation_is_seen_in_denoised_tomograms(self) -> None:
        form = self.form(ProtDualEvaluate, "diameter", inputDenoised=self.clean)
        with patch("dual_scipion.wizards.windows.diameter.DiameterWindow") as window:
            DualDiameterWizard().show(form)
        self.assertEqual([volume.name for volume in window.call_args[0][1]], ["clean"])

    def test_contrast_is_written_as_the_number_of_its_choice(self) -> None:
        form = self.form(ProtDualTrain, "cleanContrast", inputClean=self.clean)
        with patch("dual_scipion.wizards.windows.contrast.ContrastWindow") as window:
            window.return_value.resultYes.return_value = True
            window.return_value.contrast = "bright"
            DualContrastWizard().show(form)
        self.assertEqual(form.written, {"cleanContrast": CONTRASTS.index("bright")})
        _, title, volumes, contrast = window.call_args[0]
        self.assertEqual(title, "Density in the clean volumes")
        self.assertEqual(([volume.name for volume in volumes], contrast), (["clean"], "auto"))
