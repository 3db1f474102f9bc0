"""Which volumes belong together in an evaluation."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from dual_core.errors import DualError
from dual_scipion import convert


class Examined(NamedTuple):
    """A tomogram that is examined; ``truth`` is ``None`` where none is known."""

    name: str
    raw: Any
    denoised: Any
    truth: Optional[Any]


def truths_by_ts_id(volumes: Any, names: List[str]) -> Dict[str, Any]:
    """The clean volumes of raw tomograms: by their own tsIds, or else by order.

    Parameters
    ----------
    volumes : set of volumes or tomograms, or None (then the result is empty).
    names : tsIds of all raw tomograms, in their order.

    Raises
    ------
    DualError
        If they fit neither way.
    """
    if volumes is None:
        return {}
    truths = [item.clone() for item in volumes.iterItems()]
    volumes.close()
    found = {convert.ts_id(item): item for item in truths}
    if set(found) & set(names):
        return found
    if len(truths) == len(names):
        return dict(zip(names, truths))
    raise DualError(
        f"no clean volume has the tsId of a raw tomogram, and there are {len(truths)} for "
        f"{len(names)}: they cannot be matched"
    )
