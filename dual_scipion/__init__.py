"""Scipion plugin of DUAL: denoising and simulation of tomograms.

The plugin holds forms, objects and viewers. The engine (``dual_core``) runs as a program in an
interpreter of its own, because Scipion's pins and torch's needs do not fit together: nothing
here imports torch, at any depth.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, List

import pwem
from pyworkflow.utils import Environ

import dual_core
from dual_scipion.constants import (
    DISTRIBUTION,
    DUAL_ENV_ACTIVATION,
    DUAL_HOME,
    ENGINE_INSTALLED,
    ENGINE_PACKAGE,
    ENGINE_VERSION,
)

__version__ = dual_core.__version__
_logo = "icon.png"
_references = ["Zeng2024DUAL"]


class Plugin(pwem.Plugin):
    """What Scipion asks of a plugin: variables, environment, installation of the engine."""

    _homeVar = DUAL_HOME
    # Empty on purpose: the engine may also be in an environment of the user's, or in Scipion's
    # own, and then DUAL_HOME need not exist.
    _pathVars: List[str] = []
    _supportedVersions = [ENGINE_VERSION]
    _processingField = ["TOMOGRAPHY"]

    @classmethod
    def _defineVariables(cls) -> None:
        cls._defineEmVar(
            DUAL_HOME,
            f"{ENGINE_PACKAGE}-{ENGINE_VERSION}",
            description="Folder of the engine's private environment.",
        )
        cls._defineVar(
            DUAL_ENV_ACTIVATION,
            "",
            description="Command that activates an environment of your own that has dual_core "
            "and torch, for example '. /path/to/env/bin/activate'. It goes before DUAL_HOME.",
        )

    @classmethod
    def getEnviron(cls) -> Environ:
        """Return the environment of the engine's process.

        Scipion's PYTHONPATH would bring its own numpy and scipy before those of the engine.
        """
        environ = Environ(os.environ)
        environ.pop("PYTHONPATH", None)
        return environ

    @classmethod
    def defineBinaries(cls, env: Any) -> None:
        """Declare the engine's private environment: a plain venv, so that conda is not needed."""
        env.addPackage(
            ENGINE_PACKAGE,
            version=ENGINE_VERSION,
            tar="void.tgz",
            commands=[
                (f"{shlex.quote(sys.executable)} -m venv .", "bin/python"),
                (engine_install_command(), ENGINE_INSTALLED),
            ],
            neededProgs=[],
            default=True,
        )


def engine_install_command() -> str:
    """Return the shell command that fills the virtual environment of the current folder.

    ``dual_core`` itself is linked, not installed a second time, so that the engine is always
    the one of this plugin.
    """
    source = shlex.quote(str(Path(dual_core.__file__).resolve().parent))
    packages = " ".join(shlex.quote(requirement) for requirement in engine_requirements())
    site_packages = "$(bin/python -c \"import sysconfig; print(sysconfig.get_path('purelib'))\")"
    return " && ".join(
        [
            f"bin/python -m pip install {packages}",
            f'ln -sfn {source} "{site_packages}/dual_core"',
            'bin/python -c "import dual_core, torch"',
            f"touch {ENGINE_INSTALLED}",
        ]
    )


def engine_requirements() -> List[str]:
    """Return what the engine needs, for pip: the extra ``core``, and of the rest all but Scipion.

    Read from the installed metadata, so that setup.py stays the only list. It is there: Scipion
    finds this plugin through the same metadata.
    """
    requirements = []
    for text in metadata.requires(DISTRIBUTION) or []:
        requirement, _, marker = text.partition(";")
        wanted = not marker.strip() or 'extra == "core"' in marker.replace("'", '"')
        if wanted and not requirement.startswith("scipion"):
            requirements.append(requirement.strip())
    return requirements
