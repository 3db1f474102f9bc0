"""The forms and the command line say the same of what a user leaves alone.

docs/architecture.md says why options stand twice, in forms and in argparse. A run with the defaults
of a form must still be the run with the defaults of the command. What a form hands to the engine
is read from the protocol's own source: every entry of a dictionary of options that is made of form
parameters alone is evaluated on a protocol as Scipion creates it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import re
import sys
import textwrap
from typing import Any, Dict, Iterator, Tuple

import pytest
from pyworkflow import Config

from dual_core.cli.main import parser_of

COMMANDS = {
    "ProtDualAverage": "average",
    "ProtDualCompensateWedge": "compensate",
    "ProtDualDenoise": "denoise",
    "ProtDualEvaluate": "report",
    "ProtDualGrandModels": "pack",
    "ProtDualPickDog": "pick",
    "ProtDualSimulate": "simulate",
    "ProtDualTrain": "train",
    "ProtDualTranslate": "translate",
}
NO_ENGINE = {"ProtDualImportModel"}
# The steps of ProtDualEvaluate that call `dual evaluate`, whose options are others.
OTHER_COMMANDS = {"halvesStep", "truthStep", "picksStep"}

# (form, command): why a form begins with something else.
DIFFERENT: Dict[Tuple[str, str], Tuple[Any, Any]] = {
    # A form has no empty number: the command finds these itself where they are not given.
    ("pack", "occupancy"): (0.08, None),  # 0.08 is the command's, too, where no number is given
    ("pick", "threshold"): (4.0, None),  # 4 is the command's, too, unless there is --number
    ("pick", "diameter"): (280.0, None),  # the command must be told, as with the next
    ("translate", "direction"): ("to-clean", None),
    # A form is filled in once for a training, a command is tried out.
    ("pack", "count"): (4, 1),
    # Analyze Results shows it; on the command line it is a file more that somebody has to want.
    ("denoise", "explained"): (True, False),
}


def protocols() -> Dict[str, Any]:
    """The plugin's protocols by name, as Scipion creates them."""
    return {
        name: kind()
        for name, kind in Config.getDomain().getProtocols().items()
        if kind.__module__.startswith("dual_scipion.") and not kind.isBase()
    }


def functions(protocol: Any) -> Iterator[Tuple[ast.FunctionDef, Dict[str, Any]]]:
    """The methods of a protocol that the plugin wrote, and the names of their modules."""
    seen = set()
    for kind in type(protocol).__mro__:
        if not kind.__module__.startswith("dual_scipion."):
            continue
        for name, method in vars(kind).items():
            if inspect.isfunction(method) and name not in seen | OTHER_COMMANDS:
                seen.add(name)
                (node,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
                yield node, vars(sys.modules[kind.__module__])


def of_form_alone(node: ast.AST, parameters: Dict[str, Any]) -> bool:
    """Whether an expression uses a parameter of the form, and of the protocol nothing else."""
    used = [
        child.attr for child in ast.walk(node)
        if isinstance(child, ast.Attribute) and getattr(child.value, "id", "") == "self"
    ]
    text = ast.dump(node)
    named = re.findall(r"attr='getEnumText'.*?value='(\w+)'", text)
    known = {*parameters, "getEnumText", "_structureTexts", "shape"}
    return bool(used) and {*used, *named} <= known


def sent(protocol: Any) -> Dict[str, Any]:
    """What the untouched form hands to the engine, by the name of the option."""
    parameters = {
        name: None for name, _ in protocol.iterDefinitionAttributes()
        if not protocol.getParam(name).__class__.__name__.endswith("PointerParam")
    }
    found: Dict[str, Any] = {}
    for function, names in functions(protocol):
        scope: Dict[str, Any] = {**names, "self": protocol}
        for node in function.body:  # by_number = self.amount.get() == BY_NUMBER
            if isinstance(node, ast.Assign) and of_form_alone(node.value, parameters):
                with contextlib.suppress(NameError):
                    exec(compile(ast.Module([node], []), "form", "exec"), scope)
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                pairs = list(zip(node.keys, node.values))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                pairs = [(node.targets[0].slice, node.value)]
            else:
                continue
            for key, value in pairs:
                name = getattr(getattr(key, "value", key), "value", getattr(key, "value", None))
                if isinstance(name, str) and of_form_alone(value, parameters):
                    with contextlib.suppress(NameError):  # of the input's making, too
                        found[name] = eval(compile(ast.Expression(value), "form", "eval"), scope)
    return found


def options(command: str) -> Dict[str, argparse.Action]:
    return {action.dest: action for action in parser_of(command)._actions}


def test_every_protocol_is_looked_at():
    assert set(protocols()) == set(COMMANDS) | NO_ENGINE


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_untouched_form_runs_the_command_with_its_defaults(name):
    command, given = COMMANDS[name], sent(protocols()[name])
    known = options(command)
    assert "contrast" in given or command == "pack", "nothing was read from the source"
    assert set(given) <= set(known), "an option that the command does not have"
    other = {
        (command, option): (value, known[option].default)
        for option, value in given.items()
        if value is not None and value != known[option].default
    }
    assert other == {key: pair for key, pair in DIFFERENT.items() if key[0] == command}


def test_choices_of_a_form_are_those_of_the_command():
    """Their order in the form is the form's own; each must be one that the command takes."""
    for name, command in COMMANDS.items():
        known = options(command)
        for option, value in sent(protocols()[name]).items():
            choices = known[option].choices
            assert choices is None or value is None or value in choices, (name, option)
