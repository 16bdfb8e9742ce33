"""GBNF, llama.cpp's grammars: made into Lark ones by llguidance's converter.

The converter reads most of GBNF. What it would change in meaning, or cannot read, is written otherwise first:
`.`, which matches a newline too, escapes of characters by number, characters in brackets that mean something
in a regular expression, and repetitions of repetitions.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import RequestError
from .json_data import check_depth, check_text

_PIECES = re.compile(
    r"""(?P<comment> \# [^\n]* )
      | " (?P<text> (?: \\. | [^"\\] )* ) "
      | \[ (?P<negated> \^? ) (?P<letters> (?: \\. | [^\]\\] )* ) \]
      | (?P<any> \. )
      | (?P<open> \( )
      | (?P<repeated> (?<= [*+?}] ) \s* \) (?= \s* [*+?{] ) )
      | (?P<close> \) )
    """,
    re.VERBOSE | re.DOTALL,
)
_LETTERS = re.compile(
    r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([nrt\\\"\[\]]))|(-)|([^\\])", re.DOTALL
)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_IN_TEXT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}
MAX_RULES = 1000
"""The converter takes a time that grows with the square of their number."""
_ANY = r'([^\x0a] | "\n")'


def rewritten(text: str, name: str) -> str:
    """The grammar in the part of GBNF that the converter keeps the meaning of.

    Raises RequestError, which begins with the argument `name`, for a wrong escape, and if the grammar is too
    long or nested too deep.
    """
    check_text(text, name)
    if (n_rules := text.count("::=")) > MAX_RULES:
        raise RequestError(f"{name} must have at most {MAX_RULES} rules, not {n_rules}")
    depth = 0

    def piece(match: re.Match[str]) -> str:
        nonlocal depth
        if match["comment"] is not None:
            return ""
        if match["any"]:
            return _ANY
        if match["text"] is not None:
            return f'"{"".join(_in_text(letter) for letter, _ in _letters(match["text"], name))}"'
        if match["letters"] is not None:
            letters = _letters(match["letters"], name)
            inner = "".join("-" if is_range else _in_brackets(letter) for letter, is_range in letters)
            return f"[{match['negated']}{inner}]"
        depth += 1 if match["open"] else -1
        check_depth(depth, name)
        return ' "")' if match["repeated"] else match[0]

    return _PIECES.sub(piece, text)


def gbnf_to_lark(text: str, name: str, converter: Any) -> str:
    """The Lark grammar of a GBNF one, made by `converter`, llguidance's function; RequestError, which begins
    with the argument `name`, if it cannot read it."""
    try:
        lark = converter(rewritten(text, name))
    except RequestError:
        raise
    except Exception as error:  # the converter raises plain Exceptions, and IndexError at a sudden end
        raise RequestError(f"{name} is no GBNF grammar: {str(error) or type(error).__name__}") from error
    return str(lark)


def _letters(text: str, name: str) -> list[tuple[str, bool]]:
    """The characters of a text in quotes or brackets, and which are the minus of a range there."""
    found: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        match = _LETTERS.match(text, position)
        number = match and (match[1] or match[2] or match[3])
        if match is None or (number and (int(number, 16) > 0x10FFFF or 0xD800 <= int(number, 16) <= 0xDFFF)):
            raise RequestError(f"`{name}`: {text[position : position + 10]!r} is no escape of GBNF")
        if number:
            found.append((chr(int(number, 16)), False))
        else:
            escaped, minus, letter = match[4], match[5], match[6]
            found.append((_ESCAPED.get(escaped, escaped) if escaped else minus or letter, bool(minus)))
        position = match.end()
    return [
        (letter, is_minus and 0 < i < len(found) - 1 and not found[i - 1][1])
        for i, (letter, is_minus) in enumerate(found)
    ]


def _in_text(letter: str) -> str:
    return _IN_TEXT.get(letter) or (letter if letter.isprintable() else _numbered(letter))


def _in_brackets(letter: str) -> str:
    return letter if letter.isalnum() and letter.isascii() else _numbered(letter)


def _numbered(letter: str) -> str:
    """A character by its number, where that has two digits; the converter drops zeros of longer ones."""
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x80 else letter
