"""What shells need to complete the words of a command line, as scripts for bash, zsh and fish."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from shlex import quote

PROGRAM = "nybble"
SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Option:
    """An option of a command: its names, whether a value follows, and which values there are if they are
    few."""

    names: tuple[str, ...]
    has_value: bool
    choices: tuple[str, ...]
    help: str


def options_of(parser: argparse.ArgumentParser) -> list[Option]:
    """The options of a parser, in their order."""
    return [
        Option(
            tuple(action.option_strings),
            action.nargs != 0,
            tuple(map(str, action.choices or ())),
            (action.help or "") % {**vars(action), "prog": parser.prog},
        )
        for action in parser._actions
        if action.option_strings
    ]


def completion_script(
    shell: str,
    commands: Mapping[str, str],
    options: Mapping[str, list[Option]],
    words: Iterable[str],
) -> str:
    """The script for one of `SHELLS`. `commands`: name -> what it does; `options`: of each command; `words`:
    what may stand for a model, besides files."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(write(commands, options, " ".join(words))) + "\n"


def _bash(commands: Mapping[str, str], options: Mapping[str, list[Option]], words: str) -> Iterable[str]:
    """`-o default` completes files where nothing is offered, as after options whose values may be any."""
    yield f"_{PROGRAM}() {{"
    yield "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}"
    yield '    local command="" word offered=""'
    yield '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield "        if [[ $word != -* ]]; then command=$word; break; fi"
    yield "    done"
    yield "    COMPREPLY=()"
    yield '    case "$command $before" in'
    for name in commands:
        for option in options[name]:
            if option.has_value:
                pattern = "|".join(f'"{name} {spelling}"' for spelling in option.names)
                yield f'        {pattern}) offered="{" ".join(option.choices)}" ;;'
    yield f'        " "*) offered="{" ".join(commands)} --help --version --quiet" ;;'
    for name in commands:
        spellings = " ".join(spelling for option in options[name] for spelling in option.names)
        yield f'        "{name} "*)'
        yield f'            offered="{words}"'
        yield f'            if [[ $current == -* ]]; then offered="{spellings}"; fi ;;'
    yield "    esac"
    yield '    if [[ -n $offered ]]; then COMPREPLY=($(compgen -W "$offered" -- "$current")); fi'
    yield "}"
    yield f"complete -o default -F _{PROGRAM} {PROGRAM}"


def _zsh(commands: Mapping[str, str], options: Mapping[str, list[Option]], words: str) -> Iterable[str]:
    yield f"#compdef {PROGRAM}"
    yield f"_{PROGRAM}() {{"
    yield "    if (( CURRENT == 2 )); then"
    described = " ".join(quote(f"{name}:{text}") for name, text in commands.items())
    yield f"        local -a commands=({described})"
    yield "        _describe command commands"
    yield "        return"
    yield "    fi"
    yield "    local command=$words[2]"
    yield "    shift words; (( CURRENT-- ))"
    yield '    case "$command" in'
    for name in commands:
        yield f"        {name}) _arguments \\"
        for option in options[name]:
            text = _plain(option.help)
            value = "" if not option.has_value else f":value:({' '.join(option.choices)})"
            if option.has_value and not option.choices:
                value = ":value:_files"
            for spelling in option.names:
                yield f"            {quote(f'*{spelling}[{text}]{value}')} \\"
        yield f"            {quote(f'*:model or text:{{_values model {words}; _files}}')} ;;"
    yield "    esac"
    yield "}"
    yield "if [[ $zsh_eval_context[-1] == loadautofunc ]]"
    yield f'then _{PROGRAM} "$@"; else compdef _{PROGRAM} {PROGRAM}; fi'


def _fish(commands: Mapping[str, str], options: Mapping[str, list[Option]], words: str) -> Iterable[str]:
    for name, text in commands.items():
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {name} -d {quote(text)}"
    for name in commands:
        there = f"complete -c {PROGRAM} -n {quote(f'__fish_seen_subcommand_from {name}')}"
        yield f"{there} -a {quote(words)}"
        for option in options[name]:
            spelled = " ".join(map(_fish_name, option.names))
            values = f" -f -a {quote(' '.join(option.choices))}" if option.choices else ""
            value = " -r" if option.has_value else ""
            yield f"{there} {spelled}{value}{values} -d {quote(_plain(option.help))}"


def _fish_name(spelling: str) -> str:
    if spelling.startswith("--"):
        return f"-l {spelling[2:]}"
    return f"-s {spelling[1:]}" if len(spelling) == 2 else f"-o {spelling[1:]}"


def _plain(text: str) -> str:
    """Without what means something in the specifications of zsh."""
    return text.replace("[", "(").replace("]", ")").replace(":", ";").replace("\\", "")
