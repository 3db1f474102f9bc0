"""Checkpoints: everything an exact resume needs, in two files, without pickle.

``checkpoint/state.safetensors`` holds every tensor, ``checkpoint/state.json`` the rest. Both are
written into a new folder that is renamed; the previous checkpoint is kept as
``checkpoint.previous``. A checkpoint is therefore whole or absent, and one is always there.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dual_core.errors import DualError
from dual_core.networks.card import MODEL_FILE
from dual_core.safety.checks import checked, within_bounds
from dual_core.safety.documents import read_json
from dual_core.safety.limits import ITERATIONS

logger = logging.getLogger(__name__)

FOLDER = "checkpoint"
PREVIOUS = "checkpoint.previous"
NEW = "checkpoint.new"  # while it is written; a killed run may leave it
TENSORS = "state.safetensors"
VALUES = "state.json"


@dataclass(frozen=True)
class CheckpointValues:
    """What ``state.json`` must hold to be one; what else it holds is left to who restores it.

    Attributes
    ----------
    iteration : iterations done.
    generator, noisy, clean : random state and places in the data of the first process.
    trainer : of the trainer.
    card : JSON of the model's card.
    others : the same as for the first process, of each further one.
    """

    iteration: int = field(metadata=within_bounds(ITERATIONS))
    generator: Dict[str, Any]
    noisy: Any
    clean: Any
    trainer: Dict[str, Any]
    card: str
    others: List[Dict[str, Any]] = field(default_factory=list)


def save_checkpoint(run: Path, tensors: Dict[str, Tensor], values: Dict[str, Any]) -> None:
    """Write a checkpoint into the training directory `run` and keep the one before.

    Raises
    ------
    DualError
        When the disk is full or the folder cannot be written; the checkpoint before stays.
    """
    new = run / NEW
    current, previous = run / FOLDER, run / PREVIOUS
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        # A copy of each, since safetensors refuses tensors that share memory.
        copies = {
            name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()
        }
        save_file(copies, str(new / TENSORS))
        (new / VALUES).write_text(json.dumps(values))
        _flush_to_disk(new / TENSORS)
        _flush_to_disk(new / VALUES)
        if current.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(current, previous)
        os.replace(new, current)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise DualError(
            f"the checkpoint in {run} cannot be written ({reason}); free disk space, then continue "
            "with --resume"
        ) from error


def load_checkpoint(run: Path) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    """The newest readable checkpoint of a training directory: (tensors, values).

    Raises
    ------
    DualError
        When there is none, or neither it nor the one before can be read.
    """
    for _, tensors, values in readable_checkpoints(run):
        return tensors, values
    raise no_checkpoint_left(run)


def readable_checkpoints(
    run: Path,
) -> Iterator[Tuple[Path, Dict[str, Tensor], Dict[str, Any]]]:
    """Every checkpoint that can be read, newest first: (its folder, tensors, values).

    One that is there and cannot be read is named in a warning.

    Raises
    ------
    DualError
        When the training directory holds none at all.
    """
    require_checkpoint(run)
    for folder in (run / FOLDER, run / PREVIOUS):
        if not folder.exists():
            continue
        try:
            values = read_json(folder / VALUES)
            if not isinstance(values, dict):
                raise DualError(f"{folder / VALUES} holds no fields with names")
            tensors = load_file(str(folder / TENSORS))
        except (OSError, SafetensorError, ValueError, DualError) as error:
            tell_of_damage(folder, error)
            continue
        yield folder, tensors, values


def check_values(values: Dict[str, Any], folder: Path) -> None:
    """See that the values of a training's checkpoint are of their types.

    Raises
    ------
    DualError
        Naming the file and the field.
    """
    checked(CheckpointValues, values, str(folder / VALUES))


def tell_of_damage(folder: Path, error: Exception) -> None:
    """Warn that the checkpoint in `folder` is not used, and why."""
    reason = " ".join(str(error).split())[:300]
    before = f"; trying the one before, {PREVIOUS}" if folder.name == FOLDER else ""
    logger.warning("the checkpoint %s cannot be used (%s)%s", folder, reason, before)


def no_checkpoint_left(run: Path) -> DualError:
    """The error where neither checkpoint of a training directory can be used."""
    return DualError(f"the checkpoints in {run} are damaged; start again without --resume")


def require_checkpoint(run: Path) -> None:
    """Fail early where there is nothing to resume.

    Raises
    ------
    DualError
        When the training directory holds no checkpoint.
    """
    if not any((run / folder / VALUES).exists() for folder in (FOLDER, PREVIOUS)):
        raise DualError(f"{run} holds no checkpoint to resume; start without --resume")


def holds_training(run: Path) -> bool:
    """Whether a folder has a model or a checkpoint, whole or not, that a new run would replace."""
    return any((run / name).exists() for name in (MODEL_FILE, FOLDER, PREVIOUS))


def remove_training(run: Path) -> None:
    """Remove the model and the checkpoints of a folder, so that nothing goes on from them.

    Raises
    ------
    DualError
        If something cannot be removed.
    """
    try:
        for name in (FOLDER, PREVIOUS):
            if (run / name).exists():
                shutil.rmtree(run / name)
        with contextlib.suppress(FileNotFoundError):
            (run / MODEL_FILE).unlink()
    except OSError as error:
        raise DualError(
            f"the training in {run} cannot be removed ({error.strerror}); choose another --output"
        ) from error


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> Dict[str, Tensor]:
    """Every tensor of an optimiser's state, named by parameter number and quantity."""
    found: Dict[str, Tensor] = {}
    for number, state in optimiser.state_dict()["state"].items():
        for quantity, value in state.items():
            found[f"{prefix}.{number}.{quantity}"] = torch.as_tensor(value)
    return found


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Dict[str, Tensor], prefix: str
) -> None:
    """Put back what `optimiser_tensors` gave. The parameter groups stay as configured.

    Moments come to lie in memory as their parameter does: a fused step goes by the place in memory.
    """
    state: Dict[int, Dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            number, quantity = name[len(prefix) + 1 :].split(".")
            state.setdefault(int(number), {})[quantity] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    for parameter, moments in optimiser.state.items():
        for quantity, value in moments.items():
            if value.shape == parameter.shape:
                moments[quantity] = torch.empty_like(parameter).copy_(value)


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
