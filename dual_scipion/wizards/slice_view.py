"""Which part of a slice a canvas shows, and where. Arithmetic and pictures; no window.

Positions in a slice are ``(x, y)`` in voxels, of which voxel i covers i to i + 1; y points upwards,
as in other viewers of tomograms. Positions on a canvas are pixels from its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Tuple

import numpy as np
from PIL import Image

from dual_scipion.slices import as_bytes

LARGEST_ZOOM = 16.0


@dataclass(frozen=True)
class SliceView:
    """A zoomed view of a slice on a canvas of the same proportions.

    Attributes
    ----------
    shape : of the slice, ``(y, x)``.
    canvas : pixels, ``(width, height)``.
    zoom : 1 shows the whole slice.
    centre : ``(x, y)`` of the slice in the middle of the canvas.
    """

    shape: Tuple[int, int]
    canvas: Tuple[int, int]
    zoom: float = 1.0
    centre: Tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_whole(cls, shape: Tuple[int, int], most_pixels: Tuple[int, int]) -> SliceView:
        """The whole slice, on a canvas as large as fits into ``(width, height)`` pixels."""
        rows, columns = shape
        scale = min(most_pixels[0] / columns, most_pixels[1] / rows)
        canvas = max(1, round(columns * scale)), max(1, round(rows * scale))
        return cls(shape, canvas, centre=(columns / 2, rows / 2))

    @property
    def scale(self) -> Tuple[float, float]:
        """Pixels a voxel, along x and y; they differ by the rounding of the canvas only."""
        rows, columns = self.shape
        return self.zoom * self.canvas[0] / columns, self.zoom * self.canvas[1] / rows

    @property
    def region(self) -> Tuple[float, float, float, float]:
        """What is seen of the slice: ``(left, bottom, right, top)`` in voxels."""
        half_width = self.shape[1] / self.zoom / 2
        half_height = self.shape[0] / self.zoom / 2
        x, y = self.centre
        return x - half_width, y - half_height, x + half_width, y + half_height

    def to_canvas(self, x: float, y: float) -> Tuple[float, float]:
        """Pixel of a position in the slice."""
        left, _, _, top = self.region
        return (x - left) * self.scale[0], (top - y) * self.scale[1]

    def to_slice(self, column: float, row: float) -> Tuple[float, float]:
        """Position in the slice of a pixel."""
        left, _, _, top = self.region
        return left + column / self.scale[0], top - row / self.scale[1]

    def zoomed(self, factor: float, column: float, row: float) -> SliceView:
        """Nearer or farther; what is under the pixel stays there, as far as the slice goes."""
        zoom = min(max(self.zoom * factor, 1.0), LARGEST_ZOOM)
        x, y = self.to_slice(column, row)
        ratio = self.zoom / zoom
        centre = x + (self.centre[0] - x) * ratio, y + (self.centre[1] - y) * ratio
        return replace(self, zoom=zoom, centre=centre)._inside()

    def moved(self, columns: float, rows: float) -> SliceView:
        """The picture pulled by so many pixels to the right and downwards."""
        x, y = self.centre
        moved = x - columns / self.scale[0], y + rows / self.scale[1]
        return replace(self, centre=moved)._inside()

    def _inside(self) -> SliceView:
        """Never beyond the border of the slice."""
        x, y = (
            min(max(position, length / self.zoom / 2), length - length / self.zoom / 2)
            for position, length in zip(self.centre, self.shape[::-1])
        )
        return replace(self, centre=(x, y))


def grey_image(array: np.ndarray, low: float, high: float, inverted: bool = False) -> Image.Image:
    """A slice ``(y, x)`` in grey, y upwards, black at ``low`` and white at ``high``."""
    grey = as_bytes(array, low, high)[::-1]
    return Image.fromarray(np.ascontiguousarray(255 - grey if inverted else grey))


def cut_image(image: Image.Image, view: SliceView) -> Image.Image:
    """What a view shows of the image of its whole slice, in the size of the canvas."""
    left, bottom, right, top = view.region
    rows, columns = view.shape
    # Rounding must not bring the box beyond the image, which Pillow refuses.
    box = max(left, 0.0), max(rows - top, 0.0), min(right, columns), min(rows - bottom, rows)
    return image.resize(view.canvas, Image.BILINEAR, box=box)
