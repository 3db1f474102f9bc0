"""PNG figures: slices of volumes side by side, spectra and training curves.

All are drawn with `matplotlib.figure.Figure` on the Agg canvas: no display and no global state
of pyplot. Volumes are ``(z, y, x)``. Every function returns the path it has written.
"""

from __future__ import annotations

import contextlib
import os
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_name
from dual_core.safety.shown import plain_labels
from dual_core.volumes.geometry import sine_taper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = Union[str, Path]

# Plane -> the axis cut through, and the names of the vertical and the horizontal axis.
PLANES: Dict[str, Tuple[int, str, str]] = {
    "xy": (0, "y", "x"),
    "xz": (1, "z", "x"),
    "yz": (2, "z", "y"),
}
# Told apart by readers who see few colours (Okabe and Ito), dark enough on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
DPI = 150
PANEL_IN = 3.0
SMOOTHING = 25


def central_slice(volume: np.ndarray, plane: str, index: Optional[int] = None) -> np.ndarray:
    """Return a 2D slice ``(vertical, horizontal)`` of ``volume`` ``(z, y, x)``.

    ``plane`` is "xy", "xz" or "yz"; the slice is the central one unless ``index`` is given.
    """
    if plane not in PLANES:
        raise DualError(f"'{plane}' is no plane; use one of {', '.join(PLANES)}")
    axis = PLANES[plane][0]
    return np.take(volume, volume.shape[axis] // 2 if index is None else index, axis=axis)


def contrast_limits(values: np.ndarray, tail: float = 0.3) -> Tuple[float, float]:
    """Return grey limits that leave ``tail`` percent of the finite values out at each end.

    A gold bead or a hot voxel would otherwise take the whole grey scale.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [tail, 100 - tail])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def scale_bar_nm(extent_nm: float) -> float:
    """Return a round length (1, 2 or 5 times a power of ten) up to a third of ``extent_nm``."""
    wanted = extent_nm / 3
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(step * power for step in (1, 2, 5) if step * power <= wanted * (1 + 1e-9)))


def slices_figure(
    volumes: Mapping[str, np.ndarray],
    path: PathLike,
    voxel_size_A: float,
    planes: Sequence[str] = ("xy", "xz"),
    invert: bool = False,
    title: Optional[str] = None,
) -> Path:
    """Draw central slices of volumes side by side: a column a volume, a row a plane.

    Parameters
    ----------
    volumes : mapping of label to ndarray, (z, y, x)
        Each slice has grey limits of its own.
    path : path
        PNG file to write.
    voxel_size_A : float
    planes : sequence of {"xy", "xz", "yz"}
    invert : bool
        Show large values dark, as microscopists are used to.
    """
    if not volumes:
        raise DualError("there is no volume to draw; give at least one")
    cuts = [[central_slice(volume, plane) for volume in volumes.values()] for plane in planes]
    heights = [max(cut.shape[0] / cut.shape[1] for cut in row) for row in cuts]
    head = 0.7 if title else 0.35
    height = sum(heights) * PANEL_IN + 0.1 * len(planes) + head
    figure = _new_figure(len(volumes) * PANEL_IN + 0.4, height)
    ratios = {"height_ratios": heights}
    axes = figure.subplots(len(planes), len(volumes), squeeze=False, gridspec_kw=ratios)
    grey = "gray_r" if invert else "gray"
    for row, (plane, row_cuts) in enumerate(zip(planes, cuts)):
        for panel, label, cut in zip(axes[row], volumes, row_cuts):
            low, high = contrast_limits(cut)
            panel.imshow(cut, cmap=grey, vmin=low, vmax=high, origin="lower")
            panel.set(xticks=[], yticks=[])
            if row == 0:
                panel.set_title(label, fontsize=11)
        axes[row, 0].set_ylabel(f"{plane} plane", fontsize=10)
        _draw_scale_bar(axes[row, 0], row_cuts[0].shape, voxel_size_A)
    return _save(figure, path, title)


def log_power(volume: np.ndarray) -> np.ndarray:
    """Return log10 of the power spectrum, ``(z, y, x)``, zero frequency in the middle.

    The mean is taken out, and the faces are tapered: otherwise the jump from one face to the
    opposite one draws a bright cross that hides the missing wedge.
    """
    tapered = (volume - np.mean(volume, dtype=np.float64)).astype(np.float32)
    for axis, side in enumerate(volume.shape):
        window = sine_taper(side) ** 2
        tapered *= window.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    power = np.abs(scipy.fft.fftn(tapered)) ** 2 / volume.size + np.float32(1e-12)
    return np.fft.fftshift(np.log10(power))


def radial_mean(spectrum: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Average a centred spectrum over shells: frequencies (per voxel, to Nyquist) and means."""
    shells = min(spectrum.shape) // 2 + 1
    total, number = np.zeros(shells), np.zeros(shells)
    fz, fy, fx = (np.fft.fftshift(np.fft.fftfreq(side)) for side in spectrum.shape)
    for z, plane in zip(fz, spectrum):
        radius = np.sqrt(z**2 + fy[:, None] ** 2 + fx[None, :] ** 2)
        shell = np.rint(radius * min(spectrum.shape)).astype(np.intp)
        inside = shell < shells
        total += np.bincount(shell[inside], plane[inside], minlength=shells)
        number += np.bincount(shell[inside], minlength=shells)
    mean = total / np.maximum(number, 1)
    return np.arange(1, shells) / min(spectrum.shape), mean[1:]


def spectra_figure(
    volumes: Mapping[str, np.ndarray],
    path: PathLike,
    voxel_size_A: float,
    title: Optional[str] = None,
) -> Path:
    """Draw the central xz-plane of each log power spectrum and all radial curves.

    The missing wedge is the dark double wedge around the vertical (z) axis. Volumes are
    standardised first, so that the curves can be compared; the planes share one colour scale.
    """
    if not volumes:
        raise DualError("there is no volume to draw; give at least one")
    figure = _new_figure((len(volumes) + 1.35) * PANEL_IN, PANEL_IN + (0.9 if title else 0.6))
    axes = figure.subplots(
        1,
        len(volumes) + 1,
        squeeze=False,
        gridspec_kw={"width_ratios": [1] * len(volumes) + [1.25]},
    )[0]
    nyquist = 1 / (2 * voxel_size_A)
    extent = (-nyquist, nyquist, -nyquist, nyquist)
    planes, curves = {}, {}
    for label, volume in volumes.items():
        spread = float(np.std(volume, dtype=np.float64)) or 1.0
        spectrum = log_power(volume / spread)
        planes[label] = central_slice(spectrum, "xz")
        curves[label] = radial_mean(spectrum)
    low, high = contrast_limits(np.concatenate([plane.ravel() for plane in planes.values()]), 1.0)
    for panel, (label, plane) in zip(axes, planes.items()):
        panel.imshow(plane, cmap="magma", vmin=low, vmax=high, origin="lower", extent=extent)
        panel.set_title(label, fontsize=11)
        panel.set_xlabel("x frequency (1/Å)")
        panel.set(xticks=[-nyquist, 0, nyquist], yticks=[-nyquist, 0, nyquist])
        panel.tick_params(labelsize=8)
        if panel is not axes[0]:
            panel.set_yticklabels([])
    axes[0].set_ylabel("z frequency (1/Å)")
    for colour, (label, (frequency, mean)) in zip(cycle(COLOURS), curves.items()):
        axes[-1].plot(frequency / voxel_size_A, mean, color=colour, linewidth=1.6, label=label)
    axes[-1].set_title("Radial mean", fontsize=11)
    axes[-1].set_xlabel("Spatial frequency (1/Å)")
    axes[-1].set_ylabel("log₁₀ power")
    axes[-1].set_xlim(0, nyquist)
    _plain(axes[-1])
    axes[-1].legend(fontsize=8, frameon=False)
    return _save(figure, path, title)


def curves_figure(
    history: Sequence[Mapping[str, object]],
    path: PathLike,
    groups: Optional[Mapping[str, Sequence[str]]] = None,
    x: str = "iteration",
    title: Optional[str] = None,
) -> Path:
    """Draw training curves: raw values faint, their running mean on top.

    Parameters
    ----------
    history : sequence of mappings
        The lines of ``history.jsonl``: numbers by name; a line may lack some of them.
    path : path
        PNG file to write.
    groups : mapping of panel title to names, optional
        What to draw together; by default every number gets a panel.
    x : str
        Name of the horizontal axis.
    """
    lines = [line for line in history if _is_number(line.get(x))]
    names = dict.fromkeys(
        name for line in lines for name, value in line.items() if name != x and _is_number(value)
    )
    panels = {name: [name] for name in names} if groups is None else groups
    panels = {head: [name for name in panels[head] if name in names] for head in panels}
    panels = {head: members for head, members in panels.items() if members}
    if not panels:
        raise DualError(
            f"the history holds no number beside '{x}'; train for some iterations first"
        )
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = _new_figure(columns * 3.6, rows * 2.5 + (0.4 if title else 0.1))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (head, members) in zip(axes, panels.items()):
        for colour, name in zip(cycle(COLOURS), members):
            # Infinite and missing values are left out: one NaN must not hide the rest.
            points = [(line[x], line[name]) for line in lines if _is_number(line.get(name))]
            position, values = np.array(points, dtype=np.float64).T
            panel.plot(position, values, color=colour, linewidth=0.7, alpha=0.3)
            width = min(SMOOTHING, values.size // 8 + 1)
            smooth = uniform_filter1d(values, width, mode="nearest")
            panel.plot(position, smooth, color=colour, linewidth=1.6, label=name)
        panel.set_title(head.replace("_", " "), fontsize=10)
        panel.set_xlabel(x, fontsize=9)
        panel.tick_params(labelsize=8)
        _plain(panel)
        if len(members) > 1:
            panel.legend(fontsize=7, frameon=False)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    return _save(figure, path, title)


def _is_number(value: object) -> bool:
    kind = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return kind and bool(np.isfinite(value))  # type: ignore[call-overload]


def _new_figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(panel: Axes) -> None:
    panel.grid(color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _draw_scale_bar(panel: Axes, shape: Tuple[int, ...], voxel_size_A: float) -> None:
    """A bar with its length, on a dark strip: readable on any grey."""
    length_nm = scale_bar_nm(shape[1] * voxel_size_A / 10)
    length = length_nm * 10 / voxel_size_A
    left, low = 0.04 * shape[1], 0.04 * shape[1]
    panel.barh(
        low, length, height=0.018 * shape[1], left=left, align="edge", color="w", edgecolor="k"
    )
    panel.text(
        left + length / 2,
        low + 0.03 * shape[1],
        f"{length_nm:g} nm",
        color="white",
        fontsize=9,
        ha="center",
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "edgecolor": "none"},
    )


def _save(figure: Figure, path: PathLike, title: Optional[str]) -> Path:
    if title:
        figure.suptitle(title, fontsize=13)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        plain_labels(figure)
        figure.savefig(temporary, format="png")
        os.replace(temporary, path)
    except OSError as error:
        raise DualError(f"{path}: cannot be written ({error.strerror}); make room") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path
