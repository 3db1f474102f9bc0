"""One process is alone, and each of several takes the GPU of its place."""

from __future__ import annotations

from typing import List

import pytest
import torch
from distributed_worker import backward, joint_batch, small_network, state_of

from dual_core.errors import DualError
from dual_core.training.parallel.distributed import TorchRanks
from dual_core.training.parallel.launched import joined
from dual_core.training.parallel.ranks import ALONE


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined() as ranks:
        assert ranks is ALONE
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    with joined() as ranks:
        assert (ranks.first, ranks.count, ranks.orphaned) == (True, 1, False)


def test_alone_every_method_gives_back_what_it_got() -> None:
    values = {"a": 0.1}
    assert ALONE.mean(values) is values
    assert ALONE.largest(3) == 3
    assert ALONE.gather(values) == [values]
    network = small_network(seed=0)
    backward(network, joint_batch())
    before = network[0].weight.grad.clone(), state_of(network)
    ALONE.average_gradients(network.parameters())
    ALONE.average_buffers([network])
    ALONE.share_first(network)
    assert torch.equal(network[0].weight.grad, before[0])
    assert state_of(network) == before[1]


def test_each_process_takes_the_gpu_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: List[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: False)
    monkeypatch.setattr(TorchRanks, "largest", lambda self, number: number)
    for local in (0, 1):
        ranks = TorchRanks(None, local, 2, local)
        for name, first in (("cuda", 0), ("auto", 0), ("cuda:2", 2)):
            assert ranks.device(name) == torch.device("cuda", first + local) == taken[-1]
        assert ranks.device("cpu") == torch.device("cpu")
    with pytest.raises(DualError, match="needs a GPU of its own.*sees 4"):
        TorchRanks(None, 1, 2, 1).device("cuda:3")
    with pytest.raises(DualError, match="unknown"):
        TorchRanks(None, 1, 2, 1).device("cuda:x")
