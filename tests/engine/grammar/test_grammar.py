"""What is drawn under regular expressions, choices and grammars follows them, and what follows is allowed."""

import re

import pytest
from constrained_text import COMPILER, TOKENIZER, accepts, draw, is_allowed, refusal
from hypothesis import given, settings, strategies as st

from nybble.engine.grammar.grammar import Grammar

# Regular expressions -----------------------------------------------------------------------------------

PATTERNS = st.recursive(
    st.one_of(
        st.sampled_from(
            (
                "a",
                "b",
                "é",
                "/",
                r"\.",
                r"\\",
                '"',
                "[a-c]",
                "[^a-c\n]",
                "[0-9]",
                " ",
                "%json",
                "😀",
                "#",
                "//",
            )
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
    assert re.match(f"`regex`: .*{message}", refusal(Grammar.regex(pattern)))


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
        ('root ::= ([0-9]+)? ( "x" [ab]* ) + ( "y" | "z"{2} )* [*]', ["12xaxb*", "xyzz*"], ["1*", "xz*"]),
        ('root ::= ("a"*)*', ["", "aaa"], ["b"]),
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
    assert found.startswith(("`grammar`", "grammar"))
    assert message in found
