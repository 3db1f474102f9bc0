"""The families of malformed inputs of benchmarks/fuzz.py: what is changed, and who reads it."""

from __future__ import annotations

import argparse
import json
import shutil
import struct
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
from fuzz_changes import ABSURD, changed_bytes, changed_text, changed_values

COUNTS = ("count", "iterations", "number", "copies", "snapshots", "batch", "patch", "box",
          "minutes", "time_limit")

Command = List[str]
Make = Callable[[np.random.Generator, Path, Path], Command]


def mrc_header(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Words of the header set to numbers at the edge, ends cut off, bytes changed."""
    raw = bytearray((seeds / "tomogram.mrc").read_bytes())
    for _ in range(int(random.integers(1, 4))):
        at = 4 * int(random.integers(0, 57))
        edge = [0, 1, -1, 2, 6, 12, 100, 2**31 - 1, -(2**31), 2**20, 65536]
        floats = [0.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), 0.04, 1e6]
        whole = random.random() < 0.6
        number = random.choice(edge) if whole else random.choice(floats)
        raw[at : at + 4] = struct.pack("<i" if whole else "<f", number)
    if random.random() < 0.3:
        raw = bytearray(changed_bytes(random, bytes(raw[:1200])) + raw[1200:])
    if random.random() < 0.2:
        del raw[int(random.integers(len(raw))) :]
    path = work / "x.mrc"
    path.write_bytes(bytes(raw))
    return on_volume(random, path, seeds, work)


def mrc_data(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Values that overflow, are no numbers, or are all alike."""
    raw = bytearray((seeds / "tomogram.mrc").read_bytes())
    values = np.frombuffer(raw, np.float32, offset=1024).copy()
    number = np.float32(random.choice([3e38, -3e38, np.nan, np.inf, 0, 1e20, 1e-40]))
    share = random.choice([1.0, 0.5, 1e-4])
    values[random.random(values.size) < max(share, 2 / values.size)] = number
    path = work / "x.mrc"
    path.write_bytes(bytes(raw[:1024]) + values.tobytes())
    return on_volume(random, path, seeds, work)


def on_volume(random: np.random.Generator, path: Path, seeds: Path, work: Path) -> Command:
    """A command on a volume."""
    out = ["--output", str(work / "o")]
    commands = [
        ["info", str(path)],
        ["pick", str(path), "--diameter", "60", "--number", "5", *out],
        ["project", str(path), "--tilt-range", "-60", "60", "60", *out],
        ["evaluate", "volumes", str(path), "--truth", str(seeds / "tomogram.mrc"), *out],
        ["denoise", str(path), "--model", str(seeds / "model.safetensors"), "--device", "cpu",
         *out],
        ["pack", "--shape", "16", "16", "16", "--molecules", str(path), "--number", "1",
         "--only-molecules", *out],
    ]
    return commands[int(random.integers(len(commands)))]


def model_file(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Bytes of a model, its header, its card, and single fields of the card."""
    raw = (seeds / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, weights = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    kind = random.integers(4)
    if kind < 2:
        card = json.loads(header["__metadata__"]["dual_card"])
        if random.random() < 0.4:
            card["network"] = changed_values(random, card["network"])
        else:
            card = changed_values(random, card)
        header["__metadata__"]["dual_card"] = json.dumps(card)
    elif kind == 2:
        header = changed_values(random, header)
    text = json.dumps(header).encode()
    if kind == 3:
        text = changed_bytes(random, text)
    if random.random() < 0.1:
        weights = bytes(len(weights))
    size = len(text) if random.random() < 0.9 else int(random.integers(0, 2**63))
    path = work / "m.safetensors"
    path.write_bytes(struct.pack("<Q", size) + text + weights)
    if random.random() < 0.5:
        return ["info", str(path)]
    return ["denoise", str(seeds / "tomogram.mrc"), "--model", str(path), "--device", "cpu",
            "--output", str(work / "o")]


def run_files(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Files of a training directory, read by the report and by --resume."""
    run = work / "run"
    shutil.copytree(seeds / "run", run)
    name = str(random.choice(
        ["history.jsonl", "config.yaml", "train.yaml", "checkpoint/state.json",
         "checkpoint/state.safetensors"]
    ))
    path = run / name
    content = path.read_bytes()
    if name.endswith(".json") and random.random() < 0.8:
        path.write_text(json.dumps(changed_values(random, json.loads(content))))
    elif name.endswith(".jsonl") and random.random() < 0.8:
        lines = content.decode().splitlines()
        at = int(random.integers(len(lines)))
        lines[at] = json.dumps(changed_values(random, json.loads(lines[at])))
        path.write_text("\n".join(lines) + "\n")
    elif name.endswith("safetensors"):
        path.write_bytes(changed_bytes(random, content))
    else:
        path.write_bytes(changed_text(random, content.decode()))
    if name.startswith("checkpoint"):
        return [*TRAIN, "--noisy", str(seeds / "tomogram.mrc"), "--clean",
                str(seeds / "grand.mrc"), "--output", str(run), "--resume"]
    return ["report", str(run), "--output", str(work / "r.html")]


def yaml_options(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """A file for --config, and a list of molecules."""
    if random.random() < 0.5:
        text = "tomograms: [t.mrc, 'u v.mrc']\ndiameter: 60.0\nnumber: 5\ncontrast: auto\n"
        path = work / "c.yaml"
        path.write_bytes(changed_text(random, text))
        return ["pick", str(seeds / "tomogram.mrc"), "--output", str(work / "o"), "--config",
                str(path)]
    text = ("molecules:\n  - {name: barrel_960, copies: 1, abundance: 2}\n"
            "  - {name: own, file: m.pdb, mass_kDa: 20.0, assembly: none}\n")
    path = work / "list.yaml"
    shutil.copy(seeds / "m.pdb", work / "m.pdb")
    path.write_bytes(changed_text(random, text))
    return pack(path, work)


def pack(path: Path, work: Path) -> Command:
    """The command that reads molecules."""
    return ["pack", "--shape", "24", "24", "24", "--voxel-size", "20", "--molecules", str(path),
            "--number", "1", "--best-effort", "--only-molecules", "--output", str(work / "o")]


def particle_list(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """CSV and STAR files of positions."""
    kind = str(random.choice(["csv", "star"]))
    path = work / f"p.{kind}"
    path.write_bytes(changed_text(random, (seeds / f"p.{kind}").read_text()))
    if random.random() < 0.5:
        return ["evaluate", "picks", str(path), "--truth", str(seeds / "p.csv"), "--tolerance",
                "20", "--voxel-size", "10"]
    return ["average", str(seeds / "tomogram.mrc"), "--picks", str(path), "--box", "8",
            "--output", str(work / "o")]


def atomic_model(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """PDB and mmCIF files."""
    kind = str(random.choice(["pdb", "cif"]))
    path = work / f"m.{kind}"
    path.write_bytes(changed_text(random, (seeds / f"m.{kind}").read_text()))
    return pack(path, work)


def option_value(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """One option of a command with a value that it may not expect."""
    from dual_core.cli.main import COMMANDS, _load, build_parser

    base = commands(seeds, work)
    name = str(random.choice(list(base)))
    parser = build_parser(name.split()[0], _load(name.split()[0]))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[name.split()[1]]
    assert name.split()[0] in COMMANDS
    options = [a for a in parser._actions if a.option_strings and a.nargs != 0 and
               a.dest not in ("config", "output", "command")]
    action = options[int(random.integers(len(options)))]
    values = [v for v in ABSURD if "\0" not in v]
    if any(word in action.dest for word in COUNTS):  # much work is no fault
        values = [v for v in values if not v.isdigit() or int(v[:18]) < 3 or len(v) > 12]
    number = action.nargs if isinstance(action.nargs, int) else 1
    given = [str(random.choice(values)) for _ in range(number)]
    return [*base[name], action.option_strings[-1], *given]


TRAIN = ["train", "--iterations", "2", "--patch", "24", "--batch", "1", "--device", "cpu",
         "--contrast", "dark", "--clean-contrast", "bright"]


def commands(seeds: Path, work: Path) -> Dict[str, Command]:
    """A call of each command that ends soon."""
    volume, model, out = str(seeds / "tomogram.mrc"), str(seeds / "model.safetensors"), str(work)
    grand = str(seeds / "grand.mrc")
    return {
        "info": ["info", volume],
        "pack": ["pack", "--shape", "16", "16", "16", "--voxel-size", "20", "--molecules",
                 "antibody_150", "--number", "1", "--best-effort", "--only-molecules",
                 "--output", out + "/o"],
        "project": ["project", grand, "--output", out + "/o"],
        "pick": ["pick", volume, "--diameter", "60", "--output", out + "/o"],
        "denoise": ["denoise", volume, "--model", model, "--device", "cpu", "--output",
                    out + "/o"],
        "simulate": ["simulate", grand, "--model", model, "--device", "cpu", "--output",
                     out + "/o"],
        "average": ["average", volume, "--picks", str(seeds / "p.csv"), "--box", "8",
                    "--output", out + "/o"],
        "evaluate picks": ["evaluate", "picks", str(seeds / "p.csv"), "--truth",
                           str(seeds / "p.csv"), "--tolerance", "20"],
        "evaluate volumes": ["evaluate", "volumes", volume, "--truth", grand],
        "train": [*TRAIN, "--noisy", volume, "--clean", grand, "--output", out + "/run"],
    }


FAMILIES: Dict[str, Make] = {
    "MRC header": mrc_header, "MRC data": mrc_data, "model and card": model_file,
    "training directory": run_files, "YAML": yaml_options, "particle lists": particle_list,
    "PDB and mmCIF": atomic_model, "options": option_value,
}
