"""The picks of a protocol, tomogram by tomogram, in angstrom."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id, picks_of
from dual_scipion.protocols import ProtDualPickDog
from dual_scipion.viewers.shown import input_tomograms


class Background(NamedTuple):
    """A volume that picks can be shown on."""

    title: str
    path: str
    voxel_size_A: float


class Picks(NamedTuple):
    """The picks of one tomogram.

    Attributes
    ----------
    name : tsId.
    diameter_A : of the particles.
    positions_A : ndarray, (n, 3)
        ``(x, y, z)`` from the corner of the tomogram: the centre of the first voxel is half a voxel
        from it, whatever the binning.
    scores : ndarray, (n,)
    backgrounds : the volume that was picked on, and that to extract from if there is one.
    """

    name: str
    diameter_A: float
    positions_A: np.ndarray
    scores: np.ndarray
    backgrounds: List[Background]

    def positions(self, background: Background) -> np.ndarray:
        """``(x, y, z)`` in voxels of a background, (n, 3)."""
        return self.positions_A / background.voxel_size_A - 0.5

    def chosen(self, lowest: float) -> Picks:
        """Those with a score of so much or more."""
        good = self.scores >= lowest
        return self._replace(positions_A=self.positions_A[good], scores=self.scores[good])


def picked_names(protocol: Any) -> Tuple[List[str], int]:
    """The tsIds of the tomograms that are picked by now, and how many there are to pick.

    Raises
    ------
    DualError
        If the input is gone.
    """
    tomograms = input_tomograms(protocol)
    counts = protocol.countsByTomogram()
    done = [
        name
        for name, tomogram in tomograms.items()
        if name in counts or os.path.exists(protocol.resultFiles(tomogram)[0])
    ]
    return done, len(tomograms)


def read_picks_of(protocol: Any, name: str) -> Picks:
    """The picks of one tomogram: those in the output, or while that lags behind in the file.

    Raises
    ------
    DualError
        If the input is gone or the file cannot be read.
    """
    tomogram = input_tomograms(protocol)[name]
    owners: Dict[str, Any] = items_by_ts_id(protocol.inputExtract.get())
    owner = owners.get(name, tomogram)
    backgrounds = [_background("picked on", tomogram)]
    if name in owners:
        backgrounds.append(_background("to extract from", owner))
    coordinates = getattr(protocol, protocol._outputName(), None)
    picks: List[convert.Pick] = []
    size = float(owner.getSamplingRate())
    if coordinates is not None and coordinates.getSize() > 0:
        picks = picks_of(coordinates, owner)
        coordinates.close()
    if not picks and os.path.exists(protocol.resultFiles(tomogram)[0]):
        picks = convert.read_picks(protocol.resultFiles(tomogram)[0])
        size = float(tomogram.getSamplingRate())
    positions = np.array([(pick.x, pick.y, pick.z) for pick in picks], dtype=np.float64)
    scores = np.array([pick.score for pick in picks], dtype=np.float64)
    diameter = float(protocol.diameter.get())
    return Picks(name, diameter, (positions.reshape(-1, 3) + 0.5) * size, scores, backgrounds)


def picks_on(result: Any, runs: Sequence[Any], name: str) -> Optional[Picks]:
    """The picks on a tomogram of a protocol, of the newest run that has picked on it or its input.

    Parameters
    ----------
    result : the protocol that made the tomograms.
    runs : all of the project, the newest last.
    name : tsId.
    """
    known = {output.getObjId() for _, output in result.iterOutputAttributes()}
    if result.inputTomograms.get() is not None:
        known.add(result.inputTomograms.get().getObjId())
    for run in reversed(runs):
        if not isinstance(run, ProtDualPickDog):
            continue
        sources = run.inputTomograms.get(), run.inputExtract.get()
        if not any(one is not None and one.getObjId() in known for one in sources):
            continue
        if name in picked_names(run)[0]:
            return read_picks_of(run, name)
    return None


def _background(title: str, tomogram: Any) -> Background:
    path = convert.volume_path(tomogram, must_exist=False)
    return Background(title, path, float(tomogram.getSamplingRate()))
