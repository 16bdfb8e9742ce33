"""Writes Lark grammars of calls (`engine/grammar/lark.py` says what they may have)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_ANY = "/(.|\\n)*/"
_CONTROL = re.compile(r'(?P<control><\[\d+\]>)(?: (?P<letters>"(?:[^"\\]|\\.)*"))?\Z')
_DEFINITIONS = ("$defs", "definitions")


class LarkWriter:
    """Collects rules. `quote` makes items of a text, control tokens by their ids; `is_text` says whether a
    text has no control tokens. `is_alone`: there is one call at the most."""

    def __init__(
        self, quote: Callable[[str], str], is_text: Callable[[str], bool], is_alone: bool = False
    ) -> None:
        self._is_alone = is_alone
        self._quote, self._is_text = quote, is_text
        self._rules: list[str] = []

    def text(self, text: str) -> str:
        """Items for a fixed text; none for ""."""
        return self._quote(text) if text else ""

    def literal(self, text: str) -> str:
        """A text in letters, also where it is the name of a control token."""
        return json.dumps(text)

    def parts(self, text: str) -> tuple[str, str] | None:
        """The item of the control token with which a text begins, or "", and what comes after it in letters;
        None if control tokens are elsewhere, too."""
        if self._is_text(text):
            return "", text
        found = _CONTROL.match(self.text(text))
        if found is None:
            return None
        return found["control"], json.loads(found["letters"] or '""')

    def rule(self, body: str, options: str = "") -> str:
        """The name of a new rule."""
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{options}: {body or self._quote('')}")
        return name

    def any_of(self, bodies: Iterable[str]) -> str:
        """One of several."""
        return f"({' | '.join(bodies)})"

    def more(self, items: str) -> str:
        """Any number of further calls, which are `items`."""
        return "" if self._is_alone else f"({items})*"

    def text_until(self, end: str) -> str:
        """Any text, up to the first `end` and with it."""
        if not self._is_text(end):
            return f"{_ANY} {self.text(end)}"
        return self.letters_until(end)

    def letters_until(self, end: str) -> str:
        """Any text, up to the first `end` that is written in letters and with it."""
        return self.rule(_ANY, f"[suffix={self.literal(end)}]")

    def json(self, schema: Mapping[str, Any] | bool, root: Mapping[str, Any] | None = None) -> str:
        """A value of a schema, which may be a part of `root`, where its definitions are."""
        if isinstance(schema, bool):
            return f"%json {json.dumps(schema)}"
        root = root or schema
        shared = {key: root[key] for key in _DEFINITIONS if key in root}
        return f"%json {json.dumps({**schema, **shared})}"

    def grammar(self, start: str) -> str:
        """The whole grammar."""
        return "\n".join([f"start: {start}", *self._rules])


def series(lark: LarkWriter, items: Iterable[tuple[str, bool]], separator: str) -> str:
    """The items, each with whether it must be there, those that must first; separators between those that
    are."""
    ordered = sorted(items, key=lambda item: not item[1])
    between = lark.text(separator)
    if any(is_required for _, is_required in ordered):
        (first, _), *others = ordered
        rest = [f"{between} {item}" if must else f"({between} {item})?" for item, must in others]
        return " ".join([first, *rest])
    starts = [
        " ".join([item, *(f"({between} {other})?" for other, _ in ordered[i + 1 :])])
        for i, (item, _) in enumerate(ordered)
    ]
    return f"{lark.any_of(starts)}?" if starts else ""


def wrapped(schema: Mapping[str, Any], properties: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The schema of an object with constant `properties`, and under `key` a value of `schema`; what `schema`
    defines is moved to the top, where its references look."""
    shared = {name: schema[name] for name in _DEFINITIONS if name in schema}
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    entries = {**{name: {"const": value} for name, value in properties.items()}, key: inner}
    return {
        "type": "object",
        "properties": entries,
        "required": list(entries),
        "additionalProperties": False,
        **shared,
    }
