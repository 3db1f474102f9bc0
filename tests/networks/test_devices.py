"""Which arithmetic is taken: the same on one machine, always."""

from __future__ import annotations

import pytest

from dual_core.networks.devices import _fast_on_cpu

HEAD = "vendor_id : {}\nflags : fpu sse2 avx512f {}"


@pytest.mark.parametrize(
    "maker, instructions, fast",
    [
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512_bf16", False),  # half as fast as float32, where it was measured
        ("AuthenticAMD", "avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
        ("", "", False),
    ],
)
def test_bfloat16_on_cpus_that_are_faster_with_it(maker, instructions, fast):
    assert _fast_on_cpu(HEAD.format(maker, instructions)) is fast
