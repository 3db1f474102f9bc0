"""Pictures of results that look wrong, each made on purpose, for docs/when-it-looks-wrong.md.

    python benchmarks/symptoms.py --output docs/images

Packs cells, simulates their tomograms and trains three small models: one as it should be, one whose
clean domain lacks membranes and gold, and one whose denoiser has no filter at its end. It takes
some ten minutes on two CPU cores; models that are there (--work) are not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Dict, List

import numpy as np
from scipy.ndimage import gaussian_filter

import dual_core
from dual_core.figures import slices_figure
from dual_core.volumes.reading import open_volume

SIZE_A = 10.0
SHAPE = (64, 128, 128)
TILTS = (-60.0, 60.0)


def cells(folder: Path, rich: bool, count: int, seed: int) -> List[Path]:
    """Grand models; the rich ones have vesicles and gold."""
    if not list(folder.glob("grand_model_*.mrc")):
        more = {"vesicles": 1, "gold": 4, "vesicle_radius_nm": (14.0, 20.0)} if rich else {}
        dual_core.pack(
            shape=SHAPE, voxel_size_A=SIZE_A, count=count, seed=seed, output=folder, **more
        )
    return sorted(folder.glob("grand_model_*.mrc"))


def model(
    folder: Path, noisy: List[Path], clean: List[Path], config: dual_core.TrainingConfig
) -> Path:
    """The model of a folder, trained if it is not there."""
    path = folder / "model.safetensors"
    if not path.exists():
        dual_core.train(noisy, clean, folder, config=config, overwrite=True)
    return path


def draw_all(models: Dict[str, Path], tomogram: Path, truth: np.ndarray, output: Path) -> None:
    """A picture a symptom: raw, right, wrong."""
    raw = open_volume(tomogram).load()

    def denoised(volume: np.ndarray = raw, **options: object) -> np.ndarray:
        given = {"voxel_size_A": SIZE_A, "model": models["good"], **options}
        array = dual_core.denoise(volume, **given).array
        assert array is not None
        return array

    def draw(name: str, volumes: Dict[str, np.ndarray]) -> None:
        # Gold would take the whole grey scale.
        shown = {key: np.clip(v, *np.percentile(v, [0.7, 99.3])) for key, v in volumes.items()}
        slices_figure(shown, output / f"wrong_{name}.png", SIZE_A)

    right = denoised()
    both = {"raw": raw, "right": right}
    draw("contrast", {**both, "wrong contrast": denoised(contrast="bright")})
    cut = dual_core.Machine(tile=32, halo=0)
    draw("seams", {**both, "tiles without halo": denoised(machine=cut)})
    draw("voxel_size", {**both, "a third of the voxel size": denoised(voxel_size_A=SIZE_A / 3)})
    draw("lacking", {**both, "poor clean domain": denoised(model=models["lacking"])})
    draw("short", {**both, "3 iterations": denoised(model=models["short"])})
    draw("grid", {**both, "without the last filter": denoised(model=models["gridded"])})
    draw("strength", {**both, "strength 0.3": denoised(strength=0.3)})
    draw("removed", {**both, "removed": raw - right})
    draw("wedge", {**both, "truth": -truth})
    smooth = gaussian_filter(raw, 2.0)
    draw("filtered", {"filtered first": smooth, "its result": denoised(smooth), "right": right})
    lying = denoised(np.ascontiguousarray(np.swapaxes(raw, 0, 1)))
    draw("turned", {**both, "beam along y": np.swapaxes(lying, 0, 1)})


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/output/symptoms"))
    args = parser.parse_args()
    work = args.work
    specimen = cells(work / "specimen", True, 3, 1)
    noisy = [work / f"tomo_{number}.mrc" for number in range(len(specimen))]
    for grand_model, path in zip(specimen, noisy):
        if not path.exists():
            dual_core.project(grand_model, output=path, tilt_range=TILTS, snr=0.4, seed=5)
    rich, poor = cells(work / "rich", True, 3, 2), cells(work / "poor", False, 3, 3)
    # Shorter than any preset, and the denoiser alone: enough for pictures.
    quick = dual_core.preset_config(
        "quick", tilt_range_deg=TILTS, iterations=40, batch=2, generator_rehearsals=0,
        recorrupted=0,
    )
    small = dataclasses.replace(quick.network, channels=(12, 24, 48))
    plain = dataclasses.replace(small, output_filter=False)
    wanted = {
        "good": (rich, quick),
        "lacking": (poor, dataclasses.replace(quick, network=small)),
        "short": (rich, dataclasses.replace(quick, iterations=3)),
        "gridded": (rich, dataclasses.replace(quick, iterations=15, network=plain)),
    }
    models = {
        name: model(work / name, noisy, clean, config) for name, (clean, config) in wanted.items()
    }
    draw_all(models, noisy[0], open_volume(specimen[0]).load(), args.output)


if __name__ == "__main__":
    main()
