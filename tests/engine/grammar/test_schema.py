"""JSON schemas: what is refused, and where; `test_compiler.py` has what is enforced."""

import pytest

from nybble.engine.grammar.grammar import Grammar
from nybble.errors import RequestError


def refusal(schema: object) -> str:
    with pytest.raises(RequestError) as caught:
        Grammar.json_schema(schema)
    return str(caught.value)


@pytest.mark.parametrize(
    "keyword",
    (
        *(
            "not",
            "if",
            "then",
            "else",
            "dependencies",
            "dependentRequired",
            "dependentSchemas",
            "uniqueItems",
        ),
        *("contains", "minContains", "maxContains", "propertyNames", "unevaluatedItems", "$recursiveRef"),
        *("unevaluatedProperties", "contentEncoding", "contentMediaType", "contentSchema", "$dynamicRef"),
        *("nullable", "discriminator", "x-guidance", "minimun", "strict"),
    ),
)
def test_a_keyword_that_cannot_be_enforced_is_named_with_its_place(keyword):
    schema = {"type": "object", "properties": {"a/b": {"type": "array", "items": {keyword: {}}}}}
    assert f'"{keyword}" at #/properties/a~1b/items/{keyword} cannot be enforced' in refusal(schema)
    Grammar.json_schema({"properties": {keyword: {}}, "required": [keyword]})  # a name is no keyword


def test_a_misspelt_keyword():
    assert "did you mean maxLength?" in refusal({"maxLenght": 3})


def test_annotations_change_nothing():
    plain = {"type": "object", "properties": {"a": {"type": "string"}}}
    noted = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/a",
        "title": "T",
        "x-order": 1,
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": "d", "default": "x", "examples": [1], "readOnly": True}
        },
        "deprecated": False,
    }
    assert Grammar.json_schema(noted) == Grammar.json_schema(plain)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "the schema is false"),
        (7, "must be an object, not 7"),
        ({"type": "strin"}, "#/type must be of null, boolean"),
        ({"type": []}, "#/type must be"),
        ({"format": "binary"}, "#/format must be one of date-time"),
        ({"format": ["date"]}, "#/format must be one of"),
        ({"pattern": 7}, "#/pattern must be a text"),
        ({"minItems": -1}, "#/minItems must be an integer from 0"),
        ({"minItems": 10**9}, "#/minItems must be an integer from 0"),
        ({"maxLength": 10**9}, "#/maxLength must be an integer from 0"),
        ({"maxLength": True}, "#/maxLength must be an integer from 0"),
        ({"minimum": 2**60}, "#/minimum must be a number from -2**53"),
        ({"enum": [1, {"a": 2**60}]}, "#/enum/1/a must be a number from -2**53"),
        ({"enum": []}, "#/enum must be a list of values"),
        ({"anyOf": []}, "#/anyOf must be a list of schemas"),
        ({"anyOf": [7]}, "#/anyOf/0 must be a schema"),
        ({"properties": []}, "#/properties must be an object of schemas"),
        ({"required": ["a", 7]}, "#/required/1 must be a text"),
        ({"multipleOf": 0}, "#/multipleOf must be more than 0"),
        ({"allOf": [{"multipleOf": 999}, {"multipleOf": 0.101}]}, "least common multiple"),
        ({"$ref": "#/$defs/a"}, '"$ref" at #/$ref must be the pointer of a schema'),
        ({"$ref": "https://example.com/a"}, '"$ref" at #/$ref'),
        ({"$ref": "#/enum/0", "enum": [{}]}, '"$ref" at #/$ref'),
        ({"items": {"$id": "a"}}, '"$id" at #/items/$id cannot be enforced below the root'),
        ({"$schema": "https://example.com/own"}, "#/$schema must be a draft"),
        ({"prefixItems": [{}], "additionalItems": False}, '"additionalItems"'),
        ({"items": [{}], "prefixItems": [{}]}, '"prefixItems"'),
        ({"minProperties": 2}, '"minProperties" at #/minProperties cannot be enforced'),
        ({"allOf": [{"pattern": f"(.*[a-z]){{{i}}}"} for i in range(9)]}, "if it merges"),
        ({"pattern": "a?" * 2049}, "at most 2048"),
        ({"properties": {1: {}}}, "at #/properties is the name 1"),
        ({"enum": [float("nan")]}, "at #/enum/0 is nan"),
        ({"enum": [b"x"]}, "at #/enum/0 is b'x'"),
        ({"enum": ["\ud800"]}, "at #/enum/0 is a lone surrogate"),
        ("", "json_schema must be JSON"),
        ("{", "json_schema must be JSON"),
        ("{} {}", "something follows it"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"enum": [1e999]}', "at #/enum/0 is inf"),
        ('{"enum": ["\\ud800"]}', "lone surrogate"),
        ('{"type": "string", "type": "null"}', "'type' is in an object twice"),
        ('{"enum": [' + "9" * 5000 + "]}", "json_schema must be JSON"),
        ("[" * 100_000, "must not be nested deeper than 100"),
        ('{"items":' * 101 + "{}" + "}" * 101, "must not be nested deeper than 100"),
        ('"' + "x" * 300_000 + '"', "at most 262144 characters"),
    ],
)
def test_what_is_wrong_is_said(schema, message):
    assert message in refusal(schema)


def test_an_object_in_itself_ends():
    schema: dict[str, object] = {"type": "array"}
    schema["items"] = schema
    assert "must not be nested deeper" in refusal(schema)
    twice: object = {}
    for _ in range(40):
        twice = {"anyOf": [twice, twice]}
    assert "at most 65536 values" in refusal(twice)


def test_references_to_schemas_of_all_kinds():
    Grammar.json_schema(
        {
            "$defs": {"a/b": {"$anchor": "c", "type": "string"}, "é": {}},
            "properties": {
                "x": {"$ref": "#/$defs/a~1b"},
                "y": {"$ref": "#c"},
                "z": {"$ref": "#"},
                "é": {"$ref": "#/$defs/%C3%A9"},
                "p": {"$ref": "#/properties/x"},
            },
        }
    )


def test_a_schema_as_text_and_as_objects_is_the_same():
    assert Grammar.json_schema('{"type": "object"}') == Grammar.json_schema({"type": "object"})
    assert Grammar.json_schema({"type": "object"}) == Grammar.json_object()
