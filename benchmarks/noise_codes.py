"""Does ``dual simulate --noise-from T`` give noise like that of T? Two noise levels, two defoci.

    python benchmarks/noise_codes.py --cells benchmarks/output/shrec_cells

``dual project`` makes tomograms of four kinds (signal-to-noise ratio 0.3 or 1, defocus 3 or 6 um)
from cells of ``shrec_cells.py``, and one model is trained on one of each (``quick``). Then one
grand model, that none of them shows, is simulated with the noise of each of twelve tomograms, of
which the model has seen four. Every copy is compared with all twelve: rms difference of the mean
log power of blocks (of a typical block: gold is in few) by shell and direction about the tilt axis.
Right is a copy whose nearest kind, in the mean over its tomograms, is that of its source. Writes
table.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, List

import numpy as np
from common import ROOT, circumstances, dual

from dual_core.evaluation.realism.examine import block_power
from dual_core.volumes.geometry import frequency_axes, frequency_radius, half_overlapping
from dual_core.volumes.reading import open_volume

KINDS = {(snr, defocus): f"snr {snr:g}, {defocus:g} um" for snr in (0.3, 1.0)
         for defocus in (3.0, 6.0)}
EACH = 3
CLEAN, SIMULATED = range(12, 16), 16  # numbers of the cells, beside those of the tomograms
SIDE, SHELLS, SECTORS, MOST_DEG = 64, 16, 6, 52.0
TINY = 1e-12


def log_power(path: Path) -> np.ndarray:
    """Log power of a typical block by shell and direction about the tilt axis, where measured."""
    volume = open_volume(path, require_voxel_size=False).load()
    volume = ((volume - volume.mean()) / volume.std()).astype(np.float32)
    blocks = (
        volume[tuple(slice(at, at + SIDE) for at in start)]
        for start in half_overlapping(volume.shape, (SIDE, SIDE, SIDE))
    )
    power = np.exp(np.mean([np.log(block_power(block, SIDE) + TINY) for block in blocks], axis=0))
    beam, _, x = frequency_axes(power.shape)
    radius = frequency_radius(power.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.nan_to_num(np.degrees(np.arctan(beam / x)), nan=90.0) + np.zeros(power.shape)
    inside = (np.abs(angle) < MOST_DEG) & (radius > 1.5 / SIDE) & (radius <= 0.5)
    shell = np.minimum(radius * 2 * SHELLS, SHELLS - 1).astype(int)
    sector = ((angle + MOST_DEG) / (2 * MOST_DEG) * SECTORS).astype(int)
    place = (shell * SECTORS + sector)[inside]
    number = np.bincount(place, minlength=SHELLS * SECTORS)
    total = np.bincount(place, power[inside], minlength=SHELLS * SECTORS)
    return np.log(total[number > 0] / number[number > 0])


def tomograms(args: argparse.Namespace) -> Dict[str, List[Path]]:
    """The twelve, by kind; each from a cell of its own."""
    made: Dict[str, List[Path]] = {}
    cells = (args.cells / f"grand_model_{number}.mrc" for number in range(EACH * len(KINDS)))
    for (snr, defocus), name in KINDS.items():
        folder = args.output / f"snr{snr:g}_defocus{defocus:g}"
        own = [next(cells) for _ in range(EACH)]
        made[name] = [folder / f"{path.stem}_tomogram.mrc" for path in own]
        if not all(path.exists() for path in made[name]):
            dual(["project", *own, "--output", folder, "--snr", snr, "--defocus", defocus],
                 args.threads)
    return made


def main() -> None:
    """Make, train, simulate, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=Path, required=True, help="folder of shrec_cells.py")
    output = ROOT / "benchmarks" / "output" / "noise_codes"
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.output, args.cells = args.output.resolve(), args.cells.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    made = tomograms(args)
    run = args.output / "model"
    if not (run / "model.safetensors").exists():
        clean = [args.cells / f"grand_model_{number}.mrc" for number in CLEAN]
        dual(["train", "--noisy", *(paths[0] for paths in made.values()), "--clean", *clean,
              "--output", run, "--preset", args.preset], args.threads)
    sources = [path for paths in made.values() for path in paths]
    copies = args.output / "copies"
    dual(["simulate", "--model", run, args.cells / f"grand_model_{SIMULATED}.mrc", "--output",
          copies, "--copies", len(sources), "--noise-from", *sources, "--contrast", "bright",
          "--output-contrast", "dark", "--resume"], args.threads)
    real = {name: [log_power(path) for path in paths] for name, paths in made.items()}
    lines = ["| noise from | seen in training | " + " | ".join(real) + " | nearest |",
             "|---" * (len(real) + 3) + "|"]
    right = 0
    for number, source in enumerate(sources):
        name = f"grand_model_{SIMULATED}_simulated_{number + 1:02d}.mrc"
        copy = log_power(copies / name)
        away = {
            kind: float(np.mean([np.sqrt(np.mean((copy - one) ** 2)) for one in powers]))
            for kind, powers in real.items()
        }
        own = next(name for name, paths in made.items() if source in paths)
        nearest = min(away, key=lambda name: away[name])
        right += nearest == own
        seen = "yes" if source == made[own][0] else "no"
        lines.append(f"| {own} | {seen} | " + " | ".join(f"{a:.3f}" for a in away.values())
                     + f" | {nearest} |")
    table = "\n".join(lines)
    table += f"\n\nRight: {right} of {len(sources)}.\n{circumstances(args.threads)}\n"
    (args.output / "table.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
