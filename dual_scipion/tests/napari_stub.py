"""An environment with a module ``napari`` that shows nothing and notes what it was given."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, Dict, List

_MODULE = '''
import json, os, uuid
import numpy as np

class Viewer:
    def __init__(self, title):
        self.title, self.layers = title, []
        Viewer.only = self

    def _add(self, kind, data, **options):
        array = np.asarray(data, dtype=float)
        middle = np.asarray(data[len(data) // 2], dtype=float).tolist() if len(data) else []
        known = {"kind": kind, "shape": list(array.shape), "sum": array.sum(), "middle": middle}
        self.layers.append({**known, **options})

    def add_image(self, data, **options):
        self._add("image", data, **options)

    def add_labels(self, data, **options):
        self._add("labels", data, **options)

    def add_points(self, data, **options):
        self._add("points", data, **options)

def run():
    viewer = Viewer.only
    path = os.path.join(os.environ["NAPARI_STUB"], uuid.uuid4().hex + ".json")
    with open(path, "w") as stream:
        json.dump({"title": viewer.title, "layers": viewer.layers}, stream)
'''


class NapariStub:
    """Makes the environment in a folder.

    Attributes
    ----------
    activation : shell command that activates it.
    """

    def __init__(self, folder: Path) -> None:
        self._opened = folder / "opened"
        for name in ("modules", "bin", "opened"):
            (folder / name).mkdir(parents=True)
        (folder / "modules" / "napari.py").write_text(_MODULE, encoding="utf-8")
        (folder / "bin" / "python").symlink_to(sys.executable)
        modules, programs, opened = (
            shlex.quote(str(folder / name)) for name in ("modules", "bin", "opened")
        )
        # A link to the Python of a virtual environment does not know its packages.
        packages = ":".join(shlex.quote(path) for path in sys.path if path)
        self.activation = (
            f"export NAPARI_STUB={opened} PYTHONPATH={modules}:{packages} PATH={programs}:$PATH"
        )

    def opened(self) -> List[Dict[str, Any]]:
        """Title and layers of each viewer that was opened."""
        paths = sorted(self._opened.glob("*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
