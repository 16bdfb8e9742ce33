"""Replaces Python arguments in the library's messages by options of the command line."""

import argparse
import re

# `NAME`, NAME=VALUE, or NAME at the start of a message (see errors.py).
_ARGUMENT = re.compile(r'`([\w.]+)`|\b(\w+)=(?:"([^"]*)"|([\w.]+))|\A(\w+)(?= must )')

_ELSEWHERE = {
    "LLM.activations": "`nybble inspect MODEL --activations`",
    "LLM.embed": "`nybble embed`",
    "LLM.generate": "--raw",
}


def in_options(message: str, parser: argparse.ArgumentParser) -> str:
    """`message` with -c 512 for n_ctx=512: the `dest` of an option is its argument's name in Python."""
    options = {action.dest: action for action in parser._actions if action.option_strings}

    def replaced(match: re.Match[str]) -> str:
        marked, assigned, text, number, first = match.groups()
        name = marked or assigned or first
        if name not in options:
            return _ELSEWHERE.get(name, match[0])
        words = [options[name].option_strings[0], text or number or ""]
        return " ".join(words).strip() if options[name].nargs != 0 else words[0]

    return _ARGUMENT.sub(replaced, message)
