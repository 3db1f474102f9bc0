"""Packaging of scipion-em-dual: the engine (dual_core) and its Scipion plugin (dual_scipion).

The tools (ruff, mypy, pytest, coverage) are configured in pyproject.toml; the metadata stays
here because the Scipion plugin manager of older installations reads a setup.py.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    """Return ``__version__`` of dual_core without importing it (nothing is installed yet)."""
    text = (HERE / "dual_core" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("dual_core/__init__.py defines no __version__")
    return found.group(1)


def read_long_description() -> str:
    """Return the README, or a line where an unpacked tree lacks it."""
    readme = HERE / "README.rst"
    return readme.read_text(encoding="utf-8") if readme.exists() else "See the repository."


# Floors only: the neighbours' exact pins are what makes them uninstallable today. The versions
# that were tested together are in constraints.txt.
SCIPION = [
    # The first release that was seen to have pyworkflow.utils.retry_streaming.
    "scipion-pyworkflow>=3.11.7",
    "scipion-em>=3.9.0",
    "scipion-em-tomo>=3.7.0",
]
BASIC = ["mrcfile>=1.3.0", "numpy>=1.21"]
CORE = [
    "torch>=2.0",
    "scipy>=1.7",
    "safetensors>=0.4.3",
    "tqdm>=4.60",
    "PyYAML>=5.4",
    "scikit-image>=0.19",
    "matplotlib>=3.5",
    "Pillow>=9.1",
]
TEST = [
    "pytest>=7.0",
    "pytest-cov>=4.0",
    "pytest-xdist>=3.0",
    "ruff>=0.4",
    "mypy>=1.8",
    "types-PyYAML",
    # "python -m scipion tests ..." is how Scipion runs a plugin's tests: ours try it for real.
    "scipion-app>=3.4.0",
    # Picks must suit the extraction of another plugin: its checks and its writer are called.
    "scipion-em-emantomo>=3.4.3",
    # Simulated tomograms must suit its training: its steps are run up to the program's start.
    "scipion-em-deepfinder>=3.2.3",
    # Tomograms, masks and coordinates go to these and come from them: their own steps are run.
    "scipion-em-cryocare>=4.2.4",
    "scipion-em-dynamo>=3.5.3",
    "scipion-em-imod>=3.9.1",
    "scipion-em-membrain>=3.1.5",
    "scipion-em-novactf>=4.0.1",
    "scipion-em-reliontomo>=4.0.5",
    "scipion-em-tomo3d>=3.4.2",
    "scipion-em-tomosegmemtv>=3.3.1",
    "scipion-em-tomotwin>=3.5.3",
    "scipion-em-warp>=3.6.2",
]
DOCS = ["sphinx>=7.0", "myst-parser>=2.0", "furo>=2023.5.20"]

setup(
    name="scipion-em-dual",
    version=read_version(),
    description="DUAL: unsupervised denoising and simulation of cryo-electron tomograms, "
    "as a command line and as a Scipion plugin",
    long_description=read_long_description(),
    long_description_content_type="text/x-rst",
    author="The scipion-em-dual developers",
    license="GPL-3.0-or-later",
    license_files=["LICENSE"],
    keywords="cryo-electron-tomography cryo-ET denoising simulation scipion image-processing",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    packages=find_packages(include=["dual_alias", "dual_core*", "dual_scipion*"]),
    package_data={
        "dual_core.networks": ["general.safetensors"],
        "dual_core": ["py.typed", "*/templates/*"],
        "dual_scipion": ["protocols.conf", "*.png", "templates/*"],
    },
    python_requires=">=3.8",
    install_requires=SCIPION + BASIC,
    extras_require={
        "core": CORE,
        "test": TEST,
        "docs": DOCS,
        "baselines": ["SimpleITK>=2.2"],
        "molecules": ["gemmi>=0.6"],
        "all": [*CORE, "SimpleITK>=2.2", "gemmi>=0.6"],
    },
    entry_points={
        "console_scripts": ["dual = dual_core.cli.main:main"],
        "pyworkflow.plugin": ["dual_scipion = dual_scipion"],
    },
    zip_safe=False,
)
