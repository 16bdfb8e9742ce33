"""Types of fields: each checks a value that JSON has given, and describes itself as a JSON schema."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..wire.errors import APIError, bad_field


class Kind(ABC):
    """A type with limits."""

    @abstractmethod
    def check(self, value: Any, name: str) -> Any:
        """The value, which is of this type; else `APIError`, which names the field."""

    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """The type as a JSON schema."""


@dataclass(frozen=True)
class Integer(Kind):
    """An integer from low to high."""

    low: int
    high: int

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not int or not self.low <= value <= self.high:
            raise bad_field(name, f"must be an integer from {self.low} to {self.high}, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Kind):
    """A number from low, or `above` it, to high."""

    low: float
    high: float
    above: bool = False

    def check(self, value: Any, name: str) -> Any:
        is_number = type(value) in (int, float)
        if not is_number or not self.low <= value <= self.high or (self.above and value == self.low):
            bounds = f"{'above' if self.above else 'from'} {self.low:g} to {self.high:g}"
            raise bad_field(name, f"must be a number {bounds}, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        low = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "number", low: self.low, "maximum": self.high}


@dataclass(frozen=True)
class Flag(Kind):
    """true or false."""

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not bool:
            raise bad_field(name, f"must be true or false, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text(Kind):
    """A text of so many characters."""

    n_max: int = 10_000_000
    n_min: int = 0

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not str or not self.n_min <= len(value) <= self.n_max:
            raise bad_field(
                name, f"must be a text of {self.n_min} to {self.n_max} characters, not {shown(value)}"
            )
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.n_min, "maxLength": self.n_max}


@dataclass(frozen=True)
class OneOf(Kind):
    """One of some values."""

    values: tuple[Any, ...]

    def check(self, value: Any, name: str) -> Any:
        if not any(type(value) is type(each) and value == each for each in self.values):
            known = ", ".join(repr(each) for each in self.values)
            raise bad_field(name, f"must be {known}, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of n_min to n_max values of one type."""

    item: Kind
    n_max: int
    n_min: int = 0

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not list or not self.n_min <= len(value) <= self.n_max:
            found = f"one of {len(value)}" if type(value) is list else shown(value)
            raise bad_field(name, f"must be a list of {self.n_min} to {self.n_max} entries, not {found}")
        return [self.item.check(each, f"{name}[{i}]") for i, each in enumerate(value)]

    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": self.n_min,
            "maxItems": self.n_max,
        }


@dataclass(frozen=True)
class MapOf(Kind):
    """An object with at most n_max entries, whose values are of one type."""

    value: Kind
    n_max: int

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not dict or len(value) > self.n_max:
            found = f"one of {len(value)}" if type(value) is dict else shown(value)
            raise bad_field(name, f"must be an object of at most {self.n_max} entries, not {found}")
        return {key: self.value.check(each, f"{name}[{shown(key)}]") for key, each in value.items()}

    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": self.value.json_schema(),
            "maxProperties": self.n_max,
        }


@dataclass(frozen=True)
class Either(Kind):
    """A value of the first type that it fits, all of which have another type in JSON."""

    kinds: tuple[Kind, ...]

    def check(self, value: Any, name: str) -> Any:
        problems = []
        for kind in self.kinds:
            try:
                return kind.check(value, name)
            except APIError as error:
                problems.append(error.message)
        raise bad_field(name, " or ".join(problem.removeprefix(f"{name} ") for problem in problems))

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.json_schema() for kind in self.kinds]}


@dataclass(frozen=True)
class Anything(Kind):
    """Whatever it is; what reads it checks it."""

    description: str = ""

    def check(self, value: Any, name: str) -> Any:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"description": self.description} if self.description else {}


@dataclass(frozen=True)
class Field:
    """A field of an object. null is as good as none, unless it is required; then it has its default."""

    kind: Kind
    default: Any = None
    is_required: bool = False
    reads_as: str = ""
    """The field that it is another name of."""


@dataclass(frozen=True)
class Fixed(Kind):
    """A field that is known and cannot be honoured, but for the values that ask for nothing."""

    harmless: tuple[Any, ...] = ()
    instead: str = ""

    def check(self, value: Any, name: str) -> Any:
        if not any(type(value) is type(each) and value == each for each in self.harmless):
            only = f": only {', '.join(map(repr, self.harmless))}" if self.harmless else ""
            raise bad_field(name, f"is not supported{only}{self.instead and '; ' + self.instead}")
        return None

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.harmless)} if self.harmless else {"type": "null"}


@dataclass(frozen=True)
class Record(Kind):
    """An object with known fields. `inert` ones are accepted and do nothing."""

    fields: Mapping[str, Field] = field(default_factory=dict)
    inert: frozenset[str] = frozenset()
    is_open: bool = False
    """Fields that are not known belong to it, too, and are left as they are."""

    def check(self, value: Any, name: str) -> Any:
        checked, _ = self.read(value, name)
        return checked

    def read(self, value: Any, name: str = "") -> tuple[dict[str, Any], list[str]]:
        """The fields, each with its value or default, and the names of those that are not known."""
        if type(value) is not dict:
            raise bad_field(name or "the body", f"must be an object, not {shown(value)}")
        checked: dict[str, Any] = {}
        for key, each in self.fields.items():
            where = f"{name}.{key}" if name else key
            if value.get(key) is not None:
                checked[each.reads_as or key] = each.kind.check(value[key], where)
            elif each.is_required:
                raise bad_field(where, "is missing" if key not in value else "must not be null")
            elif not each.reads_as:
                checked.setdefault(key, each.default)
        unknown = [key for key in value if key not in self.fields and key not in self.inert]
        if self.is_open:
            checked |= {key: value[key] for key in unknown}
        return checked, unknown

    def json_schema(self) -> dict[str, Any]:
        properties = {}
        for key, each in self.fields.items():
            schema = each.kind.json_schema()
            properties[key] = schema if each.is_required else {"anyOf": [schema, {"type": "null"}]}
        required = [key for key, each in self.fields.items() if each.is_required]
        inert: dict[str, Any] = {key: {"description": "Does nothing."} for key in sorted(self.inert)}
        return {"type": "object", "properties": properties | inert, "required": required}


def shown(value: Any) -> str:
    """A value, short enough for a message."""
    return f"{value!r:.100}"


def fields(**kinds: Kind) -> dict[str, Field]:
    """Fields that may be missing."""
    return {name: Field(kind) for name, kind in kinds.items()}


def required(**kinds: Kind) -> dict[str, Field]:
    """Fields that must be there."""
    return {name: Field(kind, is_required=True) for name, kind in kinds.items()}


def not_supported(names: Sequence[str], *harmless: Any) -> dict[str, Field]:
    """Fields that cannot be honoured."""
    return {name: Field(Fixed(harmless)) for name in names}
