"""DUAL: deep unsupervised simultaneous simulation and denoising for cryo-electron tomography.

The Python API is what ``__all__`` lists; all else is internal and may change. Its names are loaded
when they are first used, so that ``import dual_core`` needs the standard library alone::

    import dual_core

    found = dual_core.denoise("tomo_1.mrc", "run/model.safetensors")
    found.array, found.contrast, found.correlation
"""

import importlib
from typing import TYPE_CHECKING, Any, Dict, List

from dual_core.overlap import prepare_torch

__version__ = "0.2.0"

if TYPE_CHECKING:
    from dual_core.api.adapt import adapt
    from dual_core.api.compensate import Compensated, compensate
    from dual_core.api.denoise import Denoised, denoise
    from dual_core.api.evaluate import Scores, evaluate, evaluate_picks
    from dual_core.api.given import Machine
    from dual_core.api.pack import Packed, pack
    from dual_core.api.pick import Picked, pick
    from dual_core.api.project import Projected, project
    from dual_core.api.simulate import Simulated, simulate
    from dual_core.api.train import Trained, train
    from dual_core.api.translate import Translated, translate
    from dual_core.errors import DualError
    from dual_core.networks.model import DualModel
    from dual_core.training.config import TrainingConfig, preset_config

__all__ = [
    "Compensated", "Denoised", "DualError", "DualModel", "Machine", "Packed", "Picked",
    "Projected", "Scores", "Simulated", "Trained", "TrainingConfig", "Translated", "__version__",
    "adapt", "compensate", "denoise", "evaluate", "evaluate_picks", "pack", "pick",
    "preset_config", "project", "simulate", "train", "translate",
]

# Name -> the module that has it.
_HOMES: Dict[str, str] = {
    "Compensated": "dual_core.api.compensate",
    "Denoised": "dual_core.api.denoise",
    "DualError": "dual_core.errors",
    "DualModel": "dual_core.networks.model",
    "Machine": "dual_core.api.given",
    "Packed": "dual_core.api.pack",
    "Picked": "dual_core.api.pick",
    "Projected": "dual_core.api.project",
    "Scores": "dual_core.api.evaluate",
    "Simulated": "dual_core.api.simulate",
    "Trained": "dual_core.api.train",
    "TrainingConfig": "dual_core.training.config",
    "Translated": "dual_core.api.translate",
    "adapt": "dual_core.api.adapt",
    "compensate": "dual_core.api.compensate",
    "denoise": "dual_core.api.denoise",
    "evaluate": "dual_core.api.evaluate",
    "evaluate_picks": "dual_core.api.evaluate",
    "pack": "dual_core.api.pack",
    "pick": "dual_core.api.pick",
    "preset_config": "dual_core.training.config",
    "project": "dual_core.api.project",
    "simulate": "dual_core.api.simulate",
    "train": "dual_core.api.train",
    "translate": "dual_core.api.translate",
}


def __getattr__(name: str) -> Any:
    """Load a name of the API when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dual_core' has no attribute '{name}'")
    prepare_torch()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
