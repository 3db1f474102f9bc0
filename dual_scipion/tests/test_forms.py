"""Guards over all protocols: menu, labels, help, defaults, unused parameters, references."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from pyworkflow import Config
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from pyworkflow.protocol.params import GPU_LIST, USE_GPU, PathParam, PointerParam
from pyworkflow.tests import BaseTest
from pyworkflow.utils import parseBibTex

import dual_scipion
from dual_scipion import bibtex, tests

PACKAGE = Path(dual_scipion.__file__).resolve().parent
# Scipion itself defines and reads these.
SCIPIONS = {USE_GPU, GPU_LIST, "hostName", "numberOfThreads", "numberOfMpi", "binThreads"}
SCIPIONS |= {"streamingSleepOnWait", "runMode", "runName", "comment"}
MOST_NEEDED = 3
# What a number counts where it is not measured: how many, which one, a factor, a seed.
UNITS = r"angstrom|\(A\)|voxels|degrees|nm|minutes|GiB|[Ii]terations|so many|how many|tomograms"
UNITS += r"|class|Group|times|seed|Patches"


def own_protocols() -> Dict[str, Any]:
    """The public protocols of the plugin, by class name."""
    return {
        name: kind
        for name, kind in Config.getDomain().getProtocols().items()
        if kind.__module__.startswith("dual_scipion.") and not kind.isBase()
    }


def own_params(protocol: Any) -> Iterator[Tuple[str, Any]]:
    """Name and definition of the parameters that the plugin adds to a form."""
    for name, _ in protocol.iterDefinitionAttributes():
        if name not in SCIPIONS:
            yield name, protocol.getParam(name)


def _must_be_given(definition: Any) -> bool:
    """Whether a parameter has no default that would do: an input, a file."""
    if isinstance(definition, PointerParam):
        return not definition.allowsNull.get()
    return isinstance(definition, PathParam)


class TestForms(BaseTest):
    """What a user of any form relies on."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.protocols = {name: kind() for name, kind in own_protocols().items()}

    def each(self) -> Iterator[Tuple[str, str, Any]]:
        for name, protocol in self.protocols.items():
            for param, definition in own_params(protocol):
                yield name, param, definition

    def test_there_are_protocols(self) -> None:
        self.assertLessEqual(
            {"ProtDualDenoise", "ProtDualImportModel", "ProtDualTrain"}, set(self.protocols)
        )

    def test_menu_and_protocols_are_the_same(self) -> None:
        text = (PACKAGE / "protocols.conf").read_text(encoding="utf-8")
        listed = re.findall(r'"tag": "protocol",\s*"value": "(\w+)"', text)
        self.assertEqual(sorted(listed), sorted(self.protocols))

    def test_labels_are_short_and_unique(self) -> None:
        labels = [kind._label for kind in own_protocols().values()]
        self.assertEqual(len(set(labels)), len(labels))
        for label in labels:
            plain = label.replace("DoG", "dog")
            self.assertTrue(plain == plain.lower() and len(label) < 30, label)

    def test_each_protocol_says_what_it_is(self) -> None:
        for name, protocol in self.protocols.items():
            self.assertGreater(len(type(protocol).__doc__ or ""), 100, name)
            self.assertTrue(list(protocol._possibleOutputs), name)

    def test_every_parameter_has_label_and_help(self) -> None:
        for name, param, definition in self.each():
            self.assertTrue(definition.label.get(), f"{name}.{param}")
            self.assertGreater(len(definition.help.get() or ""), 20, f"{name}.{param}")

    def test_labels_within_a_form_differ(self) -> None:
        for name, protocol in self.protocols.items():
            labels = [d.label.get() for _, d in own_params(protocol) if d.label.get()]
            self.assertEqual(len(set(labels)), len(labels), name)

    def test_defaults_pass_their_own_validators(self) -> None:
        for name, protocol in self.protocols.items():
            for param, definition in own_params(protocol):
                if isinstance(definition, PointerParam):
                    continue
                value = getattr(protocol, param).get()
                self.assertEqual(definition.validate(value), [], f"{name}.{param}")

    def test_numbers_are_validated(self) -> None:
        for name, param, definition in self.each():
            if type(definition).__name__ in ("IntParam", "FloatParam"):
                self.assertTrue(definition.validators, f"{name}.{param} takes any number")

    def test_three_fields_are_enough_for_a_first_run(self) -> None:
        for name, protocol in self.protocols.items():
            needed = [
                param
                for param, definition in own_params(protocol)
                if _must_be_given(definition) and protocol.evalParamCondition(param)
            ]
            self.assertEqual(bool(needed), name != "ProtDualGrandModels", name)
            self.assertLessEqual(len(needed), MOST_NEEDED, f"{name} needs {needed}")

    def test_numbers_of_experts_have_a_unit(self) -> None:
        for name, param, definition in self.each():
            number = type(definition).__name__ in ("IntParam", "FloatParam")
            if number and definition.expertLevel.get() == LEVEL_ADVANCED:
                told = f"{definition.label.get()} {definition.help.get()}"
                self.assertRegex(told, UNITS, f"{name}.{param}")

    def test_every_parameter_is_read(self) -> None:
        sources = "\n".join(
            path.read_text(encoding="utf-8") for path in (PACKAGE / "protocols").rglob("*.py")
        )
        for name, param, _ in self.each():
            read = rf'\bself\.{param}\b|getEnumText\("{param}"\)'
            self.assertTrue(re.search(read, sources), f"{name}.{param} is shown but never read")

    def test_references_are_in_the_bibliography(self) -> None:
        known = parseBibTex(bibtex.__doc__)
        for name, protocol in self.protocols.items():
            self.assertTrue(set(protocol._citations()) <= set(known), name)
            self.assertTrue(protocol._citations(), name)

    def test_empty_forms_tell_and_do_not_crash(self) -> None:
        for name, protocol in self.protocols.items():
            for told in (protocol._validate, protocol._warnings, protocol._methods):
                self.assertIsInstance(told(), list, name)
            summary: List[str] = protocol._summary()
            self.assertTrue(summary, name)

    def test_load_tests_finds_the_tests(self) -> None:
        # Not imported by its name: unittest would take it for the load_tests of this module.
        found = tests.load_tests(unittest.TestLoader(), unittest.TestSuite(), None)
        self.assertGreater(found.countTestCases(), 20)
