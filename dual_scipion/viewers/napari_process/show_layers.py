"""Show volumes and positions as layers in Napari; run by the Python of Napari's environment.

``python show_layers.py FILE``: the file is JSON as `dual_scipion.viewers.layers` makes it, and is
removed. Needs numpy and Napari only. Volumes are mapped: what is looked at is read.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, Optional

import numpy as np

POINT_COLOUR = "orange"


def mapped(place: Dict[str, Any]) -> np.ndarray:
    """The voxels of a file, ``(z, y, x)``, by where they are in it (see ``slices.Place``)."""
    data = np.memmap(place["path"], dtype=np.uint8, mode="r")
    return np.ndarray(
        tuple(place["shape"]), place["dtype"], data, place["offset"], tuple(place["strides"])
    )


class Volume:
    """A volume, or one less a multiple of another, as an array of float32 that is read by parts.

    Parameters
    ----------
    place : where the voxels are.
    minus : of the other one, with ``slope`` and ``offset``: ``whole - (slope * part + offset)``.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, place: Dict[str, Any], minus: Optional[Dict[str, Any]] = None) -> None:
        self._whole = mapped(place)
        self._minus = minus
        self._part = mapped(minus["place"]) if minus else None
        self.shape = self._whole.shape
        self.ndim = self._whole.ndim
        self.size = self._whole.size

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> np.ndarray:
        found = np.asarray(self._whole[key], dtype=np.float32)
        if self._part is None or self._minus is None:
            return found
        part = np.asarray(self._part[key], dtype=np.float32)
        rest: np.ndarray = found - (self._minus["slope"] * part + self._minus["offset"])
        return rest

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


def add_layers(viewer: Any, layers: Dict[str, Any]) -> None:
    """Add all layers to a viewer; lengths are angstrom, so that other binnings lie right."""
    for image in layers["images"]:
        viewer.add_image(
            Volume(image["place"], image.get("minus")),
            name=image["name"],
            contrast_limits=tuple(image["limits"]),
            colormap="gray",
            multiscale=False,
            rgb=False,
            visible=image["visible"],
            **_grid(image),
        )
    for labels in layers["labels"]:
        viewer.add_labels(mapped(labels["place"]), name=labels["name"], **_grid(labels))
    for points in layers["points"]:
        viewer.add_points(
            np.asarray(points["zyx"], dtype=float).reshape(-1, 3),
            name=points["name"],
            size=points["diameter_voxels"],
            face_color=POINT_COLOUR,
            opacity=0.4,
            out_of_slice_display=True,
            **_grid(points),
        )


def _grid(layer: Dict[str, Any]) -> Dict[str, Any]:
    size = layer["voxel_size_A"]
    # The centre of the first voxel is half a voxel from the corner that all layers share.
    return {"scale": (size,) * 3, "translate": (size / 2,) * 3}


def main(path: str) -> None:
    """Open Napari, and wait until it is closed."""
    import napari

    with open(path, encoding="utf-8") as stream:
        layers = json.load(stream)
    os.remove(path)
    viewer = napari.Viewer(title=layers["title"])
    add_layers(viewer, layers)
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1])
