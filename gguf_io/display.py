"""Short forms of objects: a few lines of text, and a table in a notebook. No array is shown whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from html import escape
from itertools import islice
from typing import TypeVar

import numpy as np

K = TypeVar("K")
V = TypeVar("V")

_LINE = 110
_MAX_TEXT = 80
_MAX_REPR = 200
_MAX_ITEMS = 5
_MAX_ROWS = 100
_BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")  # the number of a block in the name of a tensor or an activation


def brief(value: object) -> str:
    """A value in about 200 characters; an array is its dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, str | bytes) and len(value) > _MAX_TEXT:
        return f"{value[:_MAX_TEXT]!r}… ({len(value)} in all)"
    if isinstance(value, list):
        return f"[{_first(map(brief, value), len(value))}]"
    if isinstance(value, tuple):
        return f"({_first(map(brief, value), len(value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict) and type(value).__repr__ is dict.__repr__:
        return f"{{{_first((f'{brief(k)}: {brief(v)}' for k, v in value.items()), len(value))}}}"
    text = repr(value)
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}…"


def _first(items: Iterable[str], n: int) -> str:
    """The first of n items, joined, as many as fit."""
    kept: list[str] = []
    n_free = _MAX_REPR
    for item in islice(items, _MAX_ITEMS):
        if kept and len(item) > n_free:
            break
        kept.append(item)
        n_free -= len(item)
    return ", ".join(kept if len(kept) == n else [*kept, f"… {n} in all"])


class Shown:
    """Base of classes with a short repr, and a table in a notebook, of their `_facts`."""

    __slots__ = ()

    def _facts(self) -> dict[str, str]:
        """Name -> text; the fields of a dataclass, unless a class says otherwise."""
        return {field.name: brief(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        words = [f"{name}={fact}" for name, fact in self._facts().items()]
        lines = [f"{type(self).__name__}("]
        for i, word in enumerate(words):
            word += ")" if i == len(words) - 1 else ", "
            if len(lines[-1]) + len(word) > _LINE:
                lines[-1] = lines[-1].rstrip()
                lines.append("    ")
            lines[-1] += word
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self._facts().items())


class Table(Mapping[K, V]):
    """A read-only mapping; `what` is the plural of its entries, as in "30 layers".

    Its repr shows the first keys and the last. In a notebook it is a table, with a row for all blocks of a
    model whose values are shown alike.
    """

    def __init__(self, entries: Mapping[K, V], what: str) -> None:
        self._entries = entries
        self._what = what

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        keys = [repr(key) for key in self._entries]
        if len(keys) > _MAX_ITEMS:
            keys[_MAX_ITEMS - 1 : -1] = ["…"]
        kinds = {brief(value) for value in self._entries.values() if isinstance(value, np.ndarray)}
        each = f"; each {kinds.pop()}" if len(kinds) == 1 else ""
        return f"<{len(self)} {self._what}{': ' if keys else ''}{', '.join(keys)}{each}>"

    def _repr_html_(self) -> str:
        alike: dict[tuple[str, ...], list[K]] = {}
        for key, value in self._entries.items():
            cells = value._facts().values() if isinstance(value, Shown) else [brief(value)]
            pattern = _BLOCK.sub("*", key) if isinstance(key, str) else ""
            alike.setdefault((pattern, *cells), []).append(key)
        rows = [
            (str(keys[0]), *cells)
            if len(keys) == 1
            else (f"{pattern or f'{keys[0]} … {keys[-1]}'} ({len(keys)})", *cells)
            for (pattern, *cells), keys in alike.items()
        ]
        return html_table(f"{len(self)} {self._what}", rows)


def html_table(title: str, rows: Iterable[Iterable[str]], *, keeps_lines: bool = False) -> str:
    """A table of rows of texts, the first hundred, as HTML; texts are escaped."""
    rows = [tuple(row) for row in rows]
    shown = rows if len(rows) <= _MAX_ROWS else [*rows[:_MAX_ROWS], (f"… {len(rows)} in all",)]
    cell = f'<td style="text-align:left{";white-space:pre-wrap" if keeps_lines else ""}">{{}}</td>'
    lines = ["".join(cell.format(escape(text)) for text in row) for row in shown]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><caption>{escape(title)}</caption>\n{body}\n</table>"
