"""Answers in every format, whole and in pieces."""

import json
import time

import pytest
from answers import ANSWERS, GLM, HARMONY, HERMES, LLAMA, Answer, parsed
from hypothesis import given, strategies as st

from nybble.engine.chat.answer_format import AnswerFormat


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_split(answer):
    message = parsed(answer, [answer.text])
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]
    assert (message.content, message.reasoning, calls) == (
        answer.content,
        answer.reasoning,
        answer.calls,
    )
    expected = answer.ids or [f"call_{i + 1}" for i in range(len(calls))]
    assert [call.id for call in message.tool_calls] == expected


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_pieces_give_what_the_whole_gives(answer):
    """Cut at each place, and letter by letter."""
    whole = parsed(answer, [answer.text])
    assert parsed(answer, answer.text) == whole
    for cut in range(1, len(answer.text)):
        assert parsed(answer, [answer.text[:cut], answer.text[cut:]]) == whole


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_every_beginning_of_an_answer_is_read_alike(answer):
    """Wherever an answer breaks off, nothing of it is lost or depends on the pieces."""
    for end in range(len(answer.text)):
        text = answer.text[:end]
        whole = parsed(answer, [text])
        assert parsed(answer, text) == whole
        shown = (whole.content or "") + (whole.reasoning or "")
        assert shown or whole.tool_calls or not text.strip() or _is_marker(answer, text)


def _is_marker(answer, text):
    """Is the text nothing but marks before the reasoning or a header so far?"""
    begin = (answer.format.reasoning or ("",))[0]
    return text.strip() in begin or text.startswith(("<|channel|>"[: len(text)], " to=", "all\n"))


PARTS = st.sampled_from(
    [
        *("a", " ", "\n", "<", "{", "}", '"', "\\", "[", "]", ",", ">>>", "all\n", "stop\n", "null", "1"),
        *("<think>", "</think>", "<tool_call>", "</tool_call>", '{"name": "stop", "arguments": {}}', "stop"),
        *("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]"),
        *(
            "<|channel|>",
            "analysis",
            "<|message|>",
            "<|end|>",
            "<|start|>",
            "assistant",
            " to=functions.stop",
        ),
        *(
            "<|tool_call>",
            "call:stop{}",
            "<tool_call|>",
            "<|tool_call_start|>",
            "[stop()]",
            "{}",
            "<function=",
        ),
        *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
    ]
)


@given(
    st.sampled_from(sorted({id(a.format): a for a in ANSWERS.values()}.values(), key=lambda a: a.text)),
    st.lists(PARTS, max_size=30).map("".join),
    st.lists(st.integers(1, 12), max_size=40),
)
def test_any_text_is_read_alike_in_any_pieces(answer, text, lengths):
    pieces, at = [], 0
    for length in lengths:
        pieces.append(text[at : at + length])
        at += length
    pieces.append(text[at:])
    assert parsed(answer, pieces) == parsed(answer, [text])


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        (HERMES, "<tool_call>" + "x" * 200_000),
        (HERMES, " " * 200_000),
        (HERMES, "<tool_call></tool_call>" * 10_000),
        (HERMES, '<tool_call>{"name": "stop", "arguments": {}}</tool_call>' * 5_000),
        (HERMES, "<" * 200_000),
        (HERMES, '<tool_call>{"name": "stop", "arguments": ' + "[" * 200_000),
        (GLM, "<tool_call>stop<arg_key>a</arg_key>\n<arg_value>" + "</arg_value>" * 20_000),
        (GLM, "<tool_call>" * 20_000),
        (LLAMA, "{" * 200_000),
        (HARMONY, "<|channel|>" * 20_000),
        (HARMONY, "<|start|>" * 20_000),
    ],
    ids=lambda value: "",
)
def test_long_answers_take_time_in_proportion(format_, text):
    for pieces in ([text], [text[i : i + 4] for i in range(0, len(text), 4)]):
        started = time.process_time()
        parsed(Answer(format_, text), pieces)
        assert time.process_time() - started < 5


def test_where_reasoning_has_begun():
    """In the prompt, perhaps with its first words, but not in what others have said."""
    begun = AnswerFormat(("<think>", "</think>"), end="<|im_end|>").begins_in_reasoning
    for prompt in ("assistant\n<think>\n", "assistant\n<think>", "assistant\n<think>So far"):
        assert begun(prompt)
    for prompt in ("", "<think></think>", "assistant\n<think>\n\n</think>\n\n", "a<think>b</think>c"):
        assert not begun(prompt)
    assert not begun("user\n<think>hi<|im_end|>\nassistant\n")
    assert not AnswerFormat().begins_in_reasoning("<think>")


def test_without_tools_nothing_is_a_call():
    answer = ANSWERS["hermes"]
    message = parsed(answer, [answer.text], None)
    assert not message.tool_calls and "<tool_call>" in message.content
