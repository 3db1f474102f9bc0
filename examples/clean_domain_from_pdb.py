"""Your own clean domain, packed from PDB or mmCIF files: python ... OUT MOLECULE.pdb ..."""

import sys
from pathlib import Path

import dual_core

output, molecules = Path(sys.argv[1]), sys.argv[2:]

cells = dual_core.pack(
    molecules,
    voxel_size_A=10.0,  # that of your tomograms
    shape=(64, 128, 128),  # (z, y, x)
    occupancy=0.05,  # 0.05 is dilute, 0.2 is crowded
    thickness_nm=50,  # of the specimen, in the middle of z
    count=2,
    output=output,
)
for cell in cells:
    counts = {name: cell.names.count(name) for name in cell.classes if name in cell.names}
    print(f"{cell.path}: {counts}, molecules fill {100 * cell.occupancy:.1f} %")
