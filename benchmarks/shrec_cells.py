"""More labelled cells of the kind of ``shrec_like``: for ``segmentation.py --sets many``.

    python benchmarks/shrec_cells.py --output benchmarks/output/shrec_cells --count 36

``dual pack`` with the 13 maps of ``templates`` and the masses of the SHREC 2021 complexes, vesicles
and gold; the density is brought to the units of ``grand_*.mrc`` (365 per dalton and cubic angstrom,
as the data's notes say), which a model trained with those knows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from common import DATA, ROOT, dual

from dual_core.volumes.reading import open_volume, write_volume

# kDa; Gubins et al. 2021, SHREC'21: classification in cryo-electron tomograms, table 1.
MASSES = {
    "4v94": 952, "4cr2": 1309, "1qvr": 593, "1bxn": 559, "3cf3": 541, "1u6g": 238, "3d2f": 236,
    "2cg9": 189, "3h84": 158, "3gl1": 84, "3qm1": 62, "1s3x": 42, "5mrc": 3326,
}  # fmt: skip
UNITS = 365.0  # of the grand models, for a dalton per cubic angstrom


def main() -> None:
    """Pack the cells, then bring them to the units, once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    output = ROOT / "benchmarks" / "output" / "shrec_cells"
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    molecules = [
        {"name": name, "file": str((args.data / "templates" / f"{name}.mrc").resolve()),
         "mass_kDa": mass, "abundance": 3 if mass < 200 else 1}
        for name, mass in MASSES.items()
    ]
    names = args.output.resolve() / "molecules.yaml"
    names.write_text(yaml.safe_dump({"molecules": molecules}), encoding="utf-8")
    dual(
        ["pack", "--molecules", names, "--shape", 100, 192, 192, "--voxel-size", 10,
         "--count", args.count, "--only-molecules", "--occupancy", 0.06, "--vesicles", 3,
         "--gold", 8, "--best-effort", "--seed", args.seed, "--output", args.output.resolve()],
        args.threads,
    )
    for path in args.output.glob("grand_model_*.mrc"):
        volume = open_volume(path)
        write_volume(path, np.float32(UNITS) * volume.load(), volume.voxel_size_A)


if __name__ == "__main__":
    main()
