"""What happens when less than asked for finds a place."""

from __future__ import annotations

import logging

from dual_core.errors import DualError

logger = logging.getLogger(__name__)


def report_shortfall(problem: str, best_effort: bool) -> None:
    """Warn of a problem under `best_effort`.

    Raises
    ------
    DualError
        Otherwise.
    """
    if not best_effort:
        raise DualError(problem + " (or allow less with --best-effort)")
    logger.warning("%s", problem)
