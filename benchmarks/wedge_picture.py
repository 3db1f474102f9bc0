"""Draw docs/images/wedge_convention.png: tilt axis, beam, and the wedge that is not measured.

    python benchmarks/wedge_picture.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Tuple

import numpy as np
from common import ROOT
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dual_core.figures import COLOURS
from dual_core.tasks.wedge.merge import wedge_weight

SIDE = 601
SOFT_EDGE_DEG = 3.0


def specimen(panel: Axes) -> None:
    """The slab of ice seen along the tilt axis, the beam, and the directions of the tilts."""
    panel.add_patch(_rectangle((-1.0, -0.22), 2.0, 0.44))
    for angle, text in ((0, "0°"), (35, "+35°"), (-35, "−35°")):
        theta = np.radians(angle)
        # The beam's direction in the specimen: z' of dual_core.volumes.geometry.
        x, z = -np.sin(theta), np.cos(theta)
        panel.annotate(
            "", (0.45 * x, 0.45 * z), (1.25 * x, 1.25 * z),
            arrowprops={"arrowstyle": "-|>", "color": COLOURS[0], "linewidth": 1.6},
        )
        panel.text(1.36 * x, 1.36 * z, text, color=COLOURS[0], ha="center", va="center")
    panel.text(0, 0, "specimen", ha="center", va="center", fontsize=9)
    panel.plot(0.62, -0.55, marker="o", markersize=11, markerfacecolor="white", color="k")
    panel.plot(0.62, -0.55, marker="x", markersize=7, color="k")
    panel.text(0.74, -0.55, "y, tilt axis", va="center", fontsize=9)
    for end, name in (((-0.75, -0.85), "x"), ((-1.25, -0.35), "z")):
        panel.annotate("", end, (-1.25, -0.85), arrowprops={"arrowstyle": "-|>", "color": "k"})
        along, up = (0.08, 0.0) if name == "x" else (0.0, 0.08)
        panel.text(end[0] + along, end[1] + up, name, ha="center", va="center", fontsize=10)
    panel.set(xlim=(-1.4, 1.4), ylim=(-1.0, 1.6), aspect="equal")
    panel.set_axis_off()
    panel.set_title("Beam in the specimen, at tilt θ", fontsize=11)


def spectrum(panel: Axes, tilt_range: Tuple[float, float]) -> None:
    """The plane (kz, kx): what is measured, what is filled."""
    half = wedge_weight((SIDE, SIDE), tilt_range, SOFT_EDGE_DEG)
    whole = np.concatenate([_conjugate(half), half], axis=1)
    picture = np.fft.fftshift(whole, axes=0)
    extent = (-0.5, 0.5, -0.5, 0.5)
    panel.imshow(
        picture, origin="lower", extent=extent, cmap="PuOr", vmin=-0.6, vmax=1.6, aspect="equal"
    )
    for angle in tilt_range:
        slope = np.tan(np.radians(angle))
        x = np.array([-1, 1]) * min(0.5, 0.5 / abs(slope))
        panel.plot(x, slope * x, color="k", linewidth=1.2)
        at = 0.36 / max(1.0, abs(slope) * 0.9)
        panel.text(
            at, slope * at, f"{angle:+g}°".replace("-", "−"), fontsize=9, ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        )
    panel.text(-0.3, 0.0, "measured:\nkept", ha="center", va="center", fontsize=10)
    middle = np.radians(90 + sum(tilt_range) / 2)
    for sign in (1, -1):
        panel.text(
            sign * 0.38 * np.cos(middle), sign * 0.38 * np.sin(middle), "missing:\npredicted",
            ha="center", va="center", fontsize=9, color="white",
        )
    low, high = (f"{angle:g}".replace("-", "−") for angle in tilt_range)
    panel.set_title(f"--tilt-range {low} {high}", fontsize=11)
    panel.set(xlabel="kx (1/voxel)", ylabel="kz (1/voxel)", xlim=(-0.5, 0.5), ylim=(-0.5, 0.5))


def _conjugate(half: np.ndarray) -> np.ndarray:
    """The columns of negative kx, in the order of the other half."""
    return np.roll(half[::-1, :0:-1], 1, axis=0)


def _rectangle(corner: Tuple[float, float], width: float, height: float):  # type: ignore
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, facecolor="#dde7f0", edgecolor="k")


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "images" / "wedge_convention.png"
    )
    path = parser.parse_args().output
    figure = Figure(figsize=(11.5, 4.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    specimen(panels[0])
    spectrum(panels[1], (-60.0, 60.0))
    spectrum(panels[2], (-50.0, 70.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    print(path)


if __name__ == "__main__":
    main()
