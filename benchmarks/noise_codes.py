"""Does ``dual simulate --noise-from T`` give noise like that of T? Two noise levels, two defoci.

    python benchmarks/noise_codes.py --cells benchmarks/output/shrec_cells

``dual project`` makes tomograms of four kinds (signal-to-noise ratio 0.3 or 1, defocus 3 or 6 um)
from cells of ``shrec_cells.py``, and one model is trained on one of each (``quick``). Then one
grand model, that none of them shows, is simulated with the noise of each of twelve tomograms, of
which the model has seen four. Every copy is compared with all twelve: rms of the log radial power
and of the log power by direction. Right is a copy whose nearest kind, in the mean over its
tomograms, is that of its source. Writes table.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, List

import numpy as np
from common import DATA, ROOT, circumstances, dual

from dual_core.evaluation.realism.examine import (
    Portrait,
    RealismConfig,
    choose_blocks,
    compare,
    portrait,
)
from dual_core.volumes.reading import open_volume

KINDS = {(snr, defocus): f"snr {snr:g}, {defocus:g} um" for snr in (0.3, 1.0)
         for defocus in (3.0, 6.0)}
EACH = 3
RANGE = (-60.0, 60.0)


def portrait_of(path: Path, config: RealismConfig) -> Portrait:
    """Of a tomogram whose density is dark."""
    volume = -open_volume(path, require_voxel_size=False).load()
    return portrait([((volume - volume.mean()) / volume.std()).astype(np.float32)], config)


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
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
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
        clean = [args.data / f"grand_{number}.mrc" for number in range(4, 8)]
        dual(["train", "--noisy", *(paths[0] for paths in made.values()), "--clean", *clean,
              "--output", run, "--preset", args.preset], args.threads)
    sources = [path for paths in made.values() for path in paths]
    copies = args.output / "copies"
    dual(["simulate", "--model", run, args.data / "grand_8.mrc", "--output", copies, "--copies",
          len(sources), "--noise-from", *sources, "--contrast", "bright", "--output-contrast",
          "dark", "--resume"], args.threads)
    shape = open_volume(sources[0], require_voxel_size=False).shape
    config = choose_blocks([shape], RANGE, "y")
    real = {name: [portrait_of(path, config) for path in paths] for name, paths in made.items()}
    lines = ["| noise from | seen in training | " + " | ".join(real) + " | nearest |",
             "|---" * (len(real) + 3) + "|"]
    right = 0
    for number, source in enumerate(sources):
        copy = portrait_of(copies / f"grand_8_simulated_{number + 1:02d}.mrc", config)
        away = {
            name: float(np.mean([
                score.radial_log_rms + score.angular_rms
                for score in (compare(one, copy) for one in portraits)
            ]))
            for name, portraits in real.items()
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
