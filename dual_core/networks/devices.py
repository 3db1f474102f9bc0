"""Which device and which arithmetic: the one place that knows.

A device that was asked for by name and is not there is an error, never a silent fallback.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, List, Optional

from dual_core.errors import DualError

if TYPE_CHECKING:
    import torch

DEVICE_HELP = "auto, cpu, cuda or cuda:N"
PRECISIONS = ("auto", "float32", "bfloat16")
TRAINING_BYTES = 29.0  # of a voxel of a patch, for each channel of the first level
TRAINING_SHARE = 0.8  # of a GPU's free memory


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DualError
        If the name is unknown or the device is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or name == "cpu:":
        raise DualError(f"device '{name}' is unknown; choose {DEVICE_HELP}")
    if kind == "cpu":
        return torch.device("cpu")
    number = int(index or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= count:
        there = f"torch {torch.__version__} sees {count} CUDA device{'' if count == 1 else 's'}"
        raise DualError(f"device '{name}' is not there ({there}); choose --device auto or cpu")
    return torch.device("cuda", number)


def choose_devices(names: str) -> List[torch.device]:
    """The torch devices for one name of `choose_device`, or for several with commas between.

    Raises
    ------
    DualError
        As `choose_device`; for devices of two kinds, whose results differ; and for a GPU that is
        named twice.
    """
    devices = [choose_device(name.strip()) for name in names.split(",")]
    if len({device.type for device in devices}) > 1:
        raise DualError(f"device '{names}' is of two kinds; name GPUs alone, or cpu alone")
    gpus = [device for device in devices if device.type == "cuda"]
    if len(set(gpus)) < len(gpus):
        raise DualError(f"device '{names}' names a GPU twice; name each once")
    return devices


def describe_device(device: torch.device) -> str:
    """A line about a device for the log, e.g. ``cpu (2 threads)``."""
    import torch

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there.

    True on CUDA devices that calculate in it. On CPUs it goes by what they are and not by a
    measurement: another program could turn that, and a resumed run would differ. With AVX512-BF16
    it was 2 to 3 times as fast on an AMD EPYC and half as fast on a virtual Xeon (convolutions of
    48 to 48 channels); AMX tiles are made for it; without either it is emulated, slowly.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    return _fast_on_cpu(_cpu_facts())


def _fast_on_cpu(facts: str) -> bool:
    words = facts.split()
    return "amx_bf16" in words or ("avx512_bf16" in words and "AuthenticAMD" in words)


def use_bfloat16(device: torch.device, precision: str = "auto") -> bool:
    """Whether to calculate in bfloat16: as asked for, or where it is faster.

    Raises
    ------
    DualError
        If ``precision`` is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise DualError(f"precision '{precision}' is unknown; choose {', '.join(PRECISIONS)}")
    return fast_bfloat16(device) if precision == "auto" else precision == "bfloat16"


def patches_that_fit(
    device: torch.device, channels: int, side: int, bfloat16: bool
) -> Optional[int]:
    """How many patches a GPU's free memory holds while all six networks train; None on a CPU.

    Parameters
    ----------
    device : to train on.
    channels : of the U-Nets' first level.
    side : of a patch, in voxels.
    bfloat16 : whether the U-Nets calculate in it.

    Notes
    -----
    By a peak of 3.6 GiB of 8 patches of 64^3 voxels with 64 channels in bfloat16 (H200, torch
    2.11). It is an estimate: what does not fit after all is halved.
    """
    if device.type != "cuda":
        return None
    import torch

    patch = TRAINING_BYTES * channels * side**3 * (1 if bfloat16 else 2)
    return int(TRAINING_SHARE * torch.cuda.mem_get_info(device)[0] / patch)


@functools.lru_cache(maxsize=None)
def _cpu_facts() -> str:
    """Maker and instructions of the CPU; nothing where the system does not tell."""
    wanted = ("flags", "vendor_id")
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            found = {line.split(":")[0].strip(): line for line in lines}
    except OSError:
        return ""
    return " ".join(found[name] for name in wanted if name in found)
