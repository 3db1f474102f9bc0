"""The denoised tomograms of table 2: two clean domains, trained without labels on four tomograms.

    python benchmarks/picks_models.py --seeds 0 1
    python benchmarks/picks.py $(cat benchmarks/output/picks/denoised.txt)

The noisy domain is the four tomograms of ``ribosome_like`` themselves. The clean domain is

* ``cells``: the grand models of ``shrec_like``, mixed cells that hold no ribosome of this sample;
* ``packed``: what a user who knows the sample would do, ``dual pack`` with the ribosome of
  ``templates/4v4r.mrc``, as many in a volume of that size as such a sample holds, some gold.

Each model is trained with ``dual train`` and denoises the four with ``dual denoise``. A run is done
once: one that is whole in OUTPUT is not trained again, an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import List

from common import DATA, ROOT, dual

from dual_core.networks.card import read_card
from dual_core.training.config import PRESETS, preset_config

OUTPUT = ROOT / "benchmarks" / "output" / "picks"
NUMBER = 4
CLEAN_CELLS = range(4, 8)
DOMAINS = ("cells", "packed")
# A layer of 46 nm in the middle of the volume, 40 ribosomes or what finds room in it.
PACK = (
    "--count", 8, "--shape", 64, 192, 192, "--voxel-size", 10, "--thickness", 46,
    "--number", 40, "--best-effort", "--only-molecules", "--gold", 2, "--seed", 0,
)  # fmt: skip


def clean_domain(args: argparse.Namespace, domain: str) -> List[Path]:
    """The grand models, packed if they are not there yet."""
    if domain == "cells":
        return [args.data / "shrec_like" / f"grand_{n}.mrc" for n in CLEAN_CELLS]
    folder = args.output / "grand_models"
    if not (folder / "done").exists():
        molecule = args.data / "templates" / "4v4r.mrc"
        dual(["pack", "--molecules", molecule, *PACK, "--output", folder], args.threads)
        (folder / "done").touch()
    return sorted(folder.glob("grand_model_*.mrc"))


def train_and_denoise(args: argparse.Namespace, domain: str, seed: int) -> List[Path]:
    """Train unless it is done, denoise; the four denoised tomograms."""
    tomograms = [args.data / "ribosome_like" / f"tomo_{n}.mrc" for n in range(NUMBER)]
    clean = clean_domain(args, domain)
    run = args.output / f"{domain}_{args.preset}_{seed}"
    model = run / "model.safetensors"
    wanted = preset_config(args.preset).iterations
    if not model.exists() or read_card(model).iterations < wanted:
        resume = (run / "checkpoint").exists()
        seconds = dual(
            [
                "train", "--noisy", *tomograms, "--clean", *clean, "--output", run,
                "--preset", args.preset, "--seed", seed, "--device", args.device,
                *(["--resume"] if resume else []),
            ],
            args.threads,
        )
        minutes = {"minutes": None if resume else seconds / 60}
        (run / "minutes.json").write_text(json.dumps(minutes), encoding="utf-8")
    denoised = run / "denoised"
    dual(
        ["denoise", *tomograms, "--model", model, "--output", denoised, "--resume",
         "--device", args.device],
        args.threads,
    )  # fmt: skip
    return [denoised / f"tomo_{n}_denoised.mrc" for n in range(NUMBER)]


def main() -> None:
    """Train and denoise for each clean domain and seed; write the arguments of ``picks.py``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR")
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS), choices=DOMAINS)
    parser.add_argument("--preset", default="standard", choices=PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed in args.seeds:
        for domain in args.domains:
            files = ",".join(str(path) for path in train_and_denoise(args, domain, seed))
            lines.append(f"--denoised DUAL-{domain}-{seed}={files}")
    (args.output / "denoised.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
