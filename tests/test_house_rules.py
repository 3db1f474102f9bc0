"""Rules of the house that no library checks: who may import whom, and what no file contains.

Most of it reads the source as a syntax tree, so that imports inside functions count as well.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_LINES = 320
MAX_FUNCTION_LINES = 60
MOST_MODULES = 12

# The rooms of dual_core, top to bottom: folders, and the few modules that belong to all. A module
# imports only from its own room and from those above it. docs/architecture.md explains the rooms.
ROOMS: Tuple[str, ...] = (
    "errors", "safety", "overlap", "volumes", "networks", "equations", "tiles", "figures",
    "particles", "noise_model", "training", "tasks", "grand_models", "physics", "picking",
    "evaluation", "report", "demo", "api", "cli", "__main__",
)
# Read by the plugin in Scipion's interpreter, where nothing of the engine's is installed.
STANDARD_LIBRARY_ONLY = ("dual_core", "dual_core.errors", "dual_core.networks.card")


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(*folders: str) -> List[Path]:
    return sorted(p for folder in folders for p in (REPOSITORY / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


CORE = {module_name(path): path for path in sources("dual_core")}
PLUGIN = {module_name(path): path for path in sources("dual_scipion")}


def every_node(tree: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    """Walk the tree; without ``inside_functions`` only what runs when the module is imported."""
    for child in ast.iter_child_nodes(tree):
        if not inside_functions and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if not inside_functions and isinstance(child, ast.If) and is_for_types(child):
            continue
        yield child
        yield from every_node(child, inside_functions)


def is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(name: str, path: Path, inside_functions: bool = True) -> Set[str]:
    """Return the full names of what a module imports; relative imports are resolved."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    known = {**CORE, **PLUGIN}
    found: Set[str] = set()
    for node in every_node(parse(path), inside_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add(submodule if submodule in known else base)
    return found


def room_of(name: str) -> int:
    """Return the place of a module of dual_core in the list of rooms."""
    member = name.split(".")[1]
    if member in ROOMS:
        return ROOMS.index(member)
    pytest.fail(f"{name} is in no room: add it to ROOMS in {Path(__file__).name} and to the docs")


def top_level(names: Set[str]) -> Set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", sorted(set(CORE) - {"dual_core"}))
def test_core_modules_import_only_from_the_rooms_above(name):
    place = room_of(name)
    inner = {other for other in imports(name, CORE[name]) if other.startswith("dual_core.")}
    below = [other for other in inner if room_of(other) > place]
    assert not below, f"{name} ({ROOMS[place]}) imports from rooms below it: {sorted(below)}"


def test_core_has_no_import_cycle():
    # What dual_core offers to users it loads when it is asked for: to the rooms it is a version.
    graph = {
        name: imports(name, path, name != "dual_core") & set(CORE) - {name}
        for name, path in CORE.items()
    }
    assert find_cycle(graph) == []


def find_cycle(graph: Dict[str, Set[str]]) -> List[str]:
    """Return the nodes along one cycle, or nothing."""
    done: Set[str] = set()

    def visit(node: str, path: Tuple[str, ...]) -> List[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph[node]):
            cycle = visit(other, (*path, node))
            if cycle:
                return cycle
        done.add(node)
        return []

    for start in sorted(graph):
        cycle = visit(start, ())
        if cycle:
            return cycle
    return []


def test_a_cycle_would_be_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("name", sorted(CORE))
def test_core_never_imports_scipion(name):
    scipion = {"pyworkflow", "pwem", "tomo", "scipion", "xmipp3", "dual_scipion"}
    assert not top_level(imports(name, CORE[name])) & scipion


@pytest.mark.parametrize("name", sorted(PLUGIN))
def test_plugin_never_imports_torch_at_any_depth(name):
    """Neither itself nor through the modules of the engine that it reads."""
    direct = imports(name, PLUGIN[name])
    assert "torch" not in top_level(direct)
    seen: Set[str] = set()
    waiting = direct & set(CORE)
    while waiting:
        module = waiting.pop()
        seen.add(module)
        further = imports(module, CORE[module], inside_functions=False)
        assert "torch" not in top_level(further), f"{name} reaches torch through {module}"
        waiting |= further & set(CORE) - seen


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_what_the_plugin_reads_needs_only_the_standard_library(name):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # -S: without site-packages.
    done = subprocess.run([sys.executable, "-S", "-c", f"import {name}"], env=environment)
    assert done.returncode == 0


def test_the_docs_name_every_room_and_this_list():
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert Path(__file__).name in text
    missing = [room for room in ROOMS if not re.search(rf"\b{room}\b", text)]
    assert not missing


@pytest.mark.parametrize("path", sources("dual_core", "dual_scipion"), ids=module_name)
def test_modules_are_short_and_say_what_they_are(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_LINES
    assert ast.get_docstring(parse(path)), "a module begins with a docstring"


@pytest.mark.parametrize("path", sources("dual_core", "dual_scipion"), ids=module_name)
def test_functions_have_one_thing_to_say(path):
    lines = dict(function_lines(parse(path)))
    assert {name: n for name, n in lines.items() if n > MAX_FUNCTION_LINES} == {}


def function_lines(tree: ast.AST) -> Iterator[Tuple[str, int]]:
    """Yield every function's place and lines, of it and what is in it but not its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = lines_of(node)
            if ast.get_docstring(node) is not None:
                lines -= lines_of(node.body[0])
            yield f"{node.name}, line {node.lineno}", lines


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_lines_of_functions_are_counted():
    lines = [
        "def outer(",
        "    a,",
        "):",
        "    'A docstring does not count.'",
        "    def inner():",
        "        return a",
        "",
        "    return inner",
    ]
    text = "\n".join(lines)
    assert dict(function_lines(ast.parse(text))) == {"outer, line 1": 7, "inner, line 5": 2}


@pytest.mark.parametrize("folder", sorted({path.parent for path in sources("dual_core")}), ids=str)
def test_no_folder_is_a_long_list(folder):
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, sorted(path.name for path in modules)


# What leaves the machine --------------------------------------------------------------------


def repository_texts() -> Iterator[Tuple[str, str]]:
    """Yield ``(relative path, text)`` of every text file that belongs to the repository."""
    folders = (
        "dual_alias", "dual_core", "dual_scipion", "tests", "docs", "examples", "benchmarks", ".ci",
    )
    files = [p for folder in folders for p in (REPOSITORY / folder).rglob("*")]
    files += list(REPOSITORY.glob("*"))
    ignored = {"__pycache__", "output", "_build"}
    for path in sorted(files):
        relative = path.relative_to(REPOSITORY)
        if not path.is_file() or ignored & set(relative.parts) or path.name.startswith(".coverage"):
            continue
        try:
            yield relative.as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_names_a_checkout_or_a_registry():
    # In pieces, so that this file is not its own finding.
    forbidden = [
        re.escape(str(REPOSITORY)) + r"\b" if len(REPOSITORY.parts) > 2 else "(?!)",
        r"(?<![\w.])/(?:" + "root|work" + r")/\w",
        r"(?<![\w.])/(?:" + "home|Users" + r")/(?!user\b|you\b)\w",
        "pypi" + r"\.org",
        "python" + r"hosted\.org",
        "download" + r"\.pytorch\.org",
        r"index-url[ =]+(?:https?|file):",
    ]
    pattern = re.compile("|".join(forbidden))
    found = [
        f"{name}: {match.group(0)}"
        for name, text in repository_texts()
        for match in pattern.finditer(text)
    ]
    assert found == []


def test_every_requirement_is_pinned_in_the_constraints():
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    pinned = {normal(line.partition("==")[0]) for line in pins}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins), "no suffix of a build"
    for requirement in metadata.requires("scipion-em-dual") or []:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert normal(name.group(0)) in pinned, requirement
