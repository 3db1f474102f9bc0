"""How good is a model on a simulated tomogram, whose truth is known? python ... MODEL."""

import sys

import dual_core

model = sys.argv[1]
SIZE_A = 10.0  # voxel size in angstrom

cell = dual_core.pack(shape=(64, 96, 96), voxel_size_A=SIZE_A, seed=99)[0]  # not trained on
raw = dual_core.project(cell.array, voxel_size_A=SIZE_A, tilt_range=(-60, 60), snr=0.5).array
denoised = dual_core.denoise(raw, model, voxel_size_A=SIZE_A).array

for name, volume in (("raw", raw), ("denoised", denoised)):
    score = dual_core.evaluate(volume, cell.array, voxel_size_A=SIZE_A)
    fsc = score.fsc.resolution_A(0.5)
    line = f"{name:9} CC {score.cc:.3f}  SSIM {score.ssim:.3f}  PSNR {score.psnr_db:.1f} dB"
    print(line, "" if fsc is None else f" FSC 0.5 at {fsc:.0f} A")

picked = dual_core.pick(denoised, voxel_size_A=SIZE_A, diameter_A=250, number=30)
hits = dual_core.evaluate_picks(
    picked.positions, cell.positions, tolerance_A=100, voxel_size_A=SIZE_A
)
print(f"picks: precision {hits.precision:.2f}, recall {hits.recall:.2f}")
