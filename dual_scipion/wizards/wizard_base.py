"""What all wizards do: take the input out of the form, and say in one line what is missing."""

from __future__ import annotations

import sqlite3
from typing import Any, List, NamedTuple

from pyworkflow.wizard import Wizard

from dual_core.errors import DualError
from dual_scipion import convert


class ShownVolume(NamedTuple):
    """A volume that can be looked at: tsId, file, voxel size in angstrom."""

    name: str
    path: str
    voxel_size_A: float


class DualWizard(Wizard):
    """Base of the wizards: a mistake is a message, never a traceback."""

    def show(self, form: Any, *params: Any) -> None:
        """Open the wizard of the parameter whose button was pressed, ``form.wizParamName``."""
        try:
            self.ask(form)
        except DualError as error:
            form.showWarning(str(error))

    def ask(self, form: Any) -> None:
        """Ask the user, and write the answer into the form.

        Raises
        ------
        DualError
            If something is missing or cannot be read.
        """
        raise NotImplementedError


def input_items(protocol: Any, pointer: str) -> List[Any]:
    """Copies of the items of an input set of a form, in their order; the set is closed again.

    Parameters
    ----------
    protocol : the protocol of the form.
    pointer : name of the parameter that points to the set.

    Raises
    ------
    DualError
        If no set is chosen, or it is empty or cannot be read.
    """
    label = protocol.getParam(pointer).label.get()
    volumes = getattr(protocol, pointer).get()
    if volumes is None:
        raise DualError(f"Choose '{label}' first: the wizard looks into them.")
    try:
        items = [item.clone() for item in volumes.iterItems()]
        volumes.close()
    except (OSError, sqlite3.Error) as error:
        raise DualError(f"'{label}' cannot be read now ({error}); try again later.") from error
    if not items:
        raise DualError(f"'{label}' is an empty set; choose another one, or wait until it fills.")
    return items


def shown_volumes(protocol: Any, pointer: str) -> List[ShownVolume]:
    """The volumes of an input set to look at: those whose files exist.

    Raises
    ------
    DualError
        As `input_items`, and if no volume has a file.
    """
    found, missing = [], ""
    for item in input_items(protocol, pointer):
        try:
            path = convert.volume_path(item)
        except DualError as error:
            missing = missing or str(error)
        else:
            found.append(ShownVolume(convert.ts_id(item), path, float(item.getSamplingRate() or 1)))
    if not found:
        raise DualError(f"No tomogram can be shown: {missing}.")
    return found
