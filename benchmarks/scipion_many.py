"""Hundreds of tiny tomograms through *denoise tomograms*: what Scipion and the starts cost.

    python benchmarks/scipion_many.py --output /tmp/many --count 300
    python benchmarks/scipion_many.py --output /tmp/many --count 300 --kill 0.5 --form

The tomograms are noise, the model has had two iterations, all on the CPU: nearly all of the time
is that of starting engines, links, sets and steps. With --kill the protocol and its engine are
killed (SIGKILL) when that share is done, and continued; what was done before must not be done
again. With --form the windows of the finished run are opened on a virtual screen (Xvfb). It prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
SHAPE = (16, 32, 32)  # (z, y, x)


def build(folder: Path, count: int, values: Dict[str, Any]) -> Tuple[Any, Any]:
    """A project with ``count`` tomograms and the protocol that shall denoise them."""
    from pyworkflow.tests import setupTestProject

    from dual_scipion.protocols import ProtDualDenoise
    from dual_scipion.tests import support

    holder = type("Many", (), {"setUpClass": None})
    setupTestProject(holder)
    project = holder.proj
    inputs = support.Inputs(project)
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(count):
        path = support.write_tomogram(folder / f"{number:04d}.mrc", SHAPE, seed=number % 10)
        items.append(support.tomogram(path, f"TS_{number:04d}"))
    protocol = project.newProtocol(ProtDualDenoise, useGpu=False, binThreads=1, tile=32, halo=4)
    for name, value in values.items():
        getattr(protocol, name).set(value)
    for pointer, source, output in (
        (protocol.inputTomograms, inputs.tomograms(items), "Tomograms"),
        (protocol.inputModel, inputs.model(support.tiny_model()), "Model"),
    ):
        pointer.set(source)
        pointer.setExtended(output)
    return project, protocol


def launch(project: Any, protocol: Any, kill: float, count: int) -> Dict[str, Any]:
    """Run it to its end, killed once on the way if wanted; what was seen."""
    from pyworkflow.protocol.constants import MODE_RESUME

    told: Dict[str, Any] = {}
    begun = time.monotonic()
    project.launchProtocol(protocol, wait=False)
    if kill:
        while written(protocol) < kill * count:
            time.sleep(0.2)
        end(protocol)
        before = times(protocol)
        told["killed_at"], told["killed_s"] = len(before), round(time.monotonic() - begun, 1)
        protocol.runMode.set(MODE_RESUME)
        project.launchProtocol(protocol, wait=False)
    while not (protocol.isFinished() or protocol.isFailed()):
        time.sleep(0.5)
        project._updateProtocol(protocol)
    told["seconds"] = round(time.monotonic() - begun, 1)
    told["seconds_per_tomogram"] = round(told["seconds"] / count, 3)
    told["done"] = protocol.doneCount()
    if kill:
        told["made_twice"] = sum(times(protocol)[name] != when for name, when in before.items())
    return told


def written(protocol: Any) -> int:
    """How many results there are."""
    return len(times(protocol))


def times(protocol: Any) -> Dict[str, int]:
    """Name of a result to when it was written."""
    found = Path(protocol._getExtraPath()).glob("TS_[0-9]*[0-9].mrc")
    return {path.name: path.stat().st_mtime_ns for path in found}


def end(protocol: Any) -> None:
    """Kill a protocol and all that it started, at once and without a warning."""
    pids = [protocol.getPid()]
    for pid in pids:
        pids += children(pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> List[int]:
    """Processes that a process started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(one) for path in lists for one in path.read_text().split()]


def rate_over_time(protocol: Any) -> List[float]:
    """Seconds a tomogram in each third of the run: growing, if something grows with the number."""
    when = sorted(times(protocol).values())
    third = max(1, len(when) // 3)
    parts = [when[at * third : (at + 1) * third] for at in range(3)]
    return [round((p[-1] - p[0]) / 1e9 / max(1, len(p) - 1), 3) for p in parts if p]


def looked_at(project: Any, protocol: Any) -> Dict[str, float]:
    """Seconds until what the window of the project asks for is there."""
    from dual_scipion.viewers.shown import shown_by

    found = {}
    for name, ask in (
        ("summary_s", protocol.summary),
        ("methods_s", protocol.methods),
        ("validate_s", protocol.validate),
        ("warnings_s", protocol.warnings),
        ("viewer_list_s", lambda: shown_by(protocol)),
    ):
        begun = time.monotonic()
        ask()
        found[name] = round(time.monotonic() - begun, 3)
    return found


def windows(project: Any, protocol: Any, folder: Path) -> Dict[str, float]:
    """Seconds until the form and the viewer are open."""
    from dual_scipion.tests.screen import virtual_screen

    with virtual_screen() as display:
        os.environ["DISPLAY"] = display
        from dual_scipion.tests.gui import Desk

        begun = time.monotonic()
        desk = Desk(project.path, folder)
        opened = time.monotonic()
        protocol = desk.project.getProtocol(protocol.getObjId())
        desk.open_form(protocol)
        formed = time.monotonic()
        desk.analyze(protocol)
        seen = time.monotonic()
        found = {"project_window_s": opened - begun, "form_s": formed - opened}
        found["viewer_s"] = seen - formed
        desk.photograph("many_viewer")
        sys.stdout.flush()
        return {name: round(value, 2) for name, value in found.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--batch", type=int, help="tomograms a run of the engine")
    parser.add_argument("--threads", type=int, default=1, help="Scipion threads")
    parser.add_argument("--kill", type=float, default=0.0, help="share after which it is killed")
    parser.add_argument("--form", action="store_true", help="open windows, too")
    args = parser.parse_args()
    from scipion_chain import prepare_scipion

    args.output = args.output.resolve()
    prepare_scipion(args.output)
    values: Dict[str, Any] = {"numberOfThreads": args.threads}
    if args.batch:
        values["engineBatch"] = args.batch
    project, protocol = build(args.output / "data", args.count, values)
    told: Dict[str, Any] = {"count": args.count, **values}
    told.update(launch(project, protocol, args.kill, args.count))
    told["by_thirds"] = rate_over_time(protocol)
    told.update(looked_at(project, protocol))
    files = [path for path in Path(protocol._getPath()).rglob("*") if path.is_file()]
    told["files"] = len(files)
    told["folder_MiB"] = round(sum(path.stat().st_size for path in files) / 2**20, 1)
    volumes = sum(path.stat().st_size for path in files if path.suffix == ".mrc")
    told["of_it_volumes_MiB"] = round(volumes / 2**20, 1)
    if args.form:
        told.update(windows(project, protocol, args.output / "pictures"))
    print(json.dumps(told), flush=True)
    os._exit(0 if told["done"] == args.count else 1)  # no farewell to a screen that has gone


if __name__ == "__main__":
    raise SystemExit(main())
