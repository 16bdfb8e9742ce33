"""Lark grammars, as llguidance reads them: they are checked, and the schemas in them.

A grammar is rules `name: …` and terminals `NAME: …`, and begins with the rule `start`:

    start: "answer: " (yes | no) reason?
    yes: "yes"
    no: "no, " NUMBER " times"
    reason: " because" /[a-z ]{1,80}/ "."
    NUMBER: /[1-9][0-9]*/

A terminal, a text in quotes and a /regular expression/ match as much text as they can. Beyond Lark there are

    <[128010]>        a token by its id, and <|python_tag|> by its name; only in rules, never in terminals:
                      no text and no regular expression matches a control token (`lark_text` writes them)
    %json {…}         a text that is valid by a JSON schema, which is checked as one that stands alone
    x[lazy]: /…/      as little text as possible; x[suffix="</a>"]: /(.|\\n)*/ goes on to the first "</a>"
    X: A & ~B         both; not

Source: llguidance, docs/syntax.md, with all that it allows.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import Any

from ...errors import RequestError
from ...tokenizer import Tokenizer
from .json_data import check_depth, check_text, decoded, plain
from .schema import check_repetitions, checked_schema, n_repetitions

MAX_LENGTH = 2**16
"""A grammar has at most so many characters, schemas in it not counted."""
MAX_REPEATS = 4096
"""`{m,n}` has bounds up to this one: each repetition may be a part of the grammar."""
MAX_CONJUNCTIONS = 12
"""A grammar has at most so many `&` and `~`: the states of a lexer grow exponentially with them."""

# What llguidance's lexer takes in one piece, so that brackets and % in it mean nothing.
_PIECES = re.compile(
    r"""(?: \# | // ) [^\n]*              # a comment
      | " (?: \\. | [^"\\\n] )* "
      | / (?P<regex> (?: \\. | [^/\\] )+ ) /
      | < [^<>\s]+ >
      | % (?P<json> json | regex | llguidance ) (?: [ \t\r\n]* )
      | \{ \s* (?P<low> [0-9]* ) \s* (?: , \s* (?P<high> [0-9]* ) \s* )? \}
      | (?P<open> [(\[{] )
      | (?P<close> [)\]}] )
      | (?P<repeat> [*+?] )
      | (?P<conjunction> [&~] )
    """,
    re.VERBOSE,
)
# llguidance would ask the tokenizer how to spell what is certain to come; the model can say.
_OPTIONS = '\n%llguidance {"no_forcing": true}\n'
# White space between values, in llama.cpp's manner: without bounds a small model may write nothing else.
_WHITE_SPACE = {"whitespace_pattern": r"\x20|\x0A{1,2}[\x20\x09]{0,40}"}


def checked_lark(text: str, name: str) -> str:
    """The grammar for llguidance; RequestError, which begins with the argument `name`, if it is too long or
    nested too deep, repeats too often, or has a schema that cannot be enforced."""
    check_text(text, name)
    parts: list[str] = []
    done = depth = length = n_conjunctions = n_repeats = 0
    while match := _PIECES.search(text, done):
        parts.append(text[done : match.end()])
        length += match.end() - done
        done = match.end()
        depth += (match["open"] is not None) - (match["close"] is not None)
        check_depth(depth, name)
        n_conjunctions += match["conjunction"] is not None
        n_repeats += n_repetitions(match["regex"] or match["repeat"] or "")
        for bound in (match["low"], match["high"]):
            if bound and (len(bound) > 9 or int(bound) > MAX_REPEATS):
                raise RequestError(f"{name} must not repeat more than {MAX_REPEATS} times, not {bound[:20]}")
        if kind := match["json"]:
            value, done = decoded(text, name, done)
            value = plain(value, name)
            if kind == "json":
                value = _with_white_space(checked_schema(value, name))
            parts.append(f" {json.dumps(value)} ")
    parts.append(text[done:])
    if length + len(parts[-1]) > MAX_LENGTH:
        raise RequestError(f"{name} must have at most {MAX_LENGTH} characters beside schemas")
    if n_conjunctions > MAX_CONJUNCTIONS:
        raise RequestError(f"{name} must have at most {MAX_CONJUNCTIONS} `&` and `~`, not {n_conjunctions}")
    check_repetitions(n_repeats, name)
    return "".join(parts) + _OPTIONS


def schema_lark(schema: dict[str, Any]) -> str:
    """The grammar of the texts that are valid by a schema from `checked_schema`."""
    return f"start: %json {json.dumps(_with_white_space(schema))}{_OPTIONS}"


def lark_literal(text: str) -> str:
    """A text in quotes, whatever its characters."""
    return json.dumps(text)


def lark_text(tokenizer: Tokenizer, text: str) -> str:
    """`text` as a sequence in a rule: control tokens by their ids, `<[5]>`, and all else in quotes.

    Tokens of type USER_DEFINED, which ordinary text may have, are in quotes: both the token and its letters
    are then allowed.
    """
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    if not any(id_ in tokenizer.control_ids for id_ in ids):
        return lark_literal(text)
    parts = []
    for is_control, group in groupby(ids, key=tokenizer.control_ids.__contains__):
        if is_control:
            parts += [f"<[{id_}]>" for id_ in group]
        else:
            parts.append(lark_literal(tokenizer.decode(group, skip_special_tokens=False, continuation=True)))
    return " ".join(parts)


def _with_white_space(schema: dict[str, Any]) -> dict[str, Any]:
    return {"x-guidance": _WHITE_SPACE, **schema}
