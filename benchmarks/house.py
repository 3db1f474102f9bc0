"""How the engine's house is built, at two revisions: rooms, modules, functions, imports.

    python benchmarks/house.py
    python benchmarks/house.py e97668d HEAD --tree
    python benchmarks/house.py HEAD --pictures docs/images

Reads ``dual_core`` of each revision from git; nothing is checked out and nothing is imported.
Prints a table in Markdown; with ``--tree`` also the folders with the number of their modules.
``--pictures`` draws for the last revision which room imports from which (``rooms.png``), and which
room uses which other package (``packages.png``); only this needs matplotlib.

* A module is a file but ``__init__.py``. A function is counted without its docstring but with the
  functions in it, as ``tests/test_house_rules.py`` does.
* A room is what lies at the top of ``dual_core``: a folder or a loose module.
* Imports inside functions count. Those of ``dual_core/__init__.py`` do not: it hands on the Python
  API when somebody asks for it.
* The longest chain is the longest path a module's imports can take; names are joined by arrows.
"""

from __future__ import annotations

import argparse
import ast
import functools
import io
import subprocess
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Set, Tuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "dual_core"
FIRST_VERSION = "e97668d"
# By the names that they are imported with; docs/dependencies.md says what each is for.
OTHERS = {
    "PIL", "SimpleITK", "gemmi", "matplotlib", "mrcfile", "numpy", "safetensors", "scipy",
    "skimage", "torch", "tqdm", "yaml",
}


def sources(revision: str) -> Dict[PurePosixPath, str]:
    """The text of every Python file of the engine at a revision, by path."""
    command = ["git", "archive", revision, PACKAGE]
    packed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.name.endswith(".py") else None
            if file is not None:
                found[PurePosixPath(member.name)] = file.read().decode("utf-8")
    return found


def module_name(path: PurePosixPath) -> str:
    """The dotted name of a file; that of its folder for ``__init__.py``."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, known: Set[str]) -> Set[str]:
    """The modules among the known ones that a file imports; imports here are absolute."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
    return found & known - {PACKAGE}


def function_lines(tree: ast.AST) -> Iterator[Tuple[int, str]]:
    """The lines of every function without its docstring, and its name."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                lines -= (first.end_lineno or 0) - first.lineno + 1
            yield lines, node.name


def longest_chain(graph: Dict[str, Set[str]]) -> Tuple[str, ...]:
    """The longest path through a graph without cycles."""

    @functools.lru_cache(maxsize=None)
    def below(name: str) -> Tuple[str, ...]:
        return (name, *max(map(below, sorted(graph[name])), key=len, default=()))

    return max(map(below, sorted(graph)), key=len)


def foreign(tree: ast.AST) -> Set[str]:
    """The packages of others that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} & OTHERS


def draw_pictures(revision: str, folder: Path) -> None:
    """Two tables as pictures: imports between rooms, and modules of a room that use a package."""
    texts = sources(revision)
    trees = {module_name(path): ast.parse(text) for path, text in texts.items()}
    trees = {name: tree for name, tree in trees.items() if name not in (PACKAGE, "dual_core.cli")}
    between: Counter = Counter()
    used: Counter = Counter()
    for name, tree in trees.items():
        between.update((room(name), room(other)) for other in imports(tree, {*trees, PACKAGE}))
        used.update((room(name), package) for package in foreign(tree))
    above: Dict[str, Set[str]] = {}
    for one, other in between:
        above.setdefault(one, set()).add(other)
    rooms = sorted({room(name) for name in trees})

    def depth(one: str) -> int:
        return 1 + max((depth(other) for other in above.get(one, ()) if other != one), default=0)

    rooms.sort(key=lambda one: (depth(one), one))
    packages = [package for package, _ in Counter(p for _, p in used.elements()).most_common()]
    _draw(between, rooms, rooms, folder / "rooms.png", "imports from")
    _draw(used, rooms, packages, folder / "packages.png", "modules that use")


def _draw(counts: Counter, rows: List[str], columns: List[str], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 + 0.34 * len(columns), 1.9 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    values = [[counts[row, column] for column in columns] for row in rows]
    axes.imshow([[value**0.5 for value in line] for line in values], cmap="Blues", aspect="auto")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if value:
                dark = value > 0.4 * max(map(max, values))
                axes.text(x, y, str(value), ha="center", va="center", fontsize=8,
                          color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(title)
    figure.savefig(path, dpi=110)


def room(name: str) -> str:
    """The room of a module, by its dotted name."""
    return name.split(".")[1]


def measure(revision: str) -> Dict[str, Any]:
    """What the table tells about a revision, by row."""
    texts = sources(revision)
    modules = [path for path in texts if path.name != "__init__.py"]
    trees = {module_name(path): ast.parse(text) for path, text in texts.items()}
    graph = {name: imports(tree, set(trees)) for name, tree in trees.items() if name != PACKAGE}
    crossing = [
        (room(name), room(other))
        for name, others in graph.items()
        for other in others
        if room(name) != room(other)
    ]
    loose = [path.name for path in modules if len(path.parts) == 2]
    folder, most = Counter(str(path.parent) for path in modules).most_common(1)[0]
    longest = max(modules, key=lambda path: len(texts[path].splitlines()))
    lines, function, where = max(
        (lines, function, name) for name, tree in trees.items()
        for lines, function in function_lines(tree)
    )
    chain = longest_chain(graph)
    return {
        "loose modules at the top": len(loose),
        "modules": len(modules),
        "folders": len({path.parent for path in modules}),
        "most modules in a folder": f"{most} ({folder})",
        "longest module, lines": f"{len(texts[longest].splitlines())} ({longest})",
        "longest function, lines": f"{lines} ({where}.{function})",
        "longest import chain, modules": len(chain),
        "rooms at the top": len({room(name) for name in graph}),
        "imports between modules": sum(map(len, graph.values())),
        "of these between rooms": len(crossing),
        "pairs of rooms that import one another": len(set(crossing)),
        "chain": " -> ".join(name.partition(".")[2] for name in chain),
        "tree": tree_lines(modules),
    }


def tree_lines(modules: List[PurePosixPath]) -> List[str]:
    """A line for every folder: its name, and how many modules lie in it."""
    counts = Counter(path.parent for path in modules)
    folders = sorted({parent for path in modules for parent in list(path.parents)[:-1]})
    return [
        f"{'  ' * (len(folder.parts) - 1)}{folder.name}/ {counts[folder]}" for folder in folders
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revisions", nargs="*", default=[FIRST_VERSION, "HEAD"])
    parser.add_argument("--tree", action="store_true", help="the folders, too")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the pictures there")
    args = parser.parse_args()
    measured = {revision: measure(revision) for revision in args.revisions}
    print("| | " + " | ".join(measured) + " |\n|---|" + "---|" * len(measured))
    for row in next(iter(measured.values())):
        if row not in ("chain", "tree"):
            print(f"| {row} | " + " | ".join(str(one[row]) for one in measured.values()) + " |")
    for revision, one in measured.items():
        print(f"\n{revision}, longest chain: {one['chain']}")
        if args.tree:
            print("\n".join(["", revision, *one["tree"]]))
    if args.pictures:
        draw_pictures(args.revisions[-1], args.pictures)


if __name__ == "__main__":
    main()
