"""Several processes of one training, connected by torch.distributed.

Gradients on GPUs go by NCCL. Everything else goes by gloo over the host's memory: numbers that
all must see alike, weights and random states. gloo also notices at once that a process has gone.
"""
from __future__ import annotations

import datetime
import logging
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Optional

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from dual_core.errors import DualError
from dual_core.networks.devices import choose_device
from dual_core.training.parallel.ranks import Ranks

logger = logging.getLogger(__name__)

# A process may open large volumes, or draw and write, for long while the others wait for it.
PATIENCE = datetime.timedelta(hours=2)
_TOLD = "dual/told"  # in the launcher's store: how many processes have had an error


class TorchRanks(Ranks):
    """Several processes; see `Ranks` for what each method does.

    Parameters
    ----------
    store : of the launcher, where the first error is noted.
    number, count : rank and how many there are.
    local : place on this machine, which chooses the GPU.
    """

    def __init__(self, store: Any, number: int, count: int, local: int) -> None:
        self.number = number
        self.count = count
        self._store = store
        self._local = local
        self._launcher = os.getppid()
        self._gradients: Optional[dist.ProcessGroup] = None

    @property
    def orphaned(self) -> bool:
        """Whether the launcher has gone, so that nobody would end this process."""
        return os.getppid() != self._launcher

    def device(self, name: str) -> torch.device:
        """The device of this process: with GPUs that of its place, counted from a given one."""
        kind, _, given = name.partition(":")
        numbered = kind == "cuda" and given.isdigit()
        if numbered or name == "cuda" or (name == "auto" and torch.cuda.is_available()):
            place = self._local + (int(given) if numbered else 0)
            there = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if place >= there:
                raise DualError(
                    f"each of the {self.count} processes needs a GPU of its own, and torch "
                    f"{torch.__version__} sees {there}; start fewer by --nproc_per_node of "
                    "torchrun, or choose --device cpu"
                )
            name = f"cuda:{place}"
        device = choose_device(name)  # a name that is unknown is told by it
        self.wait()  # the calls below would wait for long for a process that has failed
        if device.type == "cuda":
            torch.cuda.set_device(device)
            if dist.is_nccl_available():
                self._gradients = dist.new_group(backend="nccl", timeout=PATIENCE)
        return device

    def mean(self, values: Dict[str, float]) -> Dict[str, float]:
        """The mean of each value over all processes; not finite if it is so in one of them."""
        found = torch.tensor(list(values.values()), dtype=torch.float64)
        with _answered():
            dist.all_reduce(found)
        return dict(zip(values, (found / self.count).tolist()))

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        found = torch.tensor([number])
        with _answered():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def wait(self) -> None:
        """Wait until all processes have got here."""
        self.largest(0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes: that of the joint batch."""
        self._average([entry.grad for entry in parameters if entry.grad is not None])

    def average_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Replace what networks gather from their batches by its mean over all processes."""
        self._average([buffer for module in modules for buffer in module.buffers()])

    def mean_tensor(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over all processes, without a gradient."""
        found = tensor.detach().clone()
        self._average([found])
        return found

    def of_all(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in their order; those of the others without a gradient."""
        own = rows.detach().cpu().contiguous()
        found = [torch.empty_like(own) for _ in range(self.count)]
        with _answered():
            dist.all_gather(found, own)
        parts = [part.to(rows.device) for part in found]
        # Each process steps down the mean of the gradients, and only this one has that of its rows.
        parts[self.number] = rows.detach() + self.count * (rows - rows.detach())
        return torch.cat(parts)

    def share_first(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        for tensor in module.state_dict().values():
            values = tensor.cpu().contiguous()
            with _answered():
                dist.broadcast(values, 0)
            tensor.copy_(values)

    def difference(self, tensors: Iterable[Tensor]) -> float:
        """Largest difference from the first process's values, in their root mean square."""
        own = torch.cat([tensor.detach().float().reshape(-1).cpu() for tensor in tensors])
        first = own.clone()
        with _answered():
            dist.broadcast(first, 0)
            largest = (own - first).abs().max() / first.square().mean().sqrt()
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return float(largest)

    def gather(self, value: Any) -> List[Any]:
        """The values of all processes on the first; an empty list on the others."""
        found: Optional[List[Any]] = [None] * self.count if self.first else None
        with _answered():
            dist.gather_object(value, found)
        return found or []

    def tells_the_error(self) -> bool:
        """Whether this process is the first with an error, and so the one to tell it."""
        try:
            return bool(self._store.add(_TOLD, 1) == 1)
        except RuntimeError:  # the launcher has gone, and its store with it
            return True

    def leave(self) -> None:
        """Part from the others; all have come to their end."""
        # With the launcher its store is gone, and torch 2.0 then waits for it without end.
        if not self.orphaned:
            dist.destroy_process_group()

    def _average(self, tensors: List[Tensor]) -> None:
        """Average tensors of one type in place, all in one message."""
        if not tensors:
            return
        with torch.no_grad():
            joint = torch.cat([tensor.reshape(-1) for tensor in tensors])
            on_host = joint.cpu() if self._gradients is None else joint
            with _answered():
                dist.all_reduce(on_host, group=self._gradients)
            joint = on_host.to(joint.device) / self.count
            parts = joint.split([tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts):
                tensor.copy_(part.view_as(tensor))


def connect() -> TorchRanks:
    """Connect to the other processes that torchrun started; of the log the first one keeps all.

    Raises
    ------
    DualError
        If they cannot be reached.
    """
    try:
        store, number, count = next(rendezvous("env://"))
        dist.init_process_group(
            "gloo", store=store, rank=number, world_size=count, timeout=PATIENCE
        )
        local = int(os.environ["LOCAL_RANK"])
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise DualError(
            f"the processes of the training cannot connect ({said}); start them by "
            "'python -m torch.distributed.run --standalone --nproc_per_node N -m dual_core train'"
        ) from error
    if number > 0:
        # The first has the same data and numbers, so also the same warnings.
        logging.getLogger("dual_core").setLevel(logging.ERROR)
    return TorchRanks(store, number, count, local)


@contextmanager
def _answered() -> Iterator[None]:
    """Tell the loss of another process in one line."""
    try:
        yield
    except RuntimeError as error:
        logger.debug("%s", error)
        raise DualError(
            "another process of the training has ended or does not answer; look above for its "
            "error, then go on from the last checkpoint with --resume"
        ) from error
