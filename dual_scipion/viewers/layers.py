"""What Napari shows as layers: volumes, what was removed, classes, picks; as plain values.

`napari_process.show_layers` shows them, in another process and another Python.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from dual_core.errors import DualError
from dual_scipion.slices import place_of
from dual_scipion.viewers.picked import Background, Picks
from dual_scipion.viewers.scene import CLASSES, Scene

Layers = Dict[str, Any]


def layers_of(scene: Scene, picks: Optional[Picks] = None) -> Layers:
    """The layers of a result: its volumes, their difference, the classes, and picks if any.

    Parameters
    ----------
    scene : Scene
        What cannot be read is left out.
    picks : on the first volume.

    Raises
    ------
    DualError
        If no volume can be read.
    """
    shown = scene.shown
    size = shown.voxel_size_A
    images = []
    for title, path in shown.volumes:
        limits = scene.limits(title)
        if limits is not None:
            images.append(_image(title, path, size, limits))
    if not images:
        raise DualError("there is no volume that Napari could show")
    # The last volume is the result. All lie over each other, and so the others are switched on
    # when they are wanted.
    images[-1]["visible"] = True
    wanted, relation = shown.difference, scene.relation
    if wanted is not None and relation is not None:
        part = wanted.path or shown.volumes[wanted.part][1]
        removed = _image(
            wanted.title, shown.volumes[wanted.whole][1], size, scene.limits(wanted.title)
        )
        minus = {"slope": relation.slope, "offset": relation.offset}
        removed["minus"] = {"place": place_of(part)._asdict(), **minus}
        images.append(removed)
    labels: List[Dict[str, Any]] = []
    if shown.classes is not None and scene.classes:
        labels.append(
            {"name": CLASSES, "place": place_of(shown.classes)._asdict(), "voxel_size_A": size}
        )
    points = [] if picks is None else [points_of(picks, Background("", "", size))]
    return {"title": shown.name, "images": images, "labels": labels, "points": points}


def points_of(picks: Picks, ground: Background) -> Dict[str, Any]:
    """Picks as a layer, in voxels of a volume."""
    return {
        "name": "picks",
        "zyx": picks.positions(ground)[:, ::-1].tolist(),
        "diameter_voxels": picks.diameter_A / ground.voxel_size_A,
        "voxel_size_A": ground.voxel_size_A,
    }


def _image(title: str, path: str, voxel_size_A: float, limits: Any) -> Dict[str, Any]:
    return {
        "name": title,
        "place": place_of(path)._asdict(),
        "voxel_size_A": voxel_size_A,
        "limits": [float(value) for value in limits],
        "visible": False,
    }
