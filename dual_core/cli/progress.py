"""How a training goes, as it is told while it runs."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Dict, Optional

logger = logging.getLogger(__name__)

LINE_EVERY_S = 30.0  # between progress lines where there is no terminal


class Progress:
    """Losses and the time left: a bar on a terminal, else a line every half minute."""

    SHOWN = (
        ("denoise", "loss_density"),
        ("simulate", "loss_tomogram"),
        ("Dt", "loss_adversarial_t"),
        ("D", "loss_discriminators"),
    )

    def __init__(self, total: int, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Optional[Any] = None
        self._last = self._started = time.monotonic()
        self._first: Optional[int] = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc="training", unit="it", dynamic_ncols=True)

    def __call__(self, done: int, total: int, values: Dict[str, float]) -> None:
        """One iteration more is done."""
        if self._first is None:
            self._first = done - 1
            self._started = time.monotonic()
        shown = {label: f"{values[name]:.2f}" for label, name in self.SHOWN if name in values}
        if self._bar is not None:
            self._bar.n = done
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(0)
            return
        now = time.monotonic()
        if self._quiet or (now - self._last < LINE_EVERY_S and done < total):
            return
        self._last = now
        left = (now - self._started) / max(done - self._first, 1) * (total - done)
        terms = ", ".join(f"{label} {value}" for label, value in shown.items())
        logger.info("iteration %d of %d, %.1f min left, %s", done, total, left / 60, terms)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
