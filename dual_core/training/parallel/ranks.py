"""The processes of a training: one alone, or several that torchrun started, one for each GPU.

Every process draws patches of its own, and gradients are averaged before each step. So all hold
the same weights, and an iteration of N processes is one with N times the patches. The first one
(rank 0) writes and tells; what stops a run is agreed on by all, so that none waits for another.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Ranks:
    """One process alone: there is nothing to agree on, and every method gives back what it got.

    Attributes
    ----------
    number : of this process, from 0.
    count : of processes.
    """

    number = 0
    count = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and tells the progress."""
        return self.number == 0

    @property
    def orphaned(self) -> bool:
        """Whether the launcher has gone, so that nobody would end this process."""
        return False

    def device(self, name: str) -> torch.device:
        """The device of this process, from the value of ``--device``.

        Raises
        ------
        DualError
            If the name is unknown or the device is not there.
        """
        from dual_core.networks.devices import choose_device

        return choose_device(name)

    def mean(self, values: Dict[str, float]) -> Dict[str, float]:
        """The mean of each value over all processes; not finite if it is so in one of them."""
        return values

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        return number

    def wait(self) -> None:
        """Wait until all processes have got here."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes: that of the joint batch."""

    def average_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Replace what networks gather from their batches by its mean over all processes."""

    def mean_tensor(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over all processes, without a gradient."""
        return tensor

    def of_all(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in their order; those of the others without a gradient.

        A mean over processes of the gradients is that of a function of all rows.
        """
        return rows

    def share_first(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""

    def difference(self, tensors: Iterable[Tensor]) -> float:
        """Largest difference from the first process's values, in their root mean square."""
        return 0.0

    def gather(self, value: Any) -> List[Any]:
        """The values of all processes on the first; an empty list on the others."""
        return [value]


ALONE = Ranks()
