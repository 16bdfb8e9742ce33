"""JSON that is drawn under a schema is valid, and what is valid is allowed."""

import json
import re
from typing import Any

import jsonschema
import pytest
from constrained_text import draw, is_allowed, refusal
from hypothesis import assume, given, settings, strategies as st

from nybble.engine.grammar.grammar import Grammar
from nybble.errors import RequestError


def number_schemas(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    bound = st.integers(-200, 200) if kind == "integer" else st.integers(-2000, 2000).map(lambda i: i / 8)
    return st.fixed_dictionaries(
        {"type": st.just(kind)},
        optional={
            "minimum": bound,
            "exclusiveMaximum": bound,
            "multipleOf": st.sampled_from((1, 3, 7) if kind == "integer" else (0.25, 0.5, 2)),
        },
    )


SCALARS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(("null", "boolean")).map(lambda kind: {"type": kind}),
    number_schemas("integer"),
    number_schemas("number"),
    st.fixed_dictionaries(
        {"type": st.just("string"), "maxLength": st.integers(2, 6)}, optional={"minLength": st.integers(0, 2)}
    ),
    st.sampled_from(("[a-c]{1,3}", "^x[0-9]*$", '^(é|\\\\|")+$', "q")).map(
        lambda pattern: {"type": "string", "pattern": pattern, "maxLength": 9}
    ),
    st.sampled_from(("date", "time", "ipv4", "uuid", "duration")).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-99, 99),
            st.text(max_size=3),
            st.lists(st.integers(0, 9), max_size=2),
        ),
        min_size=1,
        max_size=3,
    ).map(lambda values: {"enum": values}),
    st.one_of(
        st.integers(-(2**53), 2**53),
        st.text(max_size=4),
        st.dictionaries(st.text(max_size=2), st.booleans(), max_size=2),
    ).map(lambda value: {"const": value}),
)
LETTERS = st.characters(exclude_characters="\x7f", codec="utf-8")  # llguidance wants DEL as \u007f
NAMES = st.sampled_from(("a", "b", 'c"', "d e", "é"))


def _containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner, "maxItems": st.integers(1, 3)},
            optional={"minItems": st.integers(0, 1), "prefixItems": st.lists(inner, min_size=1, max_size=2)},
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(NAMES, inner, min_size=1, max_size=3),
                "required": st.lists(NAMES, unique=True, max_size=2),
                "additionalProperties": st.one_of(st.just(False), inner),
            }
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.tuples(inner, inner).map(lambda both: {"allOf": [*both]}),
    )


SCHEMAS = st.recursive(SCALARS, _containers, max_leaves=5)
CHECKED = jsonschema.FormatChecker(("date", "ipv4", "uuid"))


@settings(max_examples=60)
@given(SCHEMAS, st.integers(0, 2**32))
def test_what_is_drawn_is_valid(schema, seed):
    try:
        text = draw(Grammar.json_schema(schema), seed)
    except RequestError as error:
        assert re.search(
            "nsatisfiable|incompatible|at most 8|Unable to determine|is greater than|least common", str(error)
        ), error
        return
    assume(text is not None)
    assert text is not None
    jsonschema.Draft202012Validator(schema, format_checker=CHECKED).validate(json.loads(text))


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Valid values of a schema of the form below."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        return st.lists(_values(schema["items"]), max_size=schema["maxItems"])
    if schema["type"] == "object":
        inner = {name: _values(each) for name, each in schema["properties"].items()}
        ordered = st.fixed_dictionaries({name: inner[name] for name in schema["required"]})
        return ordered.map(lambda value: {name: value[name] for name in schema["required"]})
    return (
        st.text(LETTERS, max_size=schema["maxLength"]) if schema["type"] == "string" else st.integers(-99, 99)
    )


PLAIN = st.recursive(
    st.one_of(
        st.just({"type": "integer"}),
        st.integers(0, 5).map(lambda n: {"type": "string", "maxLength": n}),
        st.lists(st.one_of(st.none(), st.text(LETTERS, max_size=3)), min_size=1, max_size=3).map(
            lambda v: {"enum": v}
        ),
    ),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items, "maxItems": 3}),
        st.dictionaries(NAMES, inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": [*properties]}
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=60)
@given(PLAIN.flatmap(lambda schema: st.tuples(st.just(schema), _values(schema))), st.sampled_from((None, 2)))
def test_what_is_valid_is_allowed(schema_and_value, indent):
    schema, value = schema_and_value
    assert is_allowed(Grammar.json_schema(schema), json.dumps(value, indent=indent, ensure_ascii=False))


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, "{}"),
        ({"type": "object", "additionalProperties": False}, '{"a": 1}'),
        ({"type": "array", "maxItems": 1}, "[1, 2]"),
        ({"type": "array", "items": [{"type": "null"}], "additionalItems": False}, "[null, 1]"),
        ({"type": "integer"}, "1.5"),
        ({"type": "string", "maxLength": 1}, '"ab"'),
        ({"type": "string", "maxLength": 1}, '"\n"'),
        ({"const": 7}, "8"),
        ({"type": "number", "exclusiveMinimum": 0}, "0"),
        ({"minimum": 0, "exclusiveMinimum": True, "type": "number"}, "0"),
        ({"type": "string", "format": "date"}, '"2026-13-01"'),
        ({"type": "object", "patternProperties": {"^a": {"type": "null"}}}, '{"ab": 1}'),
        ({"type": "object", "minProperties": 1}, "{}"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, "1"),
        ({}, "[1"),
        ({}, "{} {}"),
        ({}, "1" + "\n" * 9),
        ({}, "[" + "\n" * 9 + "1]"),
    ],
)
def test_what_is_invalid_is_not_allowed(schema, wrong):
    assert not is_allowed(Grammar.json_schema(schema), wrong)


def test_a_recursive_schema():
    schema = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    grammar = Grammar.json_schema(schema | {"additionalProperties": False})
    assert is_allowed(grammar, '{"next": {"next": {"next": null}}}')
    assert not is_allowed(grammar, '{"next": {"next": 1}}')


@pytest.mark.parametrize(
    ("schema", "place", "why"),
    [
        (
            {"properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}},
            "#/properties/a",
            '"oneOf"',
        ),
        ({"items": {"anyOf": [{"type": "null"}, {"pattern": "(?=a)"}]}}, "#/items/anyOf/1", "look-around"),
        (
            {"$defs": {"x/": {"pattern": "("}}, "items": {"$ref": "#/$defs/x~1"}},
            "#/$defs/x~1",
            "unclosed group",
        ),
        (
            {"properties": {"a": {"properties": {"b": {}}, "maxProperties": 1}}},
            "#/properties/a",
            "maxProperties",
        ),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "#", "Unsatisfiable"),
        ({"$ref": "#"}, "#", "no token"),
    ],
)
def test_what_llguidance_refuses_is_said_with_its_place(schema, place, why):
    message = refusal(Grammar.json_schema(schema))
    assert f"`json_schema`: at {place} it cannot be enforced" in message
    assert why in message
