"""Which volumes belong together in an evaluation."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from pyworkflow.utils import createAbsLink

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


def link_files(folder: str, one: Examined) -> Tuple[str, str, Optional[str]]:
    """Link raw, denoised and true volume under names that a reader of the report understands."""
    paths: List[Optional[str]] = []
    for item, end in ((one.raw, ""), (one.denoised, "_denoised"), (one.truth, "_truth")):
        if item is None:
            paths.append(None)
            continue
        path = os.path.join(folder, f"{one.name}{end}.mrc")
        createAbsLink(os.path.abspath(convert.volume_path(item)), path)
        paths.append(path)
    return str(paths[0]), str(paths[1]), paths[2]
