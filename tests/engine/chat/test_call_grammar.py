"""Grammars that make answers call tools: in every format they allow calls, and nothing else."""

import re

import pytest
import tiny_vocabulary
from answers import ANSWERS, FUNCTIONARY_32, HARMONY, HERMES, LLAMA, SCHEMAS
from hypothesis import given, strategies as st

from nybble import RequestError
from nybble.engine.chat.answer_format import AnswerFormat
from nybble.engine.chat.call_grammar import after_reasoning, calls_grammar, free_grammar
from nybble.engine.chat.formats.json_calls import JsonCalls
from nybble.engine.grammar.compiler import GrammarCompiler
from nybble.engine.grammar.grammar import Grammar

pytest.importorskip("llguidance")

_CONTROL = re.compile(r"<\|[^<>|]+\|?>|<｜[^<>D]+｜>|\[[A-Z_/]+\]|<[a-z_]+\|>")
_TEXTS = " ".join(a.text + a.prompt for a in ANSWERS.values())
_NAMES = dict.fromkeys(_CONTROL.findall(_TEXTS + "<|return|>"))  # with that, <|end|> ends no answer
TOKENIZER = tiny_vocabulary.make(
    tiny_vocabulary.bpe(special=dict.fromkeys(_NAMES, tiny_vocabulary.CONTROL), eos_token_id=0)
)
COMPILER = GrammarCompiler(TOKENIZER)
TOOLS = {
    name: {**schema, "required": [*schema["properties"]][:1], "additionalProperties": False}
    for name, schema in SCHEMAS.items()
}
# What stands before the calls in an answer is refused where a call is asked for.
_WORDS = re.compile(
    r"<\|start\|>assistant<\|channel\|>commentary<\|message\|>I look\.<\|end\|>"
    r"|I look( >>>here)?\.\s*|Well\.\n|all\n"
)


def refused_at(grammar, text):
    """The text that a grammar allows, and what it refuses after that; None if it allows all and an end."""
    constraint = COMPILER.constraint(grammar)
    ids = TOKENIZER.encode(text, add_special=False, parse_special=True)
    for i, id_ in enumerate(ids):
        if not constraint.allowed()[id_ // 32] >> id_ % 32 & 1:
            return TOKENIZER.decode(ids[:i], False), TOKENIZER.decode(ids[i:], False)
        constraint.accept(id_)
    return None if constraint.is_complete else (text, "")


def forced(answer, is_alone=False):
    in_reasoning = answer.format.begins_in_reasoning(answer.prompt)
    return calls_grammar(answer.format, TOKENIZER, TOOLS, in_reasoning, is_alone)


CALLS = {
    name: answer
    for name, answer in ANSWERS.items()
    if answer.calls and not re.search("malformed|never|built in|program|role", name)
}


def plain(text):
    """A text with calls as the grammars have them: in the vocabulary, and with JSON's values."""
    text = text.replace("é", "e").replace("\\u00e9", "e").replace("'a \"b\" </x> e'", '"a </x> e"')
    text = text.replace("True\n", "true\n").replace("  </parameter> ", "")
    return text.replace("a, {b}", "a, b")


@pytest.mark.parametrize("answer", CALLS.values(), ids=CALLS)
def test_calls_are_allowed(answer):
    text = plain(_WORDS.sub("", answer.text))
    text = re.sub(">>>", "", text, count=1) if answer.prompt == ">>>" else text
    assert refused_at(forced(answer), text) is None
    if len(answer.calls) == 2:
        assert refused_at(forced(answer, is_alone=True), text) is not None


@pytest.mark.parametrize("answer", CALLS.values(), ids=CALLS)
def test_words_and_unknown_tools_are_refused(answer):
    grammar = forced(answer)
    assert refused_at(grammar, "Hello") is not None
    assert refused_at(grammar, "") is not None
    text = _WORDS.sub("", answer.text).replace("look_up", "look_at")
    assert refused_at(grammar, text) is not None


def test_arguments_follow_the_schema():
    grammar = calls_grammar(HERMES, TOKENIZER, TOOLS, False, True)
    begin = '<tool_call>\n{"name": "look_up", "arguments": '
    for arguments in ('{"n": 1}', '{"word": 1', '{"word": "a", "n": "x', '{"word": "a", "other"'):
        allowed, rest = refused_at(grammar, begin + arguments)
        assert allowed.startswith(begin) and rest
    assert refused_at(grammar, begin + '{"word": "a"}}\n</tool_call>') is None


def test_definitions_are_found():
    schema = {
        "type": "object",
        "properties": {"to": {"$ref": "#/$defs/place"}},
        "required": ["to"],
        "$defs": {"place": {"enum": ["here", "there"]}},
    }
    for answer in CALLS.values():
        if answer is CALLS["gemma 4"]:
            continue
        grammar = calls_grammar(answer.format, TOKENIZER, {"go": schema}, False, True)
        COMPILER.check(grammar)
    with pytest.raises(RequestError, match="cannot be enforced in the format of Gemma"):
        calls_grammar(CALLS["gemma 4"].format, TOKENIZER, {"go": schema}, False, True)


def test_a_model_without_tools_cannot_be_forced():
    with pytest.raises(RequestError, match="its chat template says nothing of tools"):
        calls_grammar(AnswerFormat(), TOKENIZER, TOOLS, False, False)


def free(answer):
    in_reasoning = answer.format.begins_in_reasoning(answer.prompt)
    return free_grammar(answer.format, TOKENIZER, TOOLS, in_reasoning)


WELL_FORMED = {name: a for name, a in ANSWERS.items() if not re.search("malformed|never|cut short", name)}


@pytest.mark.parametrize("answer", WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_free_answer_is_allowed(answer):
    """Words, thoughts and calls, and words after calls; no text with a token for every byte is refused."""
    text = plain(answer.text)
    assert refused_at(free(answer), text) is None
    if answer.calls and answer.format is not HARMONY:
        assert refused_at(free(answer), f"{text} And so \u1234 on.") is None


@pytest.mark.parametrize("answer", CALLS.values(), ids=CALLS)
def test_a_call_in_a_free_answer_is_of_a_tool_and_by_its_schema(answer):
    grammar, text = free(answer), plain(answer.text)
    if "look_up" in text:
        unknown = refused_at(grammar, text.replace("look_up", "look_at", 1))
        assert (unknown is None) == (answer.format in (LLAMA, FUNCTIONARY_32))  # there these are words
    for value in ('"n": 2', "n=2", "n:2", ">12<", "\n12\n"):
        before, found, after = text.rpartition(value)
        if found:
            wrong = before + re.sub("1?2", "x", value) + after
            assert refused_at(grammar, wrong) is not None
    if answer.format not in (LLAMA, FUNCTIONARY_32):
        assert (
            refused_at(grammar, text[: text.rindex("stop" if "stop" in text else "look_up") + 4]) is not None
        )


FREE = {id(a.format): a for a in WELL_FORMED.values()}


@pytest.mark.parametrize("answer", FREE.values(), ids=lambda answer: type(answer.format.tools).__name__)
def test_all_tokens_are_allowed_in_words(answer):
    """Control tokens and bytes of characters, too, if no mark has these bytes; and nothing keeps an answer
    from ending."""
    constraint = COMPILER.constraint(free_grammar(answer.format, TOKENIZER, TOOLS, False))
    marks = {byte for byte in "".join(answer.format.tools.openers).encode() if byte > 127} | {255}
    bytes_of = {id_: TOKENIZER.token_bytes(id_, False) for id_ in range(TOKENIZER.n_vocab)}
    usable = {
        id_ for id_, token in bytes_of.items() if id_ in TOKENIZER.control_ids or marks.isdisjoint(token)
    }
    words = TOKENIZER.encode("Hello <tool_cal\u00e9", add_special=False)
    bare = TOKENIZER.fragment_ids & usable
    for id_ in (*words, min(bare), max(bare), *words):
        bits = constraint.allowed()
        assert constraint.is_complete
        assert {i for i in range(TOKENIZER.n_vocab) if bits[i // 32] >> i % 32 & 1} >= usable
        constraint.accept(id_)


@given(
    st.lists(st.sampled_from(["a", " ", "\n", "<", "{", '"', "<think>", "</think>", "<tool_call", ">", "é"]))
)
def test_words_without_an_opener_are_free(parts):
    text = "".join(parts)
    if "<tool_call>" not in text:
        for begun in (False, True):
            assert refused_at(free_grammar(HERMES, TOKENIZER, TOOLS, begun), text) is None


def test_an_opener_in_a_thought_is_no_call():
    grammar = free_grammar(HERMES, TOKENIZER, TOOLS, False)
    assert refused_at(grammar, " <think>a <tool_call> b") is None
    assert refused_at(grammar, " <think>a <tool_call> b</think> c") is None
    assert refused_at(grammar, "c <think>a <tool_call> b") is not None
    begun = free_grammar(HERMES, TOKENIZER, TOOLS, True)
    assert refused_at(begun, "a <tool_call> b</think>\n") is None
    assert refused_at(begun, "a </think><tool_call> b") is not None


def test_calls_that_cannot_be_enforced():
    assert free_grammar(AnswerFormat(), TOKENIZER, TOOLS, False) is None
    within = AnswerFormat(None, JsonCalls("call<|channel|>", "</call>"))
    assert free_grammar(within, TOKENIZER, TOOLS, False) is None
    with pytest.raises(RequestError, match=r"the parameters of the tool 'go'.*contentEncoding"):
        free_grammar(HERMES, TOKENIZER, {"go": {"type": "object", "contentEncoding": "a"}}, False)


@pytest.mark.parametrize(
    "constraint",
    [Grammar.json_schema({"type": "integer"}), Grammar.regex("[0-9]+/?")],
    ids=["schema", "regex"],
)
def test_reasoning_comes_before_a_constraint(constraint):
    grammar = after_reasoning(HERMES, TOKENIZER, constraint, {}, False)
    for text in ("12", "<think>\nHm: 7 </think>\n\n12"):
        assert refused_at(grammar, text) is None
    begun = after_reasoning(HERMES, TOKENIZER, constraint, {}, True)
    assert refused_at(begun, "Hm. </think>12") is None and refused_at(begun, "12") is not None
    assert refused_at(grammar, "Hm") is not None
    with_tools = after_reasoning(HERMES, TOKENIZER, constraint, TOOLS, False)
    call = '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'
    assert refused_at(with_tools, "12") is None and refused_at(with_tools, call) is None
    final = after_reasoning(HARMONY, TOKENIZER, constraint, {}, False)
    assert (
        refused_at(
            final, "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>12"
        )
        is None
    )


def test_other_constraints_are_for_the_whole_answer():
    choice = Grammar.choice(["a", "b"])
    assert after_reasoning(HERMES, TOKENIZER, choice, TOOLS, False) is choice
    plain = Grammar.json_object()
    assert after_reasoning(AnswerFormat(), TOKENIZER, plain, {}, False) is plain
