"""What a conversation may be, and what becomes of it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from nybble import ChatMessage, RequestError, ToolCall
from nybble.engine.chat.conversation import Conversation, checked_messages, turns
from nybble.engine.chat.message import FunctionCall
from nybble.engine.chat.tools import checked_tool_choice, checked_tools, parameters_of

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def test_messages_are_copied_and_made_plain():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = {"id": "1", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    first, second = checked_messages(messages)
    assert first == {"role": "user", "content": "ab"}
    assert second["content"] == "" and second["tool_calls"][0]["function"]["arguments"] == {"a": [1]}
    second["tool_calls"][0]["function"]["arguments"]["a"].append(2)
    assert call["function"]["arguments"] == '{"a": [1]}'


def test_an_answer_is_a_message():
    answer = ChatMessage(
        content="a", reasoning="b", tool_calls=[ToolCall("1", FunctionCall("f", '{"x": 1}'))]
    )
    (message,) = checked_messages([answer])
    assert message["content"] == "a" and message["reasoning"] == "b"
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": 1}}


def test_turns_begin_with_the_user():
    roles = ["system", "user", "assistant", "tool", "assistant", "user", "user", "assistant"]
    messages = [{"role": role} for role in roles]
    assert turns(messages) == (1, [1, 5, 6])
    assert turns(messages[:1]) == (1, [])


def test_a_last_message_of_the_assistant_is_continued():
    answer = {"role": "assistant", "content": "a"}
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    assert Conversation.of([USER, answer]).is_continued
    assert not Conversation.of([USER]).is_continued
    assert not Conversation.of([USER, answer], continue_final_message=False).is_continued
    assert not Conversation.of([USER, answer], add_generation_prompt=False).is_continued
    assert not Conversation.of([USER, called]).is_continued
    for messages in ([USER], [USER, called]):
        with pytest.raises(RequestError, match="continue_final_message=True needs a last message of the"):
            Conversation.of(messages, continue_final_message=True)


@pytest.mark.parametrize(
    "options",
    [
        {"documents": "x"},
        {"documents": ["x"]},
        {"variables": "x"},
        {"variables": {"x": {1, 2}}},
        {"variables": {1: 2}},
        {"add_generation_prompt": 1},
        {"continue_final_message": "yes"},
        {"variables": {"x": 1 << 5000}},
    ],
    ids=str,
)
def test_arguments_of_the_wrong_type(options):
    with pytest.raises(RequestError, match="must "):
        Conversation.of([USER], **options)


@pytest.mark.parametrize(
    "tools",
    [
        "x",
        [1],
        [{}],
        [{"type": "function"}],
        [{"type": "retrieval", "function": {"name": "f"}}],
        [{"type": "function", "function": {"name": "a b"}}],
        [{"type": "function", "function": {"name": "<|im_end|>"}}],
        [{"type": "function", "function": {"name": "f" * 65}}],
        [{"type": "function", "function": {"name": "f", "description": 1}}],
        [{"type": "function", "function": {"name": "f", "parameters": "x"}}],
        [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}],
        [{"type": "function", "function": {"name": "f", "parameters": {"properties": [1]}}}],
        [{"type": "function", "function": {"name": "f", "parameters": {"x": {1}}}}],
        [TOOL, TOOL],
    ],
    ids=str,
)
def test_what_are_no_tools(tools):
    with pytest.raises(RequestError, match="tools"):
        checked_tools(tools)


def _entries(inner):
    """Mappings with the entries of messages and tools, and anything in them."""
    names = "role content tool_calls type text function name arguments parameters reasoning"
    return st.dictionaries(st.sampled_from(names.split(" ")), inner)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("user") | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | _entries(inner),
    max_leaves=20,
)


@given(ANYTHING)
def test_whatever_is_given_there_is_an_answer_or_an_error(anything):
    for check in (checked_messages, checked_tools, lambda value: checked_tool_choice(value, [])):
        with suppress(RequestError):
            json.dumps(check(anything)).encode()


def test_tools_are_copied():
    assert checked_tools(None) == [] and checked_tools([]) == []
    (tool,) = checked_tools([{"function": {"name": "f"}}])
    assert tool == {"type": "function", "function": {"name": "f"}}
    assert parameters_of(tool) == {"type": "object", "properties": {}}


def test_tool_choice():
    tools = checked_tools([TOOL])
    for choice in ("auto", "none", "required"):
        assert checked_tool_choice(choice, tools) == choice
    for named in ("look_up", {"type": "function", "function": {"name": "look_up"}}):
        assert checked_tool_choice(named, tools) == ("look_up",)
    with pytest.raises(RequestError, match="none of the tools; did you mean look_up"):
        checked_tool_choice("lookup", tools)
    for choice, own in (("required", []), ("look_up", []), (1, tools), ({}, tools), (None, tools)):
        with pytest.raises(RequestError, match="tool_choice"):
            checked_tool_choice(choice, own)
