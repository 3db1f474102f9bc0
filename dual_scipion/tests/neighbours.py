"""Other plugins without their programs: their own steps are run, and what a program would write
is copied from what it was given."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional
from unittest import mock

import numpy as np
from pyworkflow import Config
from pyworkflow.object import Set
from tomo.objects import (
    CTFTomo,
    CTFTomoSeries,
    SetOfCTFTomoSeries,
    SetOfTiltSeries,
    TiltImage,
    TiltSeries,
    TomoAcquisition,
)

from dual_scipion.tests import support

Job = Callable[[str, str], None]


def kind_of(name: str) -> Any:
    """A protocol class of another plugin, or None if that is not installed."""
    return Config.getDomain().getProtocols().get(name)


def needs(name: str) -> Callable[[Callable[..., None]], Optional[Callable[..., None]]]:
    """Decorates a test of a protocol; there is no such test where its plugin is not installed."""
    found = kind_of(name) is not None
    return lambda test: test if found else None


def copy_volumes(program: str, arguments: str, cwd: str = ".") -> None:
    """A program that writes its input under every name of a volume that does not exist yet."""
    names = [word for word in shlex.split(arguments) if word.endswith(".mrc")]
    there = [name for name in names if os.path.exists(os.path.join(cwd, name))]
    for name in names:
        if name not in there:
            shutil.copy(os.path.join(cwd, there[0]), os.path.join(cwd, name))


class Recorder:
    """Stands in for ``runJob``: notes the calls and does what a program would do.

    Attributes
    ----------
    lines : program and arguments of each call.
    """

    def __init__(self, job: Job = copy_volumes) -> None:
        self.lines: List[str] = []
        self._job = job

    def __call__(self, program: str, arguments: Any, **_: Any) -> None:
        self.lines.append(f"{program} {arguments}")
        self._job(program, str(arguments))


def run_steps(protocol: Any, job: Job = copy_volumes) -> List[str]:
    """Run all steps of a saved protocol in this process; return the command lines it would run."""
    waiting: List[Any] = []

    def insert(step: Any, *arguments: Any, **_: Any) -> int:
        waiting.append((step, arguments))
        return len(waiting)

    recorder = Recorder(job)
    executor = mock.Mock()
    executor.getGpuList.return_value = [0]
    protocol.makePathsAndClean()
    protocol._stepsExecutor = executor
    with mock.patch.object(protocol, "runJob", recorder), mock.patch.object(
        protocol, "_insertFunctionStep", insert
    ), mock.patch.object(time, "sleep"):
        protocol._insertAllSteps()
        while waiting:
            step, arguments = waiting.pop(0)
            (getattr(protocol, step) if isinstance(step, str) else step)(*arguments)
    return recorder.lines


def tilt_series(inputs: support.Inputs, folder: Path, names: List[str]) -> Any:
    """A protocol with an output ``TiltSeries``: three images each, tilt axis at 85 degrees."""
    from tomo.protocols import ProtImportTs

    protocol = inputs._protocol(ProtImportTs)
    series = SetOfTiltSeries.create(protocol._getPath(), template="tiltseries.sqlite")
    series.setSamplingRate(support.VOXEL_SIZE_A)
    acquisition: Dict[str, Any] = {"angleMin": -60, "angleMax": 50, "step": 2, "voltage": 300}
    series.setAcquisition(TomoAcquisition(tiltAxisAngle=85, **acquisition))
    for name in names:
        one = TiltSeries(tsId=name)
        one.setSamplingRate(support.VOXEL_SIZE_A)
        one.setAcquisition(TomoAcquisition(tiltAxisAngle=85, **acquisition))
        series.append(one)
        path = support.write_volume(folder / f"{name}.mrcs", np.zeros((3, 34, 30), np.float32))
        for number, angle in enumerate((-60.0, 0.0, 50.0), start=1):
            image = TiltImage(tsId=name, tiltAngle=angle, acquisitionOrder=number)
            image.setLocation(number, path)
            image.setSamplingRate(support.VOXEL_SIZE_A)
            one.append(image)
        one.write()
        series.update(one)
    series.setStreamState(Set.STREAM_CLOSED)
    series.write()
    inputs._finish(protocol, TiltSeries=series)
    return protocol


def ctf_series(inputs: support.Inputs, series: Any) -> Any:
    """A protocol with an output ``CTFTomoSeries`` for tilt series: two micrometres underfocus."""
    from tomo.protocols import ProtImportTs

    protocol = inputs._protocol(ProtImportTs)
    found = SetOfCTFTomoSeries.create(protocol._getPath(), template="ctfs%s.sqlite")
    found.setSetOfTiltSeries(series.TiltSeries)
    for item in series.TiltSeries:
        one = CTFTomoSeries(tsId=item.getTsId())
        one.setTiltSeries(item)
        found.append(one)
        for number in range(1, 4):
            ctf = CTFTomo(defocusU=20000, defocusV=20000, defocusAngle=0)
            ctf.setIndex(number)
            ctf.setAcquisitionOrder(number)
            one.append(ctf)
        one.write()
        found.update(one)
    found.write()
    inputs._finish(protocol, CTFTomoSeries=found)
    return protocol
