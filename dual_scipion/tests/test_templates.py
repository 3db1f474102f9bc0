"""The workflow template: listed by Scipion, shipped with the plugin, and loaded as it should be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

from pyworkflow import Config
from pyworkflow.config import VarTypes
from pyworkflow.object import Pointer
from pyworkflow.template import LocalTemplate, TemplateList
from pyworkflow.tests import BaseTest, setupTestProject

import dual_scipion
from dual_scipion import convert
from dual_scipion.tests import support

PACKAGE = Path(dual_scipion.__file__).resolve().parent
TEMPLATE = "dual_scipion-denoise_and_pick"
CHAIN = [
    "ProtImportTomograms",
    "ProtDualGrandModels",
    "ProtDualTrain",
    "ProtDualDenoise",
    "ProtDualPickDog",
    "ProtDualAverage",
    "EmanProtTomoExtraction",
]
FILLED = {
    "filesPattern": "cell_*.mrc",
    "samplingRate": "12.5",
    "angleMin": "-50",
    "angleMax": "58",
    "trainVoxelSize": "13.0",
    "preset": "0",
    "trainOnGpu": "0",
    "denoiseOnGpu": "0",
    "diameter": "150",
    "extractionBox": "18",
}


class TestTemplates(BaseTest):
    """Templates as *scipion3 template* and *Import workflow template* use them."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        for number in range(2):
            support.write_tomogram(cls.folder / f"cell_{number}.mrc", seed=number)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(str(cls.folder))

    def template(self) -> LocalTemplate:
        """The template as Scipion finds it, its placeholders read."""
        found = TemplateList()
        found.addPluginTemplates(TEMPLATE)
        (template,) = found.templates
        template.replaceEnvVariables()
        template.parseContent()
        return template

    def load(self, values: Dict[str, str]) -> Dict[str, Any]:
        """The protocols that the filled template makes in a project, by class name."""
        template = self.template()
        for alias, value in values.items():
            self.assertEqual(template.setParamValue(alias, value), 1, alias)
        workflow = template.createTemplateFile()
        self.addCleanup(os.remove, workflow)
        made = self.proj.loadProtocols(workflow)
        return {protocol.getClassName(): protocol for protocol in made.values()}

    def test_is_listed_with_a_description(self) -> None:
        template = self.template()
        self.assertEqual(template.getObjId(), TEMPLATE)
        self.assertIn("denoise", template.description)
        self.assertNotIn("[", template.description)

    def test_each_field_of_the_dialogue_is_told_apart(self) -> None:
        """Two of one title would be one to Scipion, and the first would stay as it is."""
        template = self.template()
        self.assertEqual(len(template.getParams()), len(template.getContent()) // 2)
        aliases = [param.getAlias() for param in template.getParams().values()]
        self.assertEqual(sorted(aliases), sorted({*FILLED, "filesPath"}))

    def test_what_is_given_beforehand_is_valid(self) -> None:
        for param in self.template().getParams().values():
            # Scipion's dialogue answers Yes and No, which its own validation refuses.
            self.assertNotEqual(param.getType(), VarTypes.BOOLEAN.value)
            wrong = param.validate()
            if param.getAlias() == "filesPath":
                self.assertTrue(wrong, "the folder is for the user to give")
            else:
                self.assertIsNone(wrong, param.getTitle())

    def test_names_only_parameters_that_exist(self) -> None:
        protocols = Config.getDomain().getProtocols()
        template = self.template()
        template.setParamValue("filesPath", str(self.folder))
        workflow = template.createTemplateFile()
        self.addCleanup(os.remove, workflow)
        listed: List[Dict[str, Any]] = json.loads(Path(workflow).read_text(encoding="utf-8"))
        self.assertEqual([entry["object.className"] for entry in listed], CHAIN)
        for entry in listed:
            protocol = protocols[entry["object.className"]]()
            for name in entry:
                if not name.startswith("object."):
                    self.assertIsNotNone(protocol.getParam(name), f"{protocol}.{name}")

    def test_makes_the_chain_with_its_pointers(self) -> None:
        made = self.load({"filesPath": str(self.folder), **FILLED})
        self.assertEqual(list(made), CHAIN)
        load, cells, train, denoise, pick, average, extract = (made[name] for name in CHAIN)
        expected = [
            (train.inputTomograms, load, "Tomograms"),
            (train.inputClean, cells, "Tomograms"),
            (denoise.inputTomograms, load, "Tomograms"),
            (denoise.inputModel, train, "Model"),
            (pick.inputTomograms, denoise, "Tomograms"),
            (pick.inputExtract, load, "Tomograms"),
            (average.inputCoordinates, pick, "Coordinates"),
            (average.inputTomograms, load, "Tomograms"),
            (extract.inputCoordinates, pick, "Coordinates"),
        ]
        for pointer, source, output in expected:
            self.assertEqual(pointer.getObjValue().getObjId(), source.getObjId())
            self.assertEqual(pointer.getExtended(), output)
            outputs = source._possibleOutputs
            known = outputs if isinstance(outputs, dict) else outputs.__members__
            self.assertIn(output, known)
        pointers = [
            value
            for protocol in made.values()
            for _, value in protocol.iterDefinitionAttributes()
            if isinstance(value, Pointer) and value.hasValue()
        ]
        self.assertEqual(len(pointers), len(expected))

    def test_without_emantomo_the_rest_is_made(self) -> None:
        known = {
            name: kind
            for name, kind in Config.getDomain().getProtocols().items()
            if name != CHAIN[-1]
        }
        with mock.patch.object(self.proj._domain, "getProtocols", return_value=known):
            made = self.load({"filesPath": str(self.folder), **FILLED})
        self.assertEqual(list(made), CHAIN[:-1])

    def test_what_is_filled_in_arrives(self) -> None:
        made = self.load({"filesPath": str(self.folder), **FILLED})
        load, cells, train, denoise, pick, _, extract = (made[name] for name in CHAIN)
        self.assertEqual(load._validate(), [])
        self.assertEqual((load.samplingRate.get(), cells.voxelSize.get()), (12.5, 13.0))
        self.assertEqual(train.getEnumText("preset").split()[0], "quick")
        self.assertFalse(train.usesGpu() or denoise.usesGpu())
        self.assertEqual(pick.diameter.get(), 150.0)
        self.assertEqual((extract.boxSize.get(), extract.doInvert.get()), (18.0, True))
        self.assertEqual(extract.getEnumText("tomoSource"), "same as picking")
        self.launchProtocol(load)
        self.assertEqual(load.Tomograms.getSize(), 2)
        ranges = {convert.tilt_range(item) for item in load.Tomograms}
        self.assertEqual(ranges, {(-50.0, 58.0)})

    def test_is_shipped_with_menu_and_icon(self) -> None:
        setup = PACKAGE.parent / "setup.py"
        shipped = PACKAGE
        if setup.exists():  # a checkout: what would be installed from it
            built = self.folder / "built"
            command = [sys.executable, setup.name, "--quiet", "build_py", "--build-lib", str(built)]
            subprocess.run(command, cwd=str(setup.parent), check=True)
            shipped = built / PACKAGE.name
        for name in ("protocols.conf", "icon.png", "templates/denoise_and_pick.json.template"):
            self.assertTrue((shipped / name).is_file(), name)

    def test_every_template_is_tested_here(self) -> None:
        names = [path.name for path in (PACKAGE / "templates").iterdir()]
        self.assertEqual(names, [re.sub("^dual_scipion-", "", TEMPLATE) + ".json.template"])
