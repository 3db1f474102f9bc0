"""Print a script that completes commands, options, choices and file names in a shell.

For the current shell: source <(dual completion bash). For every new one put that line, or for zsh
the same after 'autoload -U bashcompinit && bashcompinit', into ~/.bashrc or ~/.zshrc.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Dict, Iterator, List, Tuple

EXAMPLE = """
source <(dual completion bash)
dual completion bash > ~/.local/share/bash-completion/completions/dual
"""

SCRIPT = """\
# Completion of 'dual' {version}, written by 'dual completion'.
declare -gA _dual_words=(
{words}
)
_dual() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    local key="${{COMP_WORDS[1]}}" word
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        key=""
    elif (( COMP_CWORD > 2 )) && [[ "${{COMP_WORDS[2]}}" != -* \\
            && -n "${{_dual_words["$key ${{COMP_WORDS[2]}}"]}}" ]]; then
        key="$key ${{COMP_WORDS[2]}}"
    fi
    word="${{_dual_words["$key $previous"]}}"
    if [[ "$previous" == --* && -n "$word" ]]; then
        COMPREPLY=($(compgen -W "$word" -- "$current"))
    elif [[ "$current" == -* || -z "$key" ]] \\
            || [[ "$key" =~ ^(evaluate|completion)$ && $COMP_CWORD == 2 ]]; then
        COMPREPLY=($(compgen -W "${{_dual_words["${{key:-dual}}"]}}" -- "$current"))
    fi
}}
complete -o default -F _dual dual
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual completion``."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="zsh takes the script for bash")


def run(args: argparse.Namespace) -> int:
    """Run ``dual completion``: a script on stdout."""
    from dual_core import __version__

    lines = [f"    [{shlex.quote(key)}]={shlex.quote(words)}" for key, words in all_words()]
    print(SCRIPT.format(version=__version__, words="\n".join(lines)), end="")
    return 0


def all_words() -> Iterator[Tuple[str, str]]:
    """What may follow: after ``dual``, a command, a command and its option with choices."""
    from dual_core.cli import main

    yield "dual", " ".join([*main.COMMANDS, "--help", "--version"])
    for name in main.COMMANDS:
        yield from _words_of(name, main.parser_of(name))


def _words_of(name: str, parser: argparse.ArgumentParser) -> Iterator[Tuple[str, str]]:
    words: List[str] = []
    nested: Dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            nested.update(action.choices)
        words += [option for option in action.option_strings if option.startswith("--")]
        for option in action.option_strings:
            if action.choices and option.startswith("--"):
                yield f"{name} {option}", " ".join(map(str, action.choices))
        if action.choices and not action.option_strings and not nested:
            words += map(str, action.choices)
    yield name, " ".join([*nested, *words])
    for inner, other in nested.items():
        yield from _words_of(f"{name} {inner}", other)
