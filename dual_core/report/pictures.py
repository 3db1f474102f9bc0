"""Pictures as PNG inside the page: slices, spectra, charts and the PNG files of a run."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.figures import COLOURS, contrast_limits
from dual_core.safety.leftovers import temporary_folder

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow comes with matplotlib, which cannot write PNG without it.

LARGEST_SLICE = 448  # pixels; noise does not compress, so a slice of this size takes 200 kB
SPECTRUM_SIDE = 256
WIDEST_FILE = 1120
CHART_DPI = 130


@dataclass(frozen=True)
class Picture:
    """A PNG and its size in pixels."""

    png: bytes
    width: int
    height: int

    @property
    def data_uri(self) -> str:
        """The picture as the ``src`` of an ``<img>``."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def grey_picture(cut: np.ndarray, limits: Optional[Tuple[float, float]] = None) -> Picture:
    """Draw a slice ``(vertical, horizontal)``, first row at the bottom, in grey.

    A slice above `LARGEST_SLICE` is averaged down. ``limits`` are the values of black and white,
    by default `grey_limits`.
    """
    from PIL import Image

    low, high = grey_limits(cut) if limits is None else limits
    scaled = np.clip((shrunk(cut) - low) / (high - low), 0, 1) * 255
    return _encode(Image.fromarray(np.nan_to_num(scaled[::-1]).astype(np.uint8)))


def grey_limits(cut: np.ndarray) -> Tuple[float, float]:
    """Return the grey limits of a slice as large as it is shown."""
    return contrast_limits(shrunk(cut))


def shrunk(cut: np.ndarray) -> np.ndarray:
    """Return the slice as large as it is shown; averaging changes the contrast of noise."""
    from PIL import Image

    factor = LARGEST_SLICE / max(cut.shape)
    if factor >= 1:
        return cut
    height, width = (max(1, round(side * factor)) for side in cut.shape)
    image = Image.fromarray(np.ascontiguousarray(cut, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def spectrum_picture(plane: np.ndarray) -> Picture:
    """Draw a plane of a log power spectrum in colour, as a square: both axes end at Nyquist."""
    import matplotlib
    from PIL import Image

    low, high = contrast_limits(plane, 1.0)
    index = (np.clip((plane[::-1] - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(index).resize((SPECTRUM_SIDE, SPECTRUM_SIDE), Image.Resampling.NEAREST)
    coloured = Image.fromarray(np.asarray(image), mode="P")
    colours = matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    coloured.putpalette(colours.tobytes())
    return _encode(coloured)


def file_picture(path: Path) -> Picture:
    """Read a PNG file and make it no wider than `WIDEST_FILE`, with few colours.

    Raises
    ------
    DualError
        If it is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            content = image.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow tells a broken PNG by a SyntaxError
        raise DualError(f"{path}: is no PNG picture or is damaged; delete it") from error
    if content.width > WIDEST_FILE:
        height = max(1, round(content.height * WIDEST_FILE / content.width))
        content = content.resize((WIDEST_FILE, height), Image.Resampling.LANCZOS)
    return _encode(_few_colours(content))


def drawn(draw: Callable[[Path], object]) -> Picture:
    """Return what a function of `dual_core.figures` draws into a file."""
    with temporary_folder() as folder:
        path = Path(folder) / "figure.png"
        draw(path)
        return file_picture(path)


def chart(
    curves: Mapping[str, Tuple[np.ndarray, np.ndarray]],
    x_label: str,
    y_label: str,
    lines: Sequence[float] = (),
) -> Picture:
    """Draw curves ``name -> (x, y)``, each ``lines`` value as a dashed horizontal."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.1), dpi=CHART_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for value in lines:
        axes.axhline(value, color="#777777", linewidth=0.9, linestyle="--")
    for colour, (name, (x, y)) in zip(COLOURS, curves.items()):
        axes.plot(x, y, color=colour, linewidth=1.8, label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_xlim(left=0)
    axes.grid(color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    from PIL import Image

    with Image.open(stream) as image:
        return _encode(_few_colours(image.convert("RGB")))


def _few_colours(image: Image) -> Image:
    """Reduce to a palette, a third of the size; no colour may be lost, as of one thin curve."""
    from PIL import Image as Module

    return image.quantize(256, method=Module.Quantize.MAXCOVERAGE)


def _encode(image: Image) -> Picture:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return Picture(stream.getvalue(), image.width, image.height)
