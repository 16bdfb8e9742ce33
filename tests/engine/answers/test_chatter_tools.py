"""Calls of tools in answers, on tiny models."""

import json
import math
import sys

import pytest
from chat_models import HERMES, SHORT, TOOLS, USER, llm_with

import nybble
from nybble import NybbleError, RequestError, SamplingParams


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with llm_with(tmp_path_factory.mktemp("chat"), HERMES) as made:
        yield made


@pytest.mark.parametrize("choice", ["required", "look", {"type": "function", "function": {"name": "look"}}])
def test_tool_choice_makes_it_call(llm, choice):
    pytest.importorskip("llguidance")
    params = SamplingParams(max_tokens=120, temperature=1.0, seed=3)
    out = llm.chat(USER, params, tools=TOOLS, tool_choice=choice)
    (call, *others) = out.message.tool_calls
    assert call.function.name in ("look", "stop") and json.loads(call.function.arguments)["n"] in (1, 2)
    if choice != "required":
        assert call.function.name == "look" and not others
        assert out.finish_reason == "tool_calls" and out.message.content is None
    request = llm.chat_stream(USER, params, tools=TOOLS, tool_choice=choice)
    assert [delta.tool_calls[0].id for delta in request if delta.tool_calls] == [
        each.id for each in out.message.tool_calls
    ]
    assert request.message == out.message


def test_a_free_choice_leaves_words_as_they_are(llm):
    """Greedy or drawn, an answer without a call has the tokens of an answer without a constraint."""
    pytest.importorskip("llguidance")
    prompt = llm.render(USER, tools=TOOLS).token_ids
    for seed in range(4):
        params = SamplingParams(max_tokens=60, temperature=seed / 2, seed=seed)
        out = llm.chat(USER, params, tools=TOOLS)
        assert out.token_ids == llm.generate(prompt, params).token_ids


class Says:
    """A sampler by which a model says a text, token by token, as long as it may."""

    def __init__(self, ids):
        self.ids = list(ids)

    def __call__(self, logits, ids):
        if self.ids and logits[self.ids[0]] > -math.inf:
            return self.ids.pop(0)
        self.ids = []
        return None


def test_a_free_choice_makes_calls_well_formed(llm):
    """From the opener on the model cannot say what it likes; after the call it can."""
    pytest.importorskip("llguidance")
    for text in (
        "I look.\n<tool_call>Well",
        '<tool_call>\n{"name": "sleep"',
        '<tool_call>{"name": "look", "a',
    ):
        ids = llm.tokenizer.encode(text, add_special=False)
        params = SamplingParams(max_tokens=120, temperature=1.0, seed=2, samplers=[Says(ids), "temperature"])
        out = llm.chat(USER, params, tools=TOOLS)
        (call, *_) = out.message.tool_calls
        assert call.function.name in ("look", "stop") and json.loads(call.function.arguments)["n"] in (1, 2)
        assert (out.message.content or "").startswith(text[: text.index("<")].strip())
        request = llm.chat_stream(USER, params, tools=TOOLS)
        assert len([*request]) and request.message == out.message
    whole = 'So. <tool_call>{"name": "stop", "arguments": {"n": 2}}</tool_call> the other hand'
    ids = llm.tokenizer.encode(whole, add_special=False)
    params = SamplingParams(max_tokens=len(ids), samplers=[Says(ids)])
    out = llm.chat(USER, params, tools=TOOLS)
    assert out.token_ids == ids and out.message.tool_calls[0].function.name == "stop"


def test_a_free_choice_is_lenient_where_it_cannot_be_enforced(llm, monkeypatch):
    text = '<tool_call>{"name": "sleep", "arguments": {}}</tool_call>'
    ids = llm.tokenizer.encode(text, add_special=False)
    params = SamplingParams(max_tokens=len(ids), samplers=[Says(ids)])
    strange = json.loads(json.dumps(TOOLS))
    strange[0]["function"]["parameters"]["not"] = {"required": ["m"]}
    out = llm.chat(USER, params, tools=strange)
    assert out.message.tool_calls[0].function.name == "sleep"
    with pytest.raises(RequestError, match=r"the parameters of the tool 'look'.*not"):
        llm.chat(USER, params, tools=strange, tool_choice="required")
    monkeypatch.setitem(sys.modules, "llguidance", None)
    renamed = json.loads(json.dumps(TOOLS).replace("look", "watch"))
    assert llm.chat(USER, params, tools=renamed).message.tool_calls[0].function.name == "sleep"
    with pytest.raises(NybbleError, match="llguidance"):
        llm.chat(USER, params, tools=renamed, tool_choice="required")


def test_a_conversation_with_calls_goes_on(llm):
    pytest.importorskip("llguidance")
    params = SamplingParams(max_tokens=100)
    out = llm.chat(USER, params, tools=TOOLS, tool_choice="stop")
    (call,) = out.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    text = llm.render([*USER, out.message, result], tools=TOOLS).text
    assert '<tool_call>\n{"name": "stop", "arguments": {"n": ' in text and "done" in text
    again = llm.chat([*USER, out.message, result], params, tools=TOOLS, tool_choice="stop")
    assert again.message.tool_calls[0].id != call.id


def test_without_a_choice_of_tools_they_are_not_shown(llm):
    assert "look" in llm.render(USER, tools=TOOLS).text
    out = llm.chat(USER, SHORT, tools=TOOLS, tool_choice="none")
    assert out.message == llm.chat(USER, SHORT).message


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_tools_are_not_ignored_silently(tmp_path, choice):
    with llm_with(tmp_path, "{{ messages[0].content }}") as llm:
        with pytest.raises(RequestError, match="cannot be told of `tools`, and calls none"):
            llm.chat(USER, tools=TOOLS, tool_choice=choice)
        assert llm.chat(USER, SHORT, tools=TOOLS, tool_choice="none").message.tool_calls == ()


def test_a_constraint_and_a_choice_contradict_each_other(llm):
    with pytest.raises(RequestError, match="tool_choice asks for a call, and `regex` for another text"):
        llm.chat(USER, SamplingParams(regex="a"), tools=TOOLS, tool_choice="required")
    with pytest.raises(RequestError, match="`echo` is for `generate`"):
        llm.chat(USER, SamplingParams(echo=True))


@pytest.mark.model
def test_smollm2_calls_well_or_says_what_it_says(smollm2_path):
    """Its own template knows no tools."""
    pytest.importorskip("llguidance")
    with nybble.LLM(smollm2_path, n_ctx=512, chat_template=HERMES) as llm:
        plain = llm.chat(USER, SamplingParams(max_tokens=24), tools=TOOLS)
        prompt = llm.render(USER, tools=TOOLS).token_ids
        assert plain.message.content == llm.generate(prompt, SamplingParams(max_tokens=24)).text
        begun = [*USER, {"role": "assistant", "content": "I look.\n"}]
        ids = llm.tokenizer.encode("<tool_call>", add_special=False)
        params = SamplingParams(max_tokens=64, temperature=1.0, seed=1, samplers=[Says(ids), "temperature"])
        out = llm.chat(begun, params, tools=TOOLS)
        for call in out.message.tool_calls:
            assert call.function.name in ("look", "stop") and json.loads(call.function.arguments)["n"] in (
                1,
                2,
            )
        assert out.message.tool_calls
