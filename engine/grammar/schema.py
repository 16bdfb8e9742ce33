"""JSON schemas: every keyword is checked before llguidance sees it, for it ignores those it does not know.

A keyword is enforced, or it is an annotation, which allows and forbids nothing, or it is an error that says
where it stands. What depends on several keywords (is `oneOf` a choice of disjoint schemas?) llguidance
decides when it compiles the schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import lcm
from typing import Any
from urllib.parse import unquote

from ...errors import RequestError, did_you_mean
from .json_data import below

FORMATS = (
    *("date-time", "time", "date", "duration", "email"),
    *("hostname", "ipv4", "ipv6", "uuid", "uri"),
)
MAX_ITEMS = 4096
"""At most so many items, or properties, are counted: each is a part of the grammar."""
MAX_STRING_LENGTH = 2**16
"""Strings are counted at most so far: each length is a state of a lexer."""
MAX_NUMBER = 2**53
"""llguidance has numbers as float64, which holds integers up to this one."""
MAX_REPETITIONS = 2048
"""Regular expressions of a schema or a grammar have at most so many `*`, `+`, `?` and `{`: the time to
compile one grows with their square."""
MAX_MERGED_PATTERNS = 8
"""Where schemas are merged, all their patterns may have to match a text: the states of a lexer grow
exponentially with them."""
MAX_MULTIPLE = 100_000
"""Remainders by the least common multiple of all `multipleOf` are counted, each a state of a lexer."""

_ANNOTATIONS = frozenset(
    (
        *("title", "description", "default", "example", "examples"),
        *("deprecated", "readOnly", "writeOnly", "$comment"),
    )
)
_APPLIED = frozenset(("allOf", "anyOf", "oneOf", "$ref"))
_DRAFTS = (
    *("https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema"),
    *(f"http://json-schema.org/draft-0{n}/schema" for n in (7, 6, 4)),
)
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_UNENFORCED = frozenset(
    (
        *("not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas"),
        *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"),
        *("propertyNames", "unevaluatedProperties", "contentEncoding", "contentMediaType", "contentSchema"),
        *("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"),
        *("nullable", "discriminator", "x-guidance"),
    )
)
"""Keywords of JSON Schema and OpenAPI that are known, and not enforced."""


def checked_schema(schema: Any, name: str) -> dict[str, Any]:
    """A copy of `schema`, JSON as `plain` gives it, without annotations: what llguidance enforces.

    Raises RequestError, which begins with the argument `name`, for the first keyword that cannot be enforced,
    and for one with a wrong value; both with the place, as a JSON pointer.
    """
    if schema is True:
        return {}
    if schema is False:
        raise RequestError(f"`{name}`: the schema is false, so nothing is valid")
    if not isinstance(schema, dict):
        raise RequestError(f"{name} must be an object, not {schema!r:.80}")
    checker = _Checker(name)
    kept: dict[str, Any] = checker.schema(schema, "#")
    checker.check_whole()
    return kept


def n_repetitions(pattern: str) -> int:
    """How many repetitions a regular expression has, at the most."""
    return sum(map(pattern.count, "*+?{"))


def check_repetitions(n: int, name: str) -> None:
    """RequestError if the argument `name` has more than MAX_REPETITIONS."""
    if n > MAX_REPETITIONS:
        raise RequestError(f"{name} must have at most {MAX_REPETITIONS} `*`, `+`, `?` and `{{`, not {n}")


class _Checker:
    """Goes through a schema; `places` are the schemas in it, `references` the values of `$ref` by place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: set[str] = set()
        self._anchors: set[str] = set()
        self._references: dict[str, str] = {}
        self._multiples: list[Decimal] = []
        self._n_patterns = self._n_repetitions = 0
        self._merges = False

    def schema(self, value: Any, place: str) -> Any:
        if not isinstance(value, dict | bool):
            raise self._wrong(place, "a schema, an object or a bool", value)
        self._places.add(place)
        if isinstance(value, bool):
            return value
        kept = {}
        for keyword, argument in value.items():
            at = below(place, keyword)
            if keyword in _KEYWORDS:
                kept[keyword] = _KEYWORDS[keyword](self, argument, at)
            elif keyword in _ROOT_ONLY:
                _ROOT_ONLY[keyword](self, argument, at, place == "#")
            elif keyword == "uniqueItems" and argument is False:
                pass  # says nothing
            elif keyword in _UNENFORCED or not _is_annotation(keyword):
                raise self._refused(keyword, at)
        self._check_together(kept, place)
        return kept

    def check_whole(self) -> None:
        """RequestError for a `$ref` that names no schema in this one, and for what is too much in all."""
        for at, target in self._references.items():
            if unquote(target) not in self._places and target.removeprefix("#") not in self._anchors:
                raise RequestError(
                    f'`{self._name}`: "$ref" at {at} must be the pointer of a schema in this one, as'
                    f" #/$defs/name, not {target!r:.80}"
                )
        if self._merges and self._n_patterns > MAX_MERGED_PATTERNS:
            raise RequestError(
                f'{self._name} must have at most {MAX_MERGED_PATTERNS} "pattern" and "format" if it merges'
                ' schemas, by "allOf", or by "anyOf", "oneOf" or "$ref" beside other keywords, not'
                f" {self._n_patterns}"
            )
        check_repetitions(self._n_repetitions, self._name)
        if _common_multiple(self._multiples) > MAX_MULTIPLE:
            raise RequestError(
                f'`{self._name}`: the least common multiple of all "multipleOf" must have at most'
                f" {len(str(MAX_MULTIPLE)) - 1} digits, those after the point of any counted"
            )

    def _check_together(self, kept: dict[str, Any], place: str) -> None:
        """RequestError for keywords that cannot be enforced beside each other."""
        if isinstance(kept.get("items"), list):
            if "prefixItems" in kept:
                raise self._refused("prefixItems", below(place, "prefixItems"), 'beside a list in "items"')
        elif "additionalItems" in kept:
            why = 'where "items" is no list; write "items"'
            raise self._refused("additionalItems", below(place, "additionalItems"), why)
        applied = kept.keys() & _APPLIED
        if "allOf" in kept or (applied and len(kept.keys() - {"$defs", "definitions", "$anchor"}) > 1):
            self._merges = True
        n_free = kept.get("minProperties", 0) - len(kept.get("required", ()))
        if n_free > 1:
            why = 'for more than one property beyond those in "required", since names may come twice'
            raise self._refused("minProperties", below(place, "minProperties"), why)

    def schemas(self, value: Any, at: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self._wrong(at, "a list of schemas", value)
        return [self.schema(inner, below(at, i)) for i, inner in enumerate(value)]

    def items(self, value: Any, at: str) -> Any:
        return self.schemas(value, at) if isinstance(value, list) and value else self.schema(value, at)

    def named_schemas(self, value: Any, at: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(at, "an object of schemas", value)
        return {key: self.schema(inner, below(at, key)) for key, inner in value.items()}

    def type(self, value: Any, at: str) -> Any:
        types = value if isinstance(value, list) else [value]
        if not types or not all(isinstance(one, str) and one in _TYPES for one in types):
            raise self._wrong(at, f"of {', '.join(_TYPES)}", value)
        return value

    def enum(self, value: Any, at: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self._wrong(at, "a list of values", value)
        return [self.constant(inner, below(at, i)) for i, inner in enumerate(value)]

    def constant(self, value: Any, at: str) -> Any:
        if isinstance(value, dict):
            return {key: self.constant(inner, below(at, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.constant(inner, below(at, i)) for i, inner in enumerate(value)]
        return self.number(value, at) if isinstance(value, int | float) and value not in (0, 1) else value

    def number(self, value: Any, at: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_NUMBER:
            raise self._wrong(at, "a number from -2**53 to 2**53", value)
        return value

    def bound(self, value: Any, at: str) -> float | bool:
        return value if isinstance(value, bool) else self.number(value, at)  # a bool: drafts before 6

    def text(self, value: Any, at: str) -> str:
        if not isinstance(value, str):
            raise self._wrong(at, "a text", value)
        return value

    def pattern(self, value: Any, at: str) -> str:
        self._n_patterns += 1
        self._n_repetitions += n_repetitions(self.text(value, at))
        return str(value)

    def patterns(self, value: Any, at: str) -> dict[str, Any]:
        kept = self.named_schemas(value, at)
        self._n_repetitions += sum(map(n_repetitions, kept))
        return kept

    def multiple(self, value: Any, at: str) -> float:
        multiple = Decimal(repr(self.number(value, at)))
        if not multiple:
            raise self._wrong(at, "more than 0", value)
        self._multiples.append(abs(multiple))
        return self.number(value, at)

    def texts(self, value: Any, at: str) -> list[str]:
        if not isinstance(value, list):
            raise self._wrong(at, "a list of names", value)
        return [self.text(inner, below(at, i)) for i, inner in enumerate(value)]

    def format(self, value: Any, at: str) -> str:
        self._n_patterns += 1
        if not isinstance(value, str) or value not in FORMATS:
            raise self._wrong(at, f"one of {', '.join(FORMATS)}: others cannot be enforced", value)
        return str(value)

    def n_items(self, value: Any, at: str) -> int:
        return self._count(value, at, MAX_ITEMS)

    def n_letters(self, value: Any, at: str) -> int:
        return self._count(value, at, MAX_STRING_LENGTH)

    def reference(self, value: Any, at: str) -> str:
        self._references[at] = self.text(value, at)
        return str(value)

    def anchor(self, value: Any, at: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]{0,100}", self.text(value, at)):
            raise self._wrong(at, "a name", value)
        self._anchors.add(value)
        return str(value)

    def draft(self, value: Any, at: str, is_root: bool) -> None:
        if not is_root or not isinstance(value, str) or value.removesuffix("#") not in _DRAFTS:
            raise self._wrong(at, "a draft of JSON Schema from 4 to 2020-12, at the root", value)

    def identifier(self, value: Any, at: str, is_root: bool) -> None:
        if not is_root:
            raise self._refused(at.rpartition("/")[2], at, "below the root")

    def _count(self, value: Any, at: str, largest: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
            raise self._wrong(at, f"an integer from 0 to {largest}", value)
        return value

    def _wrong(self, at: str, expected: str, found: Any) -> RequestError:
        return RequestError(f"`{self._name}`: at {at} must be {expected}, not {found!r:.80}")

    def _refused(self, keyword: str, at: str, why: str = "") -> RequestError:
        hint = "" if keyword in _KEYWORDS or keyword in _UNENFORCED else did_you_mean(keyword, _KEYWORDS, 0.8)
        return RequestError(
            f'`{self._name}`: "{keyword[:40]}" at {at[:200]} cannot be enforced{" " + why if why else ""}'
            f"{hint or '; leave it out, and check the finished text yourself'}"
        )


def _common_multiple(numbers: list[Decimal]) -> int:
    """The least common multiple, in units of the last digit of any of them."""
    exponents = [int(number.normalize().as_tuple().exponent) for number in numbers]
    n_digits = max(0, -min(exponents, default=0))
    return lcm(*(int(number.scaleb(n_digits)) for number in numbers))


def _is_annotation(keyword: str) -> bool:
    return keyword in _ANNOTATIONS or keyword.startswith("x-")


_KEYWORDS: dict[str, Callable[[_Checker, Any, str], Any]] = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _Checker.schemas),
    **dict.fromkeys(("additionalItems", "additionalProperties"), _Checker.schema),
    **dict.fromkeys(("properties", "$defs", "definitions"), _Checker.named_schemas),
    **dict.fromkeys(("minItems", "maxItems", "minProperties", "maxProperties"), _Checker.n_items),
    **dict.fromkeys(("minLength", "maxLength"), _Checker.n_letters),
    **dict.fromkeys(("minimum", "maximum"), _Checker.number),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _Checker.bound),
    "$anchor": _Checker.anchor,
    "$ref": _Checker.reference,
    "const": _Checker.constant,
    "enum": _Checker.enum,
    "format": _Checker.format,
    "items": _Checker.items,
    "multipleOf": _Checker.multiple,
    "pattern": _Checker.pattern,
    "patternProperties": _Checker.patterns,
    "required": _Checker.texts,
    "type": _Checker.type,
}
_ROOT_ONLY: dict[str, Callable[[_Checker, Any, str, bool], None]] = {
    "$schema": _Checker.draft,
    "$id": _Checker.identifier,
    "id": _Checker.identifier,
}
