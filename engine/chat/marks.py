"""Names of control tokens inside a conversation's own texts are broken by a mark, so that they stay text.

A template joins what it writes itself, control tokens among it, with texts of users. A mark, a character of
Unicode's private use, is put after every character of a user's text with which the name of a control token
may begin; it survives whatever a template does with the text (trim, split, join, tojson). `Tokenizer.encode`
takes the marks out after it has looked for control tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from itertools import chain
from typing import Any

from ...errors import RequestError
from ...tokenizer.longest_match import LongestMatch

_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
_TAG = re.compile(r"<[^<>\s{}'\"]+>")


class Marker:
    """Marks texts for a template `source`; `names` are those of the control tokens.

    Tags that the template itself looks for (`</think>`, `<tool_response>`) stay as they are, unless the name
    of a control token begins with them, or they with it. Names that begin with a letter are marked only where
    they are complete.
    """

    def __init__(self, names: Collection[str], source: str) -> None:
        self._names = LongestMatch(frozenset(filter(None, names)))
        firsts = {name[0] for name in names if name}
        self._letters = frozenset(filter(str.isalnum, firsts))
        self._first = re.compile(f"[{''.join(map(re.escape, sorted(firsts)))}]" if firsts else "(?!)")
        tags = {tag for tag in _TAG.findall(source) if not self._names.length_at(tag, 0)}
        self._tags = LongestMatch(frozenset(tags))
        self._source = source

    def mark_for(self, *values: Any) -> str:
        """A mark that occurs in none of the values of JSON's types; "" if there is nothing to mark in
        them."""
        is_needed = any(self._first.search(text) for text in chain(*map(_texts, values)))
        return unused_character(self._source, *values) if is_needed else ""

    def marked(self, value: Any, mark: str) -> Any:
        """A copy of a value of JSON's types with marks in its texts."""
        if isinstance(value, str):
            return self._first.sub(lambda found: self._broken(value, found, mark), value) if mark else value
        if isinstance(value, list):
            return [self.marked(item, mark) for item in value]
        if isinstance(value, dict):
            return {self.marked(key, mark): self.marked(item, mark) for key, item in value.items()}
        return value

    def _broken(self, text: str, found: re.Match[str], mark: str) -> str:
        names = self._names if found[0] in self._letters else None
        if self._tags.length_at(text, found.start()) or (names and not names.length_at(text, found.start())):
            return found[0]
        return found[0] + mark


def unused_character(*values: Any) -> str:
    """A private character that occurs in none of the values of JSON's types, not spelled out either."""
    texts = list(chain(*map(_texts, values)))
    used = set(chain(*texts))
    for character in map(chr, chain(*_PRIVATE)):
        if character not in used and not any(_escaped(character) in text for text in texts):
            return character
    raise RequestError("the conversation uses every private character of Unicode; leave one of them out")


def with_plain_marks(text: str, mark: str) -> str:
    """The text with marks as they were, where `tojson(ensure_ascii=true)` has spelled them out."""
    return text.replace(_escaped(mark), mark) if mark else text


def _escaped(mark: str) -> str:
    return json.dumps(mark)[1:-1]


def _texts(value: Any) -> list[str]:
    """All texts in a value of JSON's types."""
    texts, left = [], [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += [*part, *part.values()]
    return texts
