"""What the tests of this folder run under torchrun: ``distributed_worker.py TASK FOLDER ...``.

Each process writes what it found to files that carry its rank, for the test to judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch
from torch import nn

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, train
from dual_core.training.pairs.draws import Draws
from dual_core.training.parallel.launched import joined
from dual_core.training.parallel.ranks import Ranks
from dual_core.training.session import Session
from dual_core.training.step import Batch, Trainer

TINY = NetworkConfig(
    channels=(4, 6),
    noise_channels=(4, 4),
    code_size=5,
    noise_side=16,
    discriminator_channels=(4, 6),
)
CONFIG = TrainingConfig(
    iterations=6,
    patch=16,
    batch=2,
    network=TINY,
    contrast="dark",
    clean_contrast="bright",
    rehearsals=1,
    code_pool=6,
)
OPTIONS = RunOptions(device="cpu", precision="float32", previews=1, snapshots=2, log_every=1)
BROKEN = "the disk has gone; mend it"


def joint_batch() -> torch.Tensor:
    """Six samples of which each of two processes takes three."""
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def small_network(seed: int) -> nn.Module:
    """A network with a gradient for all parameters but one, and a buffer."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    network.register_parameter("unused", nn.Parameter(torch.ones(2)))
    network.register_buffer("moment", torch.zeros(3))
    return network


def backward(network: nn.Module, batch: torch.Tensor) -> None:
    """A gradient of the mean over the batch."""
    network(batch).square().mean().backward()


def state_of(network: nn.Module) -> List[List[float]]:
    """All weights and buffers as plain numbers."""
    return [value.flatten().tolist() for value in network.state_dict().values()]


def properties(ranks: Ranks) -> Dict[str, Any]:
    """Each method of `Ranks` by itself."""
    network = small_network(seed=ranks.number)
    before = ranks.difference(network.parameters())
    ranks.share_first(network)
    after = ranks.difference(network.parameters())
    batch = joint_batch().chunk(ranks.count)[ranks.number]
    backward(network, batch)
    own = [entry.grad.flatten().tolist() for entry in network[0].parameters()]
    ranks.average_gradients(network.parameters())
    network.moment.fill_(float(ranks.number))
    ranks.average_buffers([network])
    return {
        "count": ranks.count,
        "differences": [before, after],
        "own": own,
        "averaged": [
            entry.grad.flatten().tolist()
            for layer in (network[0], network[2])
            for entry in layer.parameters()
        ],
        "unused": network.unused.grad is None,
        "state": state_of(network),
        "mean": ranks.mean({"a": float(ranks.number), "b": [0.0, np.nan][ranks.number]}),
        "largest": ranks.largest(10 * ranks.number),
        "gathered": ranks.gather(ranks.number),
    }


def joint_steps(ranks: Ranks) -> Tuple[List[Dict[str, float]], List[torch.Tensor]]:
    """Three steps on one joint batch, of which each process takes its share: losses and weights."""
    torch.manual_seed(0)
    config = replace(CONFIG, code_pool=10)
    model = DualModel(TINY, ModelCard(10.0, "bright", plain_config(TINY)))
    trainer = Trainer(model, config, False, ranks)
    random = torch.Generator().manual_seed(1)
    values = []
    for _ in range(3):
        tomogram, density, noise, linear = torch.randn(4, 4, 1, 16, 16, 16, generator=random)
        code = torch.randn(4, TINY.code_size, generator=random)
        parts = (part.chunk(ranks.count)[ranks.number] for part in
                 (tomogram, density, noise, code, linear))
        values.append(trainer.step(Batch(*parts), 0.0))
    return values, [*trainer.weights(), trainer.codes]


class Recorded:
    """Keeps what each process holds at each checkpoint: weights, and where its draws are."""

    def __init__(self) -> None:
        self.weights: List[str] = []
        self.draws: List[str] = []
        self._save = Session.save

    def __enter__(self) -> Recorded:
        recorded = self

        def save(session: Session, run: Path) -> None:
            digest = hashlib.sha256()
            for tensor in session.trainer.weights():
                digest.update(tensor.detach().contiguous().numpy().tobytes())
            recorded.weights.append(digest.hexdigest())
            recorded.draws.append(str(session._draws()[1]["generator"]["state"]))
            recorded._save(session, run)

        Session.save = save  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: Any) -> None:
        Session.save = self._save  # type: ignore[method-assign]


def stop_at(iteration: int) -> Callable[[int, int, Dict[str, float]], None]:
    """A progress that sends its own process SIGTERM."""

    def progress(done: int, total: int, values: Dict[str, float]) -> None:
        if done == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def trainings(ranks: Ranks, folder: Path) -> Dict[str, Any]:
    """A whole run, one in halves, one that began alone, and two that fail."""
    noisy, clean = [folder / "tomogram.mrc"], [folder / "grand_model.mrc"]
    found: Dict[str, Any] = {}

    def run(name: str, config: TrainingConfig = CONFIG, **arguments: Any) -> None:
        with Recorded() as recorded:
            result = train(
                noisy, clean, folder / name, config, OPTIONS, ranks=ranks, **arguments
            )
        entry = [result.iterations, result.reason, recorded.weights, recorded.draws]
        found.setdefault(name, []).append(entry)

    run("whole")
    run("halves", progress=stop_at(3) if ranks.number == 1 else None)
    run("halves", resume=True)
    run("alone", replace(CONFIG, iterations=4), resume=True)
    draw = Draws.next

    def poisoned(draws: Draws) -> Any:
        bad = ranks.number == 1 and draws.iteration == 2
        drawn = draw(draws)
        batch = drawn.batch._replace(density=drawn.batch.density * float("nan"))
        return drawn._replace(batch=batch) if bad else drawn

    Draws.next = poisoned  # type: ignore[method-assign]
    try:
        run("poisoned")
    except DualError as error:
        found["poisoned"] = str(error)
    Draws.next = draw  # type: ignore[method-assign]
    iterate = Session.iterate

    def apart(session: Session) -> Dict[str, float]:
        values = iterate(session)
        with torch.no_grad():
            for weight in session.trainer.model.parameters():
                weight.mul_(1.0 + ranks.number)
        return values

    Session.iterate = apart  # type: ignore[method-assign]
    try:
        run("apart", replace(CONFIG, iterations=1))
    except DualError as error:
        found["apart"] = str(error)
    Session.iterate = iterate  # type: ignore[method-assign]
    return found


def failing(how: str, arguments: List[str]) -> int:
    """``dual train`` of which the second process fails after an iteration."""
    iterate = Session.iterate

    def broken(session: Session) -> Dict[str, float]:
        if session.iteration == 1 and session.ranks.number == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise DualError(BROKEN)
        return iterate(session)

    Session.iterate = broken  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    task, where = sys.argv[1], Path(sys.argv[2])
    if task in ("broken", "killed"):
        sys.exit(failing(task, sys.argv[3:]))
    rank = os.environ["RANK"]
    if task == "told":
        (where / f"process{rank}").write_text(str(os.getpid()))
        sys.exit(main(sys.argv[3:]))
    with joined() as processes:
        losses, tensors = joint_steps(processes)
        torch.save(tensors, where / f"joint{rank}.pt")
        answer = {
            **properties(processes), "joint": losses, "trainings": trainings(processes, where)
        }
    (where / f"found{rank}.json").write_text(json.dumps(answer))
