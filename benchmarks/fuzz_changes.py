"""Random changes of bytes, text and values, for benchmarks/fuzz.py."""

from __future__ import annotations

from typing import Any

import numpy as np

ABSURD = (
    "0", "-1", "1", "nan", "inf", "-inf", "1e308", "-1e308", "1e30", "1e-308", "1e-30", "0.001",
    "1e4", "1e6", "2147483648", "-2147483649", "9" * 40, "9" * 5000, "", " ", "x", "?", ".", "*a",
    "null", "true", "[]", "{}", "[1, 2]", "{a: 1}", "\u202e", "\x1b[31m", "\0", "0x_", "2024-02-31",
    "&a [*a]", "\udcff", "é", "a" * 300, "../../etc", "$x^2$", "%s", "'", '"', "#", "[" * 2000,
)


def changed_bytes(random: np.random.Generator, content: bytes) -> bytes:
    """Bytes overwritten, cut off, doubled or put in."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        if not data:
            break
        at = int(random.integers(len(data)))
        kind = random.integers(4)
        if kind == 0:
            data[at] = int(random.integers(256))
        elif kind == 1:
            del data[at : at + int(random.integers(1, 200))]
        elif kind == 2:
            data[at:at] = random.bytes(int(random.integers(1, 20)))
        elif random.random() < 0.3:
            del data[at:]
    return bytes(data)


def changed_text(random: np.random.Generator, text: str) -> bytes:
    """Words and lines of a text put in the place of others, dropped or doubled."""
    lines = text.split("\n")
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(lines)))
        kind = random.integers(4)
        words = lines[at].replace(",", " , ").split(" ")
        if kind < 2:
            place = int(random.integers(len(words)))
            old, new = words[place], str(random.choice(ABSURD))
            fitting = new[: len(old)].ljust(len(old)) if random.random() < 0.5 else new
            words[place] = fitting
            lines[at] = " ".join(words).replace(" , ", ",")
        elif kind == 2:
            lines[at : at + 1] = []
        else:
            lines[at:at] = [lines[int(random.integers(len(lines)))]] * int(random.integers(1, 4))
        lines = lines or [""]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return changed_bytes(random, content) if random.random() < 0.2 else content


def changed_values(random: np.random.Generator, value: Any, depth: int = 0) -> Any:
    """A JSON value with one of its parts replaced, dropped or added."""
    if isinstance(value, dict) and value and (depth == 0 or random.random() < 0.6):
        name = str(random.choice(list(value)))
        kind = random.integers(6)
        if kind == 0:
            return {other: part for other, part in value.items() if other != name}
        if kind == 1:
            return {**value, "x" * int(random.integers(1, 50)): absurd_value(random)}
        return {**value, name: changed_values(random, value[name], depth + 1)}
    if isinstance(value, list) and value and random.random() < 0.6:
        at = int(random.integers(len(value)))
        return [*value[:at], changed_values(random, value[at], depth + 1), *value[at + 1 :]]
    return absurd_value(random)


def absurd_value(random: np.random.Generator) -> Any:
    """A value of any type that JSON can say, and some that it cannot."""
    deep: Any = 0
    for _ in range(int(random.integers(1, 60))):
        deep = [deep]
    values = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 1e-308, 0.5,
              float("nan"), float("inf"), "", "Bright", "\ud800", "\0", "\x1b[2J", "x" * 1000,
              [], {}, [1, 2, 3], {"a": 1}, deep, 20000, 2**40, [0, 0], [60, -60]]
    return values[int(random.integers(len(values)))]
