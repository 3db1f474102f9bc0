"""Tomograms whose noise is imitated, in turn."""

from __future__ import annotations

from typing import Any, List, Optional

from dual_scipion import convert


class NoiseSource:
    """Mixin of protocols with ``inputNoise``."""

    _noisePaths: Optional[List[str]] = None

    def noisePaths(self, first: int, number: int) -> List[str]:
        """Files of tomograms to take the noise from, in turn, beginning with one of them.

        Parameters
        ----------
        first : which comes first, counted from 0 and going round.
        number : how many at most; none where no set is given.
        """
        protocol: Any = self
        tomograms = protocol.inputNoise.get()
        if tomograms is None:
            return []
        with protocol._lock:
            if self._noisePaths is None:  # once, not for each of hundreds of tomograms
                self._noisePaths = [convert.volume_path(item) for item in tomograms.iterItems()]
                tomograms.close()
        paths = self._noisePaths
        return [paths[(first + at) % len(paths)] for at in range(min(number, len(paths)))]
