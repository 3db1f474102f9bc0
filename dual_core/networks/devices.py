"""Which device and which arithmetic: the one place that knows.

A device that was asked for by name and is not there is an error, never a silent fallback.
"""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING

from dual_core.errors import DualError

if TYPE_CHECKING:
    import torch

DEVICE_HELP = "auto, cpu, cuda or cuda:N"
PRECISIONS = ("auto", "float32", "bfloat16")
# Gain in speed from which half the digits are worth it; what was measured is near 0.5 or 2.
WORTHWHILE = 1.25


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

    True on CUDA devices that calculate in it, and on CPUs where a convolution is: with AVX512-BF16
    or AMX instructions it is 2 to 3 times as fast on some, and half as fast on others (measured on
    a virtual Xeon without AMX); without them it is emulated, slowly.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    has_instructions = "avx512_bf16" in _cpu_flags() if supported is None else bool(supported())
    return has_instructions and _bfloat16_gain() > WORTHWHILE


@functools.lru_cache(maxsize=None)
def _bfloat16_gain() -> float:
    """How many times as fast as in float32 a convolution is on this CPU; takes 0.2 s."""
    import torch

    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    with torch.inference_mode():
        # In turn, and the fastest of each, so that other programs have no say. Smaller tensors than
        # these torch would not give to oneDNN in float32.
        for _ in range(4):
            for kind in seconds:
                features = torch.ones(1, 48, 16, 32, 32, dtype=kind)
                weight = torch.ones(48, 48, 3, 3, 3, dtype=kind)
                layout = torch.channels_last_3d
                features = features.contiguous(memory_format=layout)
                weight = weight.contiguous(memory_format=layout)
                started = time.perf_counter()
                torch.nn.functional.conv3d(features, weight, padding=1)
                seconds[kind] = min(seconds[kind], time.perf_counter() - started)
    return seconds[torch.float32] / seconds[torch.bfloat16]


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
