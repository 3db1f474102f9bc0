"""The code runs on Python 3.8, Scipion's official interpreter, though it is tested on a newer one.

The syntax is checked by the parser; of the library, the names and keywords that tempt most.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import List

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("dual_core", "dual_scipion", "tests", "benchmarks")
    for path in (REPOSITORY / folder).rglob("*.py")
) + [REPOSITORY / "setup.py"]

BUILTIN_GENERICS = {"list", "dict", "tuple", "set", "frozenset", "type"}
NEWER_MODULES = {"zoneinfo", "graphlib", "tomllib"}
NEWER_NAMES = {
    "removeprefix", "removesuffix", "is_relative_to", "with_stem", "hardlink_to",
    "BooleanOptionalAction", "pairwise", "batched", "file_digest", "to_thread", "randbytes",
    "bit_count", "lcm", "unparse", "get_annotations", "KW_ONLY",
}  # fmt: skip
NEWER_KEYWORDS = {
    "zip": {"strict"}, "dataclass": {"slots", "kw_only"}, "ArgumentParser": {"exit_on_error"},
    "shutdown": {"cancel_futures"}, "basicConfig": {"encoding"}, "TemporaryDirectory":
    {"ignore_cleanup_errors", "delete"}, "NamedTemporaryFile": {"delete_on_close"},
}  # fmt: skip


def newer_than_38(tree: ast.Module) -> List[str]:
    """Return what parses on Python 3.8 but fails when it runs there."""
    lazy_annotations = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    found: List[str] = []

    def is_type(node: ast.AST) -> bool:
        return (isinstance(node, ast.Constant) and node.value is None) or (
            isinstance(node, ast.Name) and node.id in BUILTIN_GENERICS | {"int", "float", "str"}
        )

    def look(node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in BUILTIN_GENERICS:
            found.append(f"line {line}: a builtin generic at run time")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            types = [side for side in (node.left, node.right) if is_type(side)]
            found.extend(f"line {line}: a union by | at run time" for _ in types[:1])
        if isinstance(node, ast.Attribute) and node.attr in NEWER_NAMES:
            found.append(f"line {line}: {node.attr}")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            names = {alias.name for alias in node.names}
            newer = NEWER_NAMES | NEWER_MODULES | ({"cache"} if module == "functools" else set())
            found.extend(f"line {line}: {name}" for name in sorted((names | {module}) & newer))
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            keywords = {keyword.arg for keyword in node.keywords}
            newer = keywords & NEWER_KEYWORDS.get(called, set())
            found.extend(f"line {line}: {called}({name}=...)" for name in sorted(newer))
        for field, value in ast.iter_fields(node):
            if lazy_annotations and field in ("annotation", "returns"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    look(child)

    look(tree)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_runs_on_python_38(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))
    assert newer_than_38(tree) == []


@pytest.mark.parametrize(
    "source",
    [
        "Shape = tuple[int, int]",
        "def f(x: list[int]): pass",
        "Number = int | None",
        "from functools import cache",
        "zip(a, b, strict=True)",
        "'ab'.removeprefix('a')",
    ],
)
def test_what_python_38_lacks_would_be_found(source):
    assert newer_than_38(ast.parse(source))


def test_lazy_annotations_may_be_modern():
    future = "from __future__ import annotations\n"
    source = future + "def f(x: list[int] | None) -> dict[str, int]: pass"
    assert newer_than_38(ast.parse(source)) == []
