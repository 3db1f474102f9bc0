"""What a protocol has to show: which files belong together, read anew each time it is asked.

Files are looked for where the protocol puts them, not only in its output sets: a running protocol
is seen as it is now, while the object of the project's window may be older.
"""

from __future__ import annotations

import csv
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id
from dual_scipion.protocols import (
    ProtDualCompensateWedge,
    ProtDualDenoise,
    ProtDualGrandModels,
    ProtDualSimulate,
    ProtDualTranslate,
)
from dual_scipion.protocols.parts.labelled_sets import generated_ts_id, label_beside
from dual_scipion.protocols.protocol_grand_models import CLASS_MASK, PARTICLES

_GRAND_MODEL = "grand model"


class Difference(NamedTuple):
    """A further picture, ``whole - part``.

    Attributes
    ----------
    title : str
    whole, part : numbers of the volumes.
    fitted : whether their units differ, so that the part is scaled by least squares.
    path : of a volume that is not shown itself and is subtracted in the place of the part.
    """

    title: str
    whole: int
    part: int
    fitted: bool = False
    path: Optional[str] = None


class Shown(NamedTuple):
    """Volumes that are shown side by side.

    Attributes
    ----------
    name : tsId.
    voxel_size_A : float
    volumes : pairs of title and path; the files may be missing.
    difference : between two of the volumes.
    classes : path of a mask of classes, drawn over the last volume.
    class_names : number of a class to its name, where they are known.
    same_units : whether the values of the volumes can be compared.
    tilt_axis : ``y`` or ``x``.
    """

    name: str
    voxel_size_A: float
    volumes: Tuple[Tuple[str, str], ...]
    difference: Optional[Difference] = None
    classes: Optional[str] = None
    class_names: Optional[Dict[int, str]] = None
    same_units: bool = False
    tilt_axis: str = "y"


class Progress(NamedTuple):
    """What is there by now, and of how many."""

    items: List[Shown]
    total: int


def shown_by(protocol: Any) -> Progress:
    """What a protocol has to show by now.

    Raises
    ------
    DualError
        If its input is gone.
    """
    for kind, collect in _COLLECTORS:
        if isinstance(protocol, kind):
            return collect(protocol)
    raise DualError(f"there is no picture of the results of {type(protocol).__name__}")


def input_tomograms(protocol: Any) -> Dict[str, Any]:
    """The input tomograms of a protocol by their tsIds.

    Raises
    ------
    DualError
        If the input is gone.
    """
    tomograms = protocol.inputTomograms.get()
    if tomograms is None:
        raise DualError("the input of this protocol is gone; there is nothing to compare with")
    return items_by_ts_id(tomograms)


def _processed(
    protocol: Any,
    title: str,
    difference: Callable[[Any], Difference],
    same_units: bool,
) -> Progress:
    """Of a protocol that makes a tomogram from each tomogram."""
    tomograms = input_tomograms(protocol)
    registered = protocol.registeredTsIds(protocol._outputName())
    axis = protocol.tiltAxisOfTomograms()
    items = []
    for name, tomogram in tomograms.items():
        result = protocol.resultFiles(tomogram)[0]
        # A registered one whose file is gone is shown as well, to say so.
        if name not in registered and not os.path.exists(result):
            continue
        raw = convert.volume_path(tomogram, must_exist=False)
        volumes = (("raw", raw), (title, result))
        size = float(tomogram.getSamplingRate())
        shown = Shown(name, size, volumes, difference(tomogram), None, None, same_units, axis)
        items.append(shown)
    return Progress(items, len(tomograms))


def _denoised(protocol: Any) -> Progress:
    def difference(tomogram: Any) -> Difference:
        explained = protocol.explainedPath(tomogram)
        if os.path.exists(explained):
            return Difference("removed (raw − explained)", 0, 1, path=explained)
        # Contrast transfer and wedge stand between the two: structure is always seen here.
        return Difference("raw − denoised (with wedge and CTF)", 0, 1)

    return _processed(protocol, "denoised", difference, same_units=True)


def _compensated(protocol: Any) -> Progress:
    difference = Difference("change (compensated − raw)", 1, 0)
    return _processed(protocol, "compensated", lambda _: difference, same_units=True)


def _translated(protocol: Any) -> Progress:
    if protocol.toNoisy():
        difference = Difference("added (translated − scaled raw)", 1, 0, fitted=True)
    else:
        difference = Difference("removed (raw − scaled result)", 0, 1, fitted=True)
    return _processed(protocol, "translated", lambda _: difference, same_units=False)


def _simulated(protocol: Any) -> Progress:
    grand_models = input_tomograms(protocol)
    axis = protocol.tiltAxisOfTomograms()
    registered = protocol.registeredTsIds(protocol._outputName())
    items = []
    total = 0
    for grand in grand_models.values():
        mask, particles = (protocol.labelPath(grand, of) for of in ("class_mask", "particles"))
        names = protocol.simulatedNames(grand)
        total += len(names)
        for name, path in zip(names, protocol.resultFiles(grand)):
            if name not in registered and not os.path.exists(path):
                continue
            density = convert.volume_path(grand, must_exist=False)
            items.append(
                Shown(
                    name,
                    float(grand.getSamplingRate()),
                    (("simulated", path), (_GRAND_MODEL, density)),
                    classes=mask if os.path.exists(mask) else None,
                    class_names=read_class_names(particles),
                    tilt_axis=axis,
                )
            )
    return Progress(items, total)


def _grand_models(protocol: Any) -> Progress:
    items = []
    paths = protocol.grandModelFiles()
    for number, path in enumerate(paths):
        if not os.path.exists(path):
            continue
        items.append(
            Shown(
                generated_ts_id(f"grand{protocol.getObjId()}", number),
                float(protocol.voxelSize.get()),
                ((_GRAND_MODEL, path),),
                classes=label_beside(path, CLASS_MASK),
                class_names=read_class_names(label_beside(path, PARTICLES)),
            )
        )
    return Progress(items, len(paths))


_COLLECTORS: Tuple[Tuple[type, Callable[[Any], Progress]], ...] = (
    (ProtDualDenoise, _denoised),
    (ProtDualCompensateWedge, _compensated),
    (ProtDualTranslate, _translated),
    (ProtDualSimulate, _simulated),
    (ProtDualGrandModels, _grand_models),
)


def read_class_names(path: Optional[str]) -> Dict[int, str]:
    """The names of the classes in a particle list of the engine; empty where there is none."""
    names: Dict[int, str] = {}
    if path is None:
        return names
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                names.setdefault(int(row["class"]), row["name"])
    except (OSError, KeyError, TypeError, ValueError):
        return {}
    return names
