"""The wheel holds the packages with their files and no more, and starts without other packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dual_alias", "dual_core", "dual_scipion")
DATA = {".conf", ".png", ".template", ".typed", ".safetensors"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that the checkout stays as it is, and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    code = "from setuptools import build_meta; build_meta.build_wheel('../dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_holds_every_module_and_file_of_the_packages_and_no_more(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.suffix in {".py", *DATA} and "__pycache__" not in path.parts
    }
    found = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert {name for name in found if ".dist-info/" not in name} == expected
    assert {name.split("/")[1] for name in found - expected} >= {"METADATA", "entry_points.txt"}


def test_the_wheel_starts_in_an_empty_environment(wheel):
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    for words in (
        ["-c", "import dual_core; assert dual_core.DualError and dual_core.__version__"],
        ["-m", "dual_core", "--help"],
        ["-m", "dual_core", "denoise", "--help"],
    ):
        # -S: without site-packages.
        line = [sys.executable, "-S", *words]
        done = subprocess.run(
            line, env=environment, cwd=wheel, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
