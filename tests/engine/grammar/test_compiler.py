"""Texts drawn under a constraint are what was asked for, and what was asked for is allowed."""

import json
import re
import threading
from typing import Any

import jsonschema
import pytest
import tiny_vocabulary as tiny
from constrained_text import accepts, allowed_ids, draw_ids, draw_text
from hypothesis import assume, given, settings, strategies as st
from shared_files import shared

from nybble.engine.grammar.compiler import GrammarCompiler
from nybble.engine.grammar.grammar import Grammar
from nybble.errors import NybbleError, RequestError
from nybble.tokenizer import IdsOnly, Tokenizer

TOKENIZER = tiny.make(tiny.bpe())
COMPILER = GrammarCompiler(TOKENIZER)


def draw(grammar: Grammar, seed: int = 0, max_tokens: int = 1000) -> str | None:
    return draw_text(COMPILER, TOKENIZER, grammar, seed, max_tokens)


def is_allowed(grammar: Grammar, text: str) -> bool:
    return accepts(COMPILER, TOKENIZER, grammar, TOKENIZER.encode(text, add_special=False))


def refusal(grammar: Grammar) -> str:
    with pytest.raises(RequestError) as caught:
        COMPILER.check(grammar)
    return str(caught.value)


# JSON schemas ------------------------------------------------------------------------------------------


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
    return st.text(max_size=schema["maxLength"]) if schema["type"] == "string" else st.integers(-99, 99)


PLAIN = st.recursive(
    st.one_of(
        st.just({"type": "integer"}),
        st.integers(0, 5).map(lambda n: {"type": "string", "maxLength": n}),
        st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=3).map(
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
    assert f"json_schema: at {place} it cannot be enforced" in message
    assert why in message


# Regular expressions -----------------------------------------------------------------------------------

PATTERNS = st.recursive(
    st.one_of(
        st.sampled_from(
            ("a", "b", "é", "/", r"\.", r"\\", '"', "[a-c]", "[^a-c\n]", r"\d", " ", "%json", "😀", "#", "//")
        ),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
        st.tuples(inner, st.sampled_from(("?", "{0,3}", "{2}", "{1,2}"))).map("(?:{0[0]}){0[1]}".format),
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(PATTERNS, st.integers(0, 2**32))
def test_what_is_drawn_matches(pattern, seed):
    text = draw(Grammar.regex(pattern), seed)
    assert text is not None
    assert re.fullmatch(pattern, text), text


@settings(max_examples=60)
@given(PATTERNS.flatmap(lambda pattern: st.tuples(st.just(pattern), st.from_regex(pattern, fullmatch=True))))
def test_what_matches_is_allowed(pattern_and_text):
    pattern, text = pattern_and_text
    assert is_allowed(Grammar.regex(pattern), text)


def test_the_whole_text_matches_with_or_without_anchors():
    for pattern in ("a+", "^a+$"):
        assert is_allowed(Grammar.regex(pattern), "aa")
        assert not is_allowed(Grammar.regex(pattern), "ab")
    assert is_allowed(Grammar.regex(""), "")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "unclosed group"),
        ("(?=a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        (r"\bx", "lookaround"),
        ("[", "unclosed"),
    ],
)
def test_a_wrong_pattern(pattern, message):
    assert re.match(f"regex: .*{message}", refusal(Grammar.regex(pattern)))


# Choices -----------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=6), min_size=1, max_size=6), st.integers(0, 2**32))
def test_one_of_the_choices(texts, seed):
    grammar = Grammar.choice(texts)
    assert draw(grammar, seed) in texts
    for text in texts:
        assert is_allowed(grammar, text)
    assert not is_allowed(grammar, "".join(texts) + "x")


# Grammars ----------------------------------------------------------------------------------------------


def test_a_lark_grammar():
    grammar = Grammar.from_text(
        'start: "hello" (" w" NUMBER)* tail\ntail: "." | %json {"type": "null"}\nNUMBER: /[0-9]+/'
    )
    assert grammar.kind == "lark"
    for text in ("hello.", "hello w12 w3.", "hello w1null"):
        assert is_allowed(grammar, text)
    for text in ("hello", "hello w.", "hello w1 null", "hello w1nul"):
        assert not is_allowed(grammar, text)


def test_control_tokens_in_a_lark_grammar():
    start, end = (TOKENIZER.encode(f"<|im_{name}|>", False, parse_special=True) for name in ("start", "end"))
    grammar = Grammar.lark(f'start: /[a-z<|_>]*/ <|im_start|> "x" <[{start[0]}]>')
    x = TOKENIZER.encode("x", False)
    assert accepts(COMPILER, TOKENIZER, grammar, [*x, *start, *x, *start])
    assert not accepts(COMPILER, TOKENIZER, grammar, [*x, *start, *x, *end])
    assert not is_allowed(grammar, "<|im_start|>x<|im_start|>")  # in letters


@pytest.mark.parametrize(
    ("grammar", "yes", "no"),
    [
        ('root ::= "a" | "b" "c"', ["a", "bc"], ["b", "c", ""]),
        ("root ::= item+ # several\nitem ::= [a-c] ws\nws ::= [ \\t\\n]*", ["a", "a b\n", "abc"], ["d", ""]),
        ('root ::= "x" . "y"', ["x\ny", "xay", "x北y"], ["xy"]),
        (r'root ::= "\u0041\x42\U0001F600\n"', ["AB😀\n"], ["AB"]),
        (r'root ::= [\u00e9\x5d\]^~&-]+', ["é]^~&-"], ["x", ""]),
        (r'root ::= [^\n"\\]{2,3}', ["ab", "a]b", "&&&"], ["a", 'a"b', "a\\b"]),
        ("root ::= [!--]", ["!", "-", "("], [".", "a"]),
        ('root ::= "(" root ")" | ""', ["", "()", "((()))"], ["(", "(()"]),
        ('root ::= (\n  "a"\n  | "b"\n)? "/" "%json {" [#] "//"', ["a/%json {#//", "/%json {#//"], ["/"]),
        ('root ::= myRule-2 "."\nmyRule-2 ::= "x"{2}', ["xx."], ["x."]),
        ('root ::= root "a" | "b"', ["baa"], ["ab"]),
    ],
)  # fmt: skip
def test_a_gbnf_grammar(grammar, yes, no):
    made = Grammar.from_text(grammar)
    assert made.kind == "gbnf"
    for text in yes:
        assert is_allowed(made, text), text
    for text in no:
        assert not is_allowed(made, text), text


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ('root ::= "a', "no GBNF grammar: Unexpected end"),
        ("other ::= [a]", "No 'root' rule"),
        ("root ::= other", "'other' not found"),
        ("root ::= <think>", "no GBNF grammar"),
        ("root ::= root", "no token"),
        ("start: foo", 'unknown name: "foo"'),
        ('foo: "a"', "no start rule"),
        ("start: start", "no token"),
        ('start: %json {"type": "integer", "minimum": 1, "maximum": 0}', "greater than maximum"),
        ("start: <|nothing|>", "unknown special token"),
    ],
)
def test_a_wrong_grammar(grammar, message):
    found = refusal(Grammar.from_text(grammar))
    assert found.startswith("grammar")
    assert message in found


# Texts -------------------------------------------------------------------------------------------------


def test_it_stops_when_nothing_more_can_come():
    constraint = COMPILER.constraint(Grammar.choice(["he", "hello"]))
    (hello,) = TOKENIZER.encode("hello", False)
    assert not (constraint.is_stopped or constraint.is_complete)
    constraint.accept(hello)
    assert constraint.is_stopped
    assert constraint.is_complete


def test_ends_are_allowed_where_the_text_is_complete():
    constraint = COMPILER.constraint(Grammar.choice(["he", "hello"]))
    assert not TOKENIZER.eog_ids & {*allowed_ids(constraint, TOKENIZER.n_vocab)}
    constraint.accept(TOKENIZER.encode("he", False)[0])
    assert constraint.is_complete
    assert not constraint.is_stopped
    assert TOKENIZER.eog_ids <= {*allowed_ids(constraint, TOKENIZER.n_vocab)}


def test_a_token_that_is_not_allowed_is_an_error():
    constraint = COMPILER.constraint(Grammar.choice(["yes"]))
    with pytest.raises(RequestError, match="choice"):
        constraint.accept(TOKENIZER.encode("x", False)[0])


def test_texts_do_not_share_a_state():
    grammar = Grammar.json_object()
    alone = [draw_ids(COMPILER, TOKENIZER, grammar, seed, 100) for seed in range(4)]
    found: dict[int, Any] = {}

    def run(seed: int) -> None:
        found[seed] = draw_ids(COMPILER, TOKENIZER, grammar, seed, 100)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(4)] == alone


def test_several_threads_make_the_vocabulary_once():
    compiler = GrammarCompiler(TOKENIZER)
    threads = [threading.Thread(target=compiler.check, args=(Grammar.json_object(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accepts(compiler, TOKENIZER, Grammar.json_object(), TOKENIZER.encode("{}", False))


@pytest.mark.parametrize(
    ("metadata", "letters"),
    [
        (tiny.bpe(), " helo"),
        (tiny.spm(), " helo"),
        (tiny.characters(), " helo"),
        (tiny.wordpiece(), " helo"),
        (tiny.unigram(), " lox1"),
        (tiny.rwkv(), " helo"),
        (tiny.plamo2(), " helo"),
    ],
    ids=["bpe", "spm", "characters", "wordpiece", "unigram", "rwkv", "plamo2"],
)
def test_every_kind_of_vocabulary(metadata, letters):
    check_vocabulary(tiny.make(metadata), letters)


REAL = ("bert-bge", "deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2")


@pytest.mark.parametrize("name", REAL)
def test_vocabularies_of_real_models(name):
    tokenizer = Tokenizer.from_gguf(shared(f"vocabs/ggml-vocab-{name}.gguf"))
    check_vocabulary(tokenizer, " helo")


def check_vocabulary(tokenizer: Tokenizer, letters: str) -> None:
    compiler = GrammarCompiler(tokenizer)
    pattern = f"[{letters}]{{3,12}}"
    for seed in range(5):
        ids, is_complete = draw_ids(compiler, tokenizer, Grammar.regex(pattern), seed)
        assert is_complete
        assert re.fullmatch(pattern, tokenizer.decode(ids, continuation=True))
        assert not tokenizer.control_ids & {*ids}


def test_without_a_tokenizer():
    with pytest.raises(RequestError, match="choice: this model has no tokenizer"):
        GrammarCompiler(IdsOnly(frozenset({0}), TOKENIZER.suppressed_ids)).check(Grammar.choice(["a"]))


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    with pytest.raises(NybbleError, match=r'pip install "nybble\[grammar\]"'):
        GrammarCompiler(TOKENIZER).check(Grammar.choice(["a"]))
