"""Which device and which arithmetic: the one place that knows.

A device that was asked for by name and is not there is an error, never a silent fallback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dual_core.errors import DualError

if TYPE_CHECKING:
    import torch

DEVICE_HELP = "auto, cpu, cuda or cuda:N"
PRECISIONS = ("auto", "float32", "bfloat16")


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


def describe_device(device: torch.device) -> str:
    """A line about a device for the log, e.g. ``cpu (2 threads)``."""
    import torch

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there.

    True on CUDA devices that calculate in it, and on CPUs with the AVX512-BF16 or AMX
    instructions, where it is 2 to 3 times as fast; other CPUs emulate it slowly.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if supported is not None:
        return bool(supported())
    return "avx512_bf16" in _cpu_flags()


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


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return ""
