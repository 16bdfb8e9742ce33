"""Grammars: what a text must follow, as the user says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ...errors import RequestError
from .gbnf import rewritten
from .json_data import check_text, decoded, parsed, plain
from .lark import MAX_LENGTH, checked_lark, lark_literal
from .schema import check_repetitions, checked_schema, n_repetitions

MAX_CHOICES = 4096


@dataclass(frozen=True)
class Grammar:
    """What a text must follow: made by one of the functions below, which check it as far as text alone can
    tell, and raise RequestError. llguidance sees it when it is compiled (`GrammarCompiler`)."""

    kind: Literal["json_schema", "regex", "choice", "lark", "gbnf"]
    source: str
    """The schema in JSON, the regular expression, or the GBNF grammar; else a Lark grammar."""
    given: str = field(default="", compare=False)
    """What it was made of, as a text; the texts of a choice in JSON. See `again`."""

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool | str, name: str = "json_schema") -> Self:
        """A JSON text that is valid by a schema: a dict, or its text. Its properties come in their order in
        the schema.

        A keyword that cannot be enforced is an error with its place (schema.py).
        """
        value = parsed(schema, name) if isinstance(schema, str) else plain(schema, name)
        return cls("json_schema", json.dumps(checked_schema(value, name)), json.dumps(value))

    @classmethod
    def json_object(cls) -> Self:
        """A JSON object."""
        return cls.json_schema({"type": "object"}, "json_object")

    @classmethod
    def regex(cls, pattern: str, name: str = "regex") -> Self:
        """A text that matches a regular expression as a whole: Rust's syntax, without assertions about what
        is around a place, and without references to groups."""
        if not isinstance(pattern, str):
            raise RequestError(f"{name} must be a text, not {pattern!r:.80}")
        check_text(pattern, name)
        if len(pattern) > MAX_LENGTH:
            raise RequestError(f"{name} must have at most {MAX_LENGTH} characters, not {len(pattern)}")
        check_repetitions(n_repetitions(pattern), name)
        return cls("regex", pattern, pattern)

    @classmethod
    def choice(cls, texts: Sequence[str], name: str = "choice") -> Self:
        """One of some texts."""
        if (
            not isinstance(texts, list | tuple)
            or not 1 <= len(texts) <= MAX_CHOICES
            or not all(isinstance(text, str) for text in texts)
        ):
            raise RequestError(f"{name} must be a list of 1 to {MAX_CHOICES} texts, not {texts!r:.200}")
        texts = plain(texts, name)
        literals = " | ".join(dict.fromkeys(map(lark_literal, texts)))
        source = checked_lark(f"start: CHOICE\nCHOICE: {literals}", name)
        return cls("choice", source, json.dumps(texts))

    @classmethod
    def lark(cls, text: str, name: str = "grammar") -> Self:
        """A text by a Lark grammar (lark.py)."""
        _check_is_text(text, name)
        return cls("lark", checked_lark(text, name), text)

    @classmethod
    def gbnf(cls, text: str, name: str = "grammar") -> Self:
        """A text by a GBNF grammar, whose first rule is `root`."""
        _check_is_text(text, name)
        rewritten(text, name)
        return cls("gbnf", text, text)

    @classmethod
    def from_text(cls, text: str, name: str = "grammar") -> Self:
        """A text by a grammar in GBNF, if it has `::=`, or else in Lark."""
        _check_is_text(text, name)
        return cls.gbnf(text, name) if "::=" in text else cls.lark(text, name)

    @classmethod
    def again(cls, kind: str, given: str) -> Self:
        """The grammar of that `kind` and `given`, with all checks."""
        makers: dict[str, Callable[[Any], Self]] = {
            "json_schema": lambda text: cls.json_schema(decoded(text, kind)[0]),
            "choice": lambda text: cls.choice(decoded(text, kind)[0]),
            "regex": cls.regex,
            "lark": cls.lark,
            "gbnf": cls.gbnf,
        }
        if kind not in makers:
            raise RequestError(f"there is no grammar of the kind {kind!r:.60}")
        return makers[kind](given)

    @property
    def name(self) -> str:
        """The argument that it was given as, for messages."""
        return "grammar" if self.kind in ("lark", "gbnf") else self.kind


def _check_is_text(text: Any, name: str) -> None:
    if not isinstance(text, str):
        raise RequestError(f"{name} must be a text, not {text!r:.80}")
