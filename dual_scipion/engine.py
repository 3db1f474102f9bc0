"""Which interpreter runs the engine, on which device, by which command line.

The only place of the plugin that knows. The engine (``python -m dual_core``) is always a process
of its own. What it shall do is in a file of parameters (JSON, which is YAML too, so that
``--config`` reads it), because Scipion interpolates ``%`` in arguments and the shell splits them.

GPUs, as Scipion hands them out:

* Outside a queue Scipion replaces ``%(GPU)s`` in the program, and only there: the program begins
  with ``CUDA_VISIBLE_DEVICES=%(GPU)s``, the engine sees its GPUs as 0, 1, ..., and so the numbers
  must not be in the arguments too.
* In a queue the scheduler sets ``CUDA_VISIBLE_DEVICES``. A prefix would undo that and put two
  jobs on one GPU.
* In one queued job with several workers, all of them see all GPUs of the job: each is told its
  place in the scheduler's list (``--device cuda:1``).

Where steps are jobs, Scipion does not notice that one failed: the job leaves a mark at its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, Mapping, Optional, Tuple

from dual_core.errors import DualError
from dual_scipion.constants import (
    DUAL_ENV_ACTIVATION,
    DUAL_HOME,
    ENGINE_INSTALLED,
    ENGINE_PACKAGE,
    ENGINE_VERSION,
)

INSTALL_COMMAND = f"scipion3 installb {ENGINE_PACKAGE}-{ENGINE_VERSION}"
GPU_PREFIX = "CUDA_VISIBLE_DEVICES=%(GPU)s"
ERROR_MARK = "dual: error: "  # how the engine begins the one line of its error
CHECK_TIMEOUT_S = 120  # an environment on a slow network disk takes its time
NEEDED = ("dual_core", "torch", "safetensors", "yaml")

# Commands that the engine runs on several GPUs at once, by torchrun: a process for each.
DISTRIBUTED: FrozenSet[str] = frozenset({"train"})
# Commands without a network, and so without --device.
DEVICELESS: FrozenSet[str] = frozenset(
    {"pack", "pick", "average", "evaluate volumes", "evaluate picks"}
)

NO_QUEUE, QUEUED_PROTOCOL, QUEUED_STEPS = "none", "protocol", "steps"


@dataclass(frozen=True)
class Interpreter:
    """How the engine's Python is started.

    Attributes
    ----------
    python : path or name of the interpreter.
    activation : shell command that goes before it, or nothing.
    origin : where it comes from, for messages.
    """

    python: str
    activation: str = ""
    origin: str = ""

    def shell(self, gpu_prefix: str = "") -> str:
        """The beginning of a command line of ``sh``, up to the interpreter."""
        words = [f"{self.activation} &&"] if self.activation else []
        if gpu_prefix:  # in front of it every other % would be interpolated
            words = [word.replace("%", "%%") for word in words] + [gpu_prefix]
            return " ".join([*words, shlex.quote(self.python).replace("%", "%%")])
        return " ".join([*words, shlex.quote(self.python)])


@dataclass(frozen=True)
class Placement:
    """Where one run of the engine takes place.

    Attributes
    ----------
    use_gpu : on a GPU; else on the CPU.
    queue : ``none``, ``protocol`` (the whole protocol is one job) or ``steps``.
    slot : of a queued protocol, the place in the scheduler's list of this worker's first GPU.
    gpus : how many GPUs the worker has.
    """

    use_gpu: bool
    queue: str = NO_QUEUE
    slot: int = 0
    gpus: int = 1


def find_interpreter(variables: Optional[Mapping[str, str]] = None) -> Interpreter:
    """The engine's interpreter: the user's environment, the private one, or Scipion's own.

    Parameters
    ----------
    variables : instead of Scipion's configuration, for tests.

    Raises
    ------
    DualError
        With the command that installs the engine.
    """
    given = _variables() if variables is None else variables
    activation = without_end(given.get(DUAL_ENV_ACTIVATION, ""))
    if activation:
        activation = with_conda(activation, given.get("CONDA_ACTIVATION_CMD", ""))
        return Interpreter("python", activation, DUAL_ENV_ACTIVATION)
    home = given.get(DUAL_HOME, "")
    if home and os.path.exists(os.path.join(home, ENGINE_INSTALLED)):
        return Interpreter(os.path.join(home, "bin", "python"), "", DUAL_HOME)
    if all(importlib.util.find_spec(name) is not None for name in NEEDED):
        return Interpreter(sys.executable, "", "Scipion's own environment")
    raise DualError(
        "The engine of DUAL is not installed. Install it with:  "
        f"{INSTALL_COMMAND}  (or set {DUAL_ENV_ACTIVATION} in the configuration of Scipion to the "
        "command that activates an environment of yours that has it)"
    )


def without_end(command: str) -> str:
    """A shell command without what ends it, so that another one can follow."""
    return command.strip().rstrip(";&").strip()


def with_conda(activation: str, hook: str) -> str:
    """An activation that the shell understands: one of conda needs Scipion's hook before it."""
    hook = without_end(hook)
    return f"{hook} && {activation}" if activation.startswith("conda ") and hook else activation


def _variables() -> Dict[str, str]:
    from dual_scipion import Plugin

    found = {name: Plugin.getVar(name) or "" for name in (DUAL_ENV_ACTIVATION, DUAL_HOME)}
    if found[DUAL_ENV_ACTIVATION].strip().startswith("conda "):
        found["CONDA_ACTIVATION_CMD"] = Plugin.getCondaActivationCmd() or ""
    return found


_checked: Dict[Interpreter, str] = {}


def check_engine() -> str:
    """What is wrong with the engine, with the command that mends it; nothing if all is well.

    An environment of the user's is tried in a process of its own, once for each of them. Nothing
    heavy is imported, here nor there.
    """
    try:
        interpreter = find_interpreter()
    except DualError as error:
        return str(error)
    if not interpreter.activation:
        return ""  # complete: its installer left its mark, or all modules were just found
    if interpreter not in _checked or _checked[interpreter]:
        _checked[interpreter] = _try_activation(interpreter)
    return _checked[interpreter]


def _try_activation(interpreter: Interpreter) -> str:
    from dual_scipion import Plugin, engine_requirements

    code = (
        "import importlib.util as u; "
        f"print('MISSING', *[n for n in {NEEDED!r} if u.find_spec(n) is None])"
    )
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", f"{interpreter.shell()} -c {shlex.quote(code)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=Plugin.getEnviron(),
            text=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
        output, status = done.stdout.strip(), done.returncode
    except subprocess.TimeoutExpired:
        output, status = f"no answer within {CHECK_TIMEOUT_S} s", 1
    lines = [line for line in output.splitlines() if line.startswith("MISSING")]
    if status or not lines:
        said = output.splitlines()[-1] if output else "nothing"
        return (
            f"{DUAL_ENV_ACTIVATION} ({interpreter.activation}) does not lead to a working Python; "
            f"it says: {said}. Mend it in the configuration of Scipion, or empty it and run:  "
            f"{INSTALL_COMMAND}"
        )
    missing = lines[-1].split()[1:]
    if not missing:
        return ""
    packages = " ".join(shlex.quote(requirement) for requirement in engine_requirements())
    source = shlex.quote(str(Path(__file__).resolve().parents[1]))
    return (
        f"The environment of {DUAL_ENV_ACTIVATION} lacks {', '.join(missing)}. Install with:  "
        f"{interpreter.shell()} -m pip install {packages}  and then  "
        f"{interpreter.shell()} -m pip install --no-deps {source}  ; or empty the variable and "
        f"run:  {INSTALL_COMMAND}"
    )


def command_line(
    command: str,
    config: str,
    placement: Placement,
    interpreter: Optional[Interpreter] = None,
    mark: Optional[str] = None,
) -> Tuple[str, str]:
    """Program and arguments for ``Protocol.runJob``.

    Parameters
    ----------
    command : of the engine, for example ``denoise`` or ``evaluate volumes``.
    config : path of the file of parameters that `write_options` made.
    placement : where it runs.
    interpreter : of the engine; found if not given.
    mark : path of a file that the job makes if the engine ends well.
    """
    interpreter = interpreter or find_interpreter()
    prefix = GPU_PREFIX if placement.use_gpu and placement.queue == NO_QUEUE else ""
    program = interpreter.shell(prefix)
    if command in DISTRIBUTED and placement.use_gpu and placement.gpus > 1:
        program += f" -m torch.distributed.run --standalone --nproc_per_node {placement.gpus}"
    program += " -m dual_core"
    config = shlex.quote(config)
    if prefix:
        config = config.replace("%", "%%")
    arguments = f"{command} --config {config}"
    if command not in DEVICELESS:
        arguments += f" --device {device(placement)}"
    if mark:
        arguments += f" && touch {shlex.quote(mark)}"
    return program, arguments


def device(placement: Placement) -> str:
    """The engine's ``--device``: ``cpu``, ``cuda``, or ``cuda:N`` (module docstring, last point).

    Never ``auto``: a GPU that is asked for and absent shall be an error, not a slow run.
    """
    if not placement.use_gpu:
        return "cpu"
    if placement.queue == QUEUED_PROTOCOL and placement.slot > 0:
        return f"cuda:{placement.slot}"
    return "cuda"


def write_options(path: str, options: Mapping[str, Any]) -> None:
    """Write the engine's options, atomically; ``None`` leaves the choice to the engine."""
    given = {name: value for name, value in options.items() if value is not None}
    temporary = f"{path}.{os.getpid()}.tmp"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(given, stream, indent=1)
        stream.write("\n")
    os.replace(temporary, path)


def read_options(path: str) -> Dict[str, Any]:
    """The options that `write_options` wrote.

    Raises
    ------
    DualError
        If they cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            options = json.load(stream)
    except (OSError, ValueError) as error:
        raise DualError(f"{path} cannot be read ({error}); run the protocol anew") from error
    if not isinstance(options, dict):
        raise DualError(f"{path} holds no options; run the protocol anew")
    return options


def last_error(log: str, start: int = 0) -> str:
    """The engine's last line of error in a log, read from an offset on; empty if there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(start)
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    found = [line for line in text.splitlines() if ERROR_MARK in line or line.startswith("error: ")]
    if not found:
        return ""
    return found[-1].replace(ERROR_MARK, "").replace("error: ", "", 1).strip()
