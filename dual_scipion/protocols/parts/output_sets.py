"""Output sets that grow item by item, also on Continue and while others read them."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence
from typing import Set as SetOf

from pyworkflow.object import Set


class OutputSets:
    """Mixin of `ProtDualBase`.

    Registration of one item is::

        with self._lock:
            output = self.getOutputSet("Tomograms", SetOfTomograms, [self.inputX], prepare)
            self.appendItem("Tomograms", output, item)

    and at the end of the protocol ``self._closeOutputSet()``. Several items at once: append them
    to the set, then `storeOutput`.
    """

    def _outputName(self) -> str:
        """Name of the first possible output."""
        return str(next(iter(self._possibleOutputs)).name)  # type: ignore[attr-defined]

    def getOutputSet(
        self,
        name: str,
        kind: Any,
        pointers: Sequence[Any],
        prepare: Callable[[Any], None],
    ) -> Any:
        """The output set of a name, open for more items; made, and related to its sources, if new.

        Call it with the lock held, and append something: an empty set is made anew.

        Parameters
        ----------
        name : of the output, as in ``_possibleOutputs``; also that of its file.
        kind : class of the set.
        pointers : of the protocol, to what the set comes from.
        prepare : gives a new set its properties, at least the sampling rate.
        """
        protocol: Any = self
        output = getattr(self, name, None)
        if output is not None and output.getSize() > 0:
            output.enableAppend()
            output.setStreamState(Set.STREAM_OPEN)
            return output
        # By the prefix: "template" is ignored, and two sets of one class would share a file.
        output = kind.create(protocol._getPath(), prefix=name)
        prepare(output)
        output.setStreamState(Set.STREAM_OPEN)
        output.write()
        protocol._defineOutputs(**{name: output})
        for pointer in pointers:
            protocol._defineSourceRelation(pointer, output)
        return output

    def appendItem(self, name: str, output: Any, item: Any) -> None:
        """Append an item to an output set and store both, closing the file afterwards."""
        output.append(item)
        self.storeOutput(name, output)

    def storeOutput(self, name: str, output: Any) -> None:
        """Store an output set after appending; other processes may read it then."""
        output.write()
        self._store(output)  # type: ignore[attr-defined]
        output.close()

    def registeredTsIds(self, name: Optional[str] = None) -> SetOf[str]:
        """The tsIds in an output (the first one by default): what is there has been done."""
        output = getattr(self, name or self._outputName(), None)
        if output is None or output.getSize() == 0:
            return set()
        with self._lock:  # type: ignore[attr-defined]
            found = {str(ts_id) for ts_id in output.getTSIds()}
            output.close()
        return found

    def doneCount(self, name: Optional[str] = None) -> int:
        """How many items are in an output, the first one by default."""
        output = getattr(self, name or self._outputName(), None)
        return int(output.getSize()) if output is not None else 0
