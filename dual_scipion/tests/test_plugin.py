"""The plugin as a whole: found by Scipion, free of torch, with an engine that can be installed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from pyworkflow.tests import BaseTest
from pyworkflow.utils import parseBibTex
from setuptools import find_packages

import dual_scipion
from dual_scipion.constants import DUAL_HOME, ENGINE_VERSION

PACKAGE = Path(dual_scipion.__file__).resolve().parent

# Run in a new interpreter: in this one anything may have been imported before.
DISCOVER = """
import json, sys
import pyworkflow
domain = pyworkflow.Config.getDomain()
found = "dual_scipion" in domain.getPlugins()
domain.getProtocols(), domain.getObjects(), domain.getViewers(), domain.getWizards()
foreign = [name for name in ("torch", "dual_core.networks.model") if name in sys.modules]
print("RESULT " + json.dumps({"found": found, "foreign": foreign}))
"""


class RecordingEnvironment:
    """Stands in for Scipion's installer: keeps what a plugin declares."""

    def __init__(self) -> None:
        self.packages: Dict[str, Dict[str, Any]] = {}

    def addPackage(self, name: str, **options: Any) -> None:
        """Remember one package."""
        self.packages[name] = options


class TestPlugin(BaseTest):
    """The plugin without any protocol."""

    def test_plugin_manager_finds_the_plugin(self) -> None:
        """It takes the first package of the distribution in alphabetical order."""
        packages = find_packages(where=str(PACKAGE.parent), include=["dual*"])
        first = importlib.import_module(sorted(packages)[0])
        self.assertIs(first.Plugin, dual_scipion.Plugin)

    def test_is_discovered_and_imports_no_torch(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", DISCOVER],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        self.assertEqual(len(results), 1, done.stdout)
        self.assertEqual(json.loads(results[0][len("RESULT ") :]), {"found": True, "foreign": []})

    def test_declares_one_engine_that_needs_neither_conda_nor_scipion(self) -> None:
        environment = RecordingEnvironment()
        dual_scipion.Plugin.defineBinaries(environment)
        (package,) = environment.packages.values()
        self.assertEqual(package["version"], ENGINE_VERSION)
        self.assertNotIn("vars", package, "'vars' would replace the whole environment")
        commands: List[Tuple[str, str]] = package["commands"]
        self.assertTrue(all(target for _, target in commands))
        text = "\n".join(command for command, _ in commands)
        self.assertIn("torch", text)
        self.assertIn("safetensors", text)
        self.assertNotIn("conda", text)
        self.assertNotIn("scipion-", text)
        self.assertNotIn("%", text, "Scipion would interpolate it")
        for command, _ in commands:
            parsed = subprocess.run(["sh", "-n", "-c", command], check=False)
            self.assertEqual(parsed.returncode, 0, command)

    def test_active_version_is_read_from_the_home(self) -> None:
        self.assertEqual(
            os.path.basename(dual_scipion.Plugin.getVar(DUAL_HOME)), f"dual-{ENGINE_VERSION}"
        )
        self.assertEqual(dual_scipion.Plugin.getActiveVersion(), ENGINE_VERSION)

    def test_engine_does_not_see_scipions_modules(self) -> None:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = "somewhere"
        try:
            environ = dual_scipion.Plugin.getEnviron()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
        self.assertNotIn("PYTHONPATH", environ)
        self.assertIn("PATH", environ)

    def test_icon_and_references_exist(self) -> None:
        self.assertTrue((PACKAGE / dual_scipion._logo).is_file())
        from dual_scipion import bibtex

        entries = parseBibTex(bibtex.__doc__)
        for key in dual_scipion._references:
            self.assertIn(key, entries)

    def test_menu_names_existing_protocols_in_existing_places(self) -> None:
        import tomo
        from pyworkflow import Config

        ours = list(_menu_nodes(_read_menu(PACKAGE / "protocols.conf")))
        theirs = list(_menu_nodes(_read_menu(Path(tomo.__file__).parent / "protocols.conf")))
        places = {path for tag, path in theirs if tag != "protocol"}
        protocols = Config.getDomain().getProtocols()
        self.assertTrue(ours)
        for tag, path in ours:
            if tag == "protocol":
                self.assertIn(path[-1], protocols)
            else:
                self.assertIn(path, places)


def _read_menu(path: Path) -> List[Dict[str, Any]]:
    """Return the tree of the tab Tomography."""
    parser = ConfigParser()
    parser.read(str(path))
    tree: List[Dict[str, Any]] = json.loads(parser.get("PROTOCOLS", "Tomography"))
    return tree


def _menu_nodes(
    nodes: List[Dict[str, Any]], above: Tuple[str, ...] = ()
) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """Yield ``(tag, path)`` of every node; a protocol goes by its class, others by their text."""
    for node in nodes:
        path = (*above, node["value"] if node["tag"] == "protocol" else node["text"])
        yield node["tag"], path
        yield from _menu_nodes(node.get("children", []), path)
