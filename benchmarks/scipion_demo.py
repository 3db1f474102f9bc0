"""All of the plugin in one Scipion project, launched as from its forms, on data of its own.

    python benchmarks/scipion_demo.py --output demo_output/scipion --screenshots docs/images

Generates a specimen and projects it (``dual project``), imports the tomograms with the protocol of
scipion-em-tomo, generates other grand models, trains, denoises, picks, averages at the picks and
extracts there (emantomo; without EMAN2 only up to its program), simulates, trains for the
missing wedge, compensates, and evaluates against the specimen. It ends with a line for each
protocol, and with status 1 if one failed. What an earlier run has finished is not done again.
With --screenshots the finished project, forms, viewers and wizards are photographed on a virtual
screen (Xvfb). ``make scipion-demo`` runs it, and with SCREENSHOTS=docs/images as above.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

from scipion_chain import PROJECT, Chain, Row, prepare_scipion, table

ROOT = Path(__file__).resolve().parents[1]
VOXEL_SIZE_A = 10.0
TILTS_DEG = (-60.0, 60.0, 3.0)
SIZE = {"sizeX": 144, "sizeY": 144, "sizeZ": 64}
# Few kinds, the largest of which is what is picked.
SPECIMEN = "two_subunits_3200 barrel_960 ring_540 antibody_150"
PICKED_CLASS = 1
DIAMETER_A = 260.0
WEDGE_ITERATIONS = 100
EXTRACTION = "EmanProtTomoExtraction"
MOST_APART = 0.1  # voxels, between a pick and the position that is extracted


def launch_all(chain: Chain, data: Path, threads: int) -> None:
    """The whole story, with so many threads of the engine."""
    from tomo.protocols import ProtImportTomograms

    from dual_scipion import protocols as ours

    cpu = {"useGpu": False, "numberOfThreads": threads}
    one = {"useGpu": False, "numberOfThreads": 1, "binThreads": threads}  # tomogram at a time
    none = {"sheets": 0, "microtubules": 0, "actin": 0, "crowd": 0}
    crowd = {**SIZE, "voxelSize": VOXEL_SIZE_A, "gold": 2, "vesicles": 1, "radiusMax": 22.0, **none}

    specimen = chain.run(
        "make a specimen",
        ours.ProtDualGrandModels,
        phantoms=SPECIMEN,
        count=2,
        seed=1,
        radiusMin=14.0,
        **crowd,
    )
    if specimen is not None:
        project_specimen(specimen, data)
    low, high, step = TILTS_DEG
    imported = chain.run(
        "import tomograms",
        ProtImportTomograms,
        filesPath=str(data),
        filesPattern="{TS}.mrc",
        samplingRate=VOXEL_SIZE_A,
        acquisitionAngleMin=low,
        acquisitionAngleMax=high,
        step=step,
    )
    tomograms = (imported, "Tomograms")
    cells = chain.run(
        "generate grand models",
        ours.ProtDualGrandModels,
        count=3,
        seed=2,
        radiusMin=14.0,
        **crowd,
    )
    grand_models = (cells, "Tomograms")
    model = chain.run(
        "train model",
        ours.ProtDualTrain,
        {"inputTomograms": tomograms, "inputClean": grand_models},
        preset=0,
        **cpu,
    )
    denoised = chain.run(
        "denoise tomograms",
        ours.ProtDualDenoise,
        {"inputTomograms": tomograms, "inputModel": (model, "Model")},
        **one,
    )
    picks = chain.run(
        "DoG picking",
        ours.ProtDualPickDog,
        {"inputTomograms": (denoised, "Tomograms"), "inputExtract": tomograms},
        diameter=DIAMETER_A,
        border=60.0,
        numberOfThreads=1,
        binThreads=threads,
    )
    chain.run(
        "average at picks",
        ours.ProtDualAverage,
        {"inputCoordinates": (picks, "Coordinates"), "inputTomograms": tomograms},
        diameter=DIAMETER_A,
    )
    extract(chain, picks)
    chain.run(
        "simulate tomograms",
        ours.ProtDualSimulate,
        {"inputTomograms": grand_models, "inputModel": (model, "Model")},
        **one,
    )
    wedge = chain.run(
        "train for the missing wedge",
        ours.ProtDualTrain,
        {"inputTomograms": tomograms},
        task=2,
        preset=0,
        iterations=WEDGE_ITERATIONS,
        **cpu,
    )
    chain.run(
        "compensate missing wedge",
        ours.ProtDualCompensateWedge,
        {
            "inputTomograms": tomograms,
            "inputModel": (wedge, "Model"),
            "denoisingModel": (model, "Model"),
        },
        **one,
    )
    chain.run(
        "evaluate denoising",
        ours.ProtDualEvaluate,
        {
            "inputTomograms": tomograms,
            "inputDenoised": (denoised, "Tomograms"),
            "inputModel": (model, "Model"),
            "inputTruth": (specimen, "Tomograms"),
            "inputTruePicks": (specimen, "Coordinates"),
            "inputPicks": (picks, "Coordinates"),
        },
        howMany=1,
        diameter=DIAMETER_A,
        onlyClass=PICKED_CLASS,
        **cpu,
    )


def has_program(command: str) -> bool:
    """Whether a command can be run, its activation included."""
    with open(os.devnull, "wb") as nowhere:
        shell = ["/bin/sh", "-c", command]
        return subprocess.run(shell, stdout=nowhere, stderr=nowhere, check=False).returncode == 0


def extract(chain: Chain, picks: Any) -> None:
    """The picks go into the extraction of emantomo: run where EMAN2 is installed, else prepared.

    Prepared means that its form accepts the coordinates and its own step has written them, as they
    were picked, for EMAN2.
    """
    import numpy as np
    from pyworkflow import Config
    from tomo.constants import BOTTOM_LEFT_CORNER

    label, kind = "extract (emantomo)", Config.getDomain().getProtocols().get(EXTRACTION)
    if kind is None or picks is None:
        chain.rows.append(Row(label, "not launched", 0.0, "emantomo or the picks are missing"))
        return
    box = 2 * round(1.5 * DIAMETER_A / VOXEL_SIZE_A / 2)
    given: Dict[str, Any] = {"boxSize": box, "doInvert": True}  # raw tomograms are dark
    if has_program(kind.getClassPackage().Plugin.getProgram("e2spt_boxer_old.py --help")):
        chain.run(label, kind, {"inputCoordinates": (picks, "Coordinates")}, **given)
        return
    runs = {run.getObjLabel(): run for run in chain.project.getRuns()}
    protocol = runs.get(label) or chain.project.newProtocol(kind, **given)
    protocol.setObjLabel(label)
    protocol.inputCoordinates.set(picks)
    protocol.inputCoordinates.setExtended("Coordinates")
    chain.project.saveProtocol(protocol)
    problems = protocol.validate()
    protocol.makePathsAndClean()
    protocol._initialize()
    apart = written = 0.0  # voxels, and how many
    for name, tomogram in protocol.tomosDict.items():
        protocol.writeSetOfCoordinates3D(name)
        found = np.loadtxt(protocol._getCoordsFile(name), ndmin=2)
        items = picks.Coordinates.iterCoordinates(volume=tomogram)
        picked = sorted(item.getPosition(BOTTOM_LEFT_CORNER) for item in items)
        apart = max(apart, float(np.abs(np.array(sorted(map(tuple, found))) - picked).max()))
        written += len(found)
    status = "prepared" if not problems and apart < MOST_APART else "failed"
    told = f"box {box}, {written:.0f} positions at most {apart:g} voxels from the picks; no EMAN2"
    chain.rows.append(Row(label, status, 0.0, " ".join([*problems, told])))


def project_specimen(specimen: Any, data: Path) -> None:
    """Tomograms of the specimen, named after its tsIds: what a microscope would bring."""
    data.mkdir(parents=True, exist_ok=True)
    for item in specimen.Tomograms:
        target = data / f"{item.getTsId()}.mrc"
        if target.exists():
            continue
        source = Path(item.getFileName())
        command = [sys.executable, "-m", "dual_core", "project", str(source), "--quiet"]
        command += ["--output", str(data / "made"), "--tilt-range", *map(str, TILTS_DEG)]
        subprocess.run(command, check=True)
        os.replace(data / "made" / f"{source.stem}_tomogram.mrc", target)
    specimen.Tomograms.close()


def photograph(project: str, folder: Path) -> None:
    """Take the pictures in a process of its own, on a screen that ends after it."""
    from dual_scipion.tests.screen import virtual_screen

    with virtual_screen() as display:
        command = [sys.executable, str(ROOT / "benchmarks" / "scipion_screenshots.py"), project]
        environment = {**os.environ, "DISPLAY": display}
        subprocess.run([*command, str(folder.resolve())], env=environment, check=True)


def main() -> int:
    """Run the demo; 1 if a protocol failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output/scipion"))
    parser.add_argument(
        "--screenshots", type=Path, metavar="FOLDER", help="where to; needs Xvfb (package xvfb)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default: 2)")
    args = parser.parse_args()
    output = args.output.resolve()
    prepare_scipion(output)
    folder = args.screenshots.resolve() if args.screenshots else None
    started = time.monotonic()
    chain = Chain()  # from here on the project's folder is the current one
    launch_all(chain, output / "tomograms", args.threads)
    print(f"\n{table(chain.rows)}\n\n{time.monotonic() - started:.0f} s; open the project with")
    print(f"SCIPION_USER_DATA={output} scipion3 project {PROJECT}")
    if any(row.status not in ("finished", "prepared") for row in chain.rows):
        return 1
    if folder is not None:
        photograph(chain.project.getPath(), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
