"""Which protocols of other plugins take what DUAL makes, and make what DUAL takes.

    python benchmarks/scipion_neighbours.py

For every plugin that is installed beside this one: the inputs of its protocols that Scipion would
let an output of ours be chosen for (class and condition of the pointer), and the outputs that it
would let be chosen for ours. It prints a table in Markdown. That is the contract of the forms;
whether a program behind them likes a file is another matter, and no program needs to be there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
KINDS = ("SetOfTomograms", "SetOfTomoMasks", "SetOfCoordinates3D", "AverageSubTomogram")
OURS_TAKE = ("SetOfTomograms", "SetOfTomoMasks", "SetOfCoordinates3D")
SHORT = dict(zip(KINDS, ("tomograms", "masks", "coordinates", "average")))
OWN = ("tomo", "pwem", "dual_scipion", "scipion", "pyworkflow")


def pointers(protocol: Any) -> Iterator[Tuple[str, Any]]:
    """Name and definition of the inputs of a protocol."""
    from pyworkflow.protocol.params import PointerParam

    for name, _ in protocol.iterDefinitionAttributes():
        param = protocol.getParam(name)
        if isinstance(param, PointerParam):
            yield name, param


def accepts(param: Any, kind: type) -> bool:
    """Whether Scipion offers objects of a class for an input, as its dialogue decides it."""
    wanted = {name.strip() for name in str(param.pointerClass.get() or "").split(",")}
    return bool(wanted & {base.__name__ for base in kind.__mro__})


def made_by(protocol: Any) -> Iterator[type]:
    """Classes of the outputs that a protocol declares."""
    from pyworkflow import Config

    declared = getattr(protocol, "_possibleOutputs", None) or {}
    if isinstance(declared, type):
        declared = {name: member.value for name, member in declared.__members__.items()}
    known = Config.getDomain().getObjects()
    for kind in declared.values():
        kind = getattr(kind, "value", kind)
        kind = known.get(kind, str) if isinstance(kind, str) else kind  # some give names
        yield kind if isinstance(kind, type) else type(kind)


def survey() -> Dict[str, Dict[str, List[str]]]:
    """Of each plugin: what it takes and gives, the protocols by the kind of object."""
    import tomo.objects as objects
    from pyworkflow import Config

    found: Dict[str, Dict[str, List[str]]] = defaultdict(lambda: defaultdict(list))
    for name, kind in sorted(Config.getDomain().getProtocols().items()):
        plugin = kind.__module__.partition(".")[0]
        if plugin in OWN or kind.isBase():
            continue
        try:
            protocol = kind()
            inputs = [param for _, param in pointers(protocol)]
        except Exception as error:  # of another's: it is told, and the others are looked at
            found[plugin]["broken"].append(f"{name} ({type(error).__name__})")
            continue
        for short in KINDS:
            if any(accepts(param, getattr(objects, short)) for param in inputs):
                found[plugin][f"takes {short}"].append(name)
        for made in made_by(protocol):
            kinds = [one for one in OURS_TAKE if issubclass(made, getattr(objects, one))]
            if kinds:  # a set of masks is one of tomograms too: the more special one counts
                found[plugin][f"gives {kinds[-1]}"].append(name)
    return found


def table(found: Dict[str, Dict[str, List[str]]]) -> str:
    """A row for each plugin: version, and how many protocols take and give what."""
    lines = ["| plugin | version | takes | gives |", "|---|---|---|---|"]
    for plugin, rows in sorted(found.items()):
        cells = []
        for word, kinds in (("takes", KINDS), ("gives", OURS_TAKE)):
            some = [(SHORT[kind], rows.get(f"{word} {kind}", [])) for kind in kinds]
            cells.append(", ".join(f"{kind} ({len(set(n))})" for kind, n in some if n) or "nothing")
        lines.append(f"| {plugin} | {version_of(plugin)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def version_of(plugin: str) -> str:
    """The version of the distribution that brings a package."""
    for name in metadata.packages_distributions().get(plugin, []):
        return metadata.version(name)
    return "?"


def main() -> int:
    """Print the table and, with --all, the names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="name the protocols")
    args = parser.parse_args()
    from scipion_chain import prepare_scipion

    prepare_scipion(Path(tempfile.mkdtemp(prefix="dual")))
    found = survey()
    print(table(found))
    if args.all:
        for plugin, rows in sorted(found.items()):
            for what, names in sorted(rows.items()):
                print(f"{plugin}: {what}: {', '.join(sorted(set(names)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
