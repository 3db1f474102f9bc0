"""The plugin under Python 3.8, Scipion's official interpreter, beside Scipion's packages of today.

``make test`` makes the environment where there is a python3.8 (``make python38`` alone does so as
well). torch is not in it: the engine's interpreter is another one.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, Sequence, Set

import pytest
from scipion_home import REPOSITORY, scipion_variables

INTERPRETER = os.path.abspath(
    os.environ.get("DUAL_PYTHON38") or REPOSITORY / ".venv" / "python38" / "bin" / "python"
)

# Walks all of the package: what nobody imports yet would otherwise be found by the first user.
LOOK = """
import importlib, json, pkgutil, sys
import pyworkflow
domain = pyworkflow.Config.getDomain()
import dual_scipion
told = {"python": sys.version_info[:2], "plugins": list(domain.getPlugins())}
told["modules"] = []
for module in pkgutil.walk_packages(dual_scipion.__path__, "dual_scipion."):
    if not module.name.startswith("dual_scipion.tests"):
        importlib.import_module(module.name)
        told["modules"].append(module.name)
told["torch"] = importlib.util.find_spec("torch") is not None or "torch" in sys.modules
for kind, found in (("viewers", domain.getViewers()), ("wizards", domain.getWizards())):
    told[kind] = [name for name, one in found.items() if one.__module__.startswith("dual_scipion.")]
told["forms"] = {}
for name, kind in domain.getProtocols().items():
    if not kind.__module__.startswith("dual_scipion.") or kind.isBase():
        continue
    protocol = kind()
    told["forms"][name] = {
        "parameters": [param for param, _ in protocol.iterDefinitionAttributes()],
        "errors": protocol.validate(),
    }
print("RESULT " + json.dumps(told))
"""


def run(arguments: Sequence[str], home: Path) -> str:
    """Run the interpreter with a Scipion home of its own; what it printed."""
    environment = {**os.environ, **scipion_variables(home), "SCIPION_PYTHON": INTERPRETER}
    done = subprocess.run(
        [INTERPRETER, *arguments],
        cwd=str(home),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home of Scipion; the tests are skipped where there is no environment."""
    if not Path(INTERPRETER).exists():
        pytest.skip("no environment of Python 3.8: make python38 PYTHON38=/path/to/python3.8")
    return tmp_path_factory.mktemp("python38")


@pytest.fixture(scope="module")
def told(home: Path) -> Dict[str, Any]:
    """What the interpreter tells about the plugin."""
    (result,) = re.findall(r"^RESULT (.+)$", run(["-c", LOOK], home), re.MULTILINE)
    answer: Dict[str, Any] = json.loads(result)
    return answer


def classes_of(folder: str) -> Set[str]:
    """The classes of a folder of the plugin that say what they are for, by ``_targets``."""
    found = set()
    for path in (REPOSITORY / "dual_scipion" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                given = [target for one in node.body for target in getattr(one, "targets", [])]
                if any(getattr(target, "id", "") == "_targets" for target in given):
                    found.add(node.name)
    return found


def test_the_plugin_imports_without_torch(told):
    assert told["python"] == [3, 8]
    assert "dual_scipion" in told["plugins"], "Scipion finds it by its entry point"
    assert not told["torch"], "an environment with torch would prove less"
    files = (REPOSITORY / "dual_scipion").rglob("*.py")
    modules = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files}
    expected = {name for name in modules if not re.search(r"\.tests\.|__init__$", name)}
    assert expected <= set(told["modules"])


def test_every_form_defines_and_says_what_is_missing(told):
    menu = (REPOSITORY / "dual_scipion" / "protocols.conf").read_text(encoding="utf-8")
    listed = re.findall(r'"tag": "protocol",\s*"value": "(\w+)"', menu)
    assert sorted(told["forms"]) == sorted(listed)
    for name, form in told["forms"].items():
        assert len(form["parameters"]) > 1, name
        assert all(isinstance(error, str) and error for error in form["errors"]), name


def test_scipion_finds_viewers_and_wizards(told):
    """A viewer or wizard whose module fails is dropped with a warning that nobody sees."""
    for folder in ("viewers", "wizards"):
        assert classes_of(folder) and classes_of(folder) <= set(told[folder])


def test_the_guards_of_the_forms_pass(home):
    """Labels, help, defaults, unused parameters, empty forms: as on the newer interpreter."""
    printed = run(["-m", "unittest", "dual_scipion.tests.test_forms"], home)
    assert int(re.findall(r"Ran (\d+) tests", printed)[0]) > 5 and "skipped" not in printed
