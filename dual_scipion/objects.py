"""Objects of the plugin that go from protocol to protocol."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional, Sequence, Set, Tuple

from pwem.objects import EMObject
from pyworkflow.object import Float, Integer, String

from dual_core.networks.card import ModelCard, read_card


class DualModel(EMObject):
    """A trained model of DUAL: one file inside the project, and what its card says.

    The path is relative to the project, so that the project may move. The card's main fields are
    stored, so that lists and forms need not open the file; `getCard` reads all of it.
    """

    def __init__(self, filename: Optional[str] = None, **kwargs: Any) -> None:
        EMObject.__init__(self, **kwargs)
        self._filename = String(filename)
        self._voxelSize = Float()
        self._contrast = String()
        self._iterations = Integer()
        self._task = String()
        self._method = String()
        self._trainedOn = String()
        self._tiltMin = Float()
        self._tiltMax = Float()

    @classmethod
    def fromFile(cls, filename: str) -> DualModel:
        """The object of a model file.

        Raises
        ------
        dual_core.errors.DualError
            If the file is no model.
        """
        model = cls(filename)
        model._fill(read_card(filename))
        return model

    def _fill(self, card: ModelCard) -> None:
        self._voxelSize.set(card.voxel_size_A)
        self._contrast.set(card.contrast)
        self._iterations.set(card.iterations)
        self._task.set(card.task)
        self._method.set(card.method)
        self._trainedOn.set(domain_name(card.noisy_domain))
        if card.tilt_range_deg is not None:
            self._tiltMin.set(card.tilt_range_deg[0])
            self._tiltMax.set(card.tilt_range_deg[1])

    def getFileName(self) -> str:
        """Path of the model file, relative to the project."""
        return str(self._filename.get())

    def setFileName(self, filename: str) -> None:
        """Set the path of the model file."""
        self._filename.set(filename)

    def getFiles(self) -> Set[str]:
        """What belongs to the object on the disk."""
        return {self.getFileName()}

    def getCard(self) -> ModelCard:
        """The whole card, read from the file; raises `DualError` if that is gone."""
        return read_card(self.getFileName())

    def getVoxelSize(self) -> float:
        """Voxel size in angstrom that the networks work on."""
        return float(self._voxelSize.get())

    # Under this name other plugins and the conditions of pointers ask for it.
    getSamplingRate = getVoxelSize

    def getContrast(self) -> str:
        """``dark`` or ``bright`` density in the clean domain."""
        return str(self._contrast.get())

    def getIterations(self) -> int:
        """How many training iterations the weights have seen."""
        return int(self._iterations.get())

    def getTask(self) -> str:
        """What it was trained for, such as ``denoise+simulate``."""
        return str(self._task.get())

    def getTiltRange(self) -> Optional[Tuple[float, float]]:
        """The tomograms' tilt range in degrees, where it was given."""
        if self._tiltMin.get() is None or self._tiltMax.get() is None:
            return None
        return float(self._tiltMin.get()), float(self._tiltMax.get())

    def getTrainedOn(self) -> str:
        """A name for the tomograms that it was trained on."""
        return str(self._trainedOn.get() or "")

    def __str__(self) -> str:
        if self._voxelSize.get() is None:
            return "DualModel (empty)"
        parts = [f"{self.getVoxelSize():.2f} A/px", f"{self.getIterations()} iterations"]
        if self.getTrainedOn():
            parts.append(self.getTrainedOn())
        tilt = self.getTiltRange()
        if tilt is not None:
            parts.append(tilt_text(*tilt))
        return f"DualModel ({', '.join(parts)})"


def domain_name(volumes: Sequence[Mapping[str, Any]]) -> str:
    """A short name of a domain: that of the only volume, or what all their names begin with."""
    names = [os.path.splitext(str(volume.get("name", "")))[0] for volume in volumes]
    names = [name for name in names if name]
    if len(names) < 2:
        return "".join(names)
    common = os.path.commonprefix(names).rstrip("_-. 0123456789")
    return f"{common}, {len(names)} tomograms" if common else f"{len(names)} tomograms"


def tilt_text(low: float, high: float) -> str:
    """A tilt range as ``+-60`` or ``-60..50`` degrees."""
    return f"+-{high:g}" if abs(low + high) < 0.5 else f"{low:g}..{high:g}"
