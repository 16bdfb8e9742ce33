"""Anthropic's API, by its package."""

import anthropic
import pytest
from served import FULL, HI, WEATHER, client, served

import nybble
from nybble import SamplingParams
from nybble.testing import MockBackend, tiny_model

TOOL = {"name": "weather", "input_schema": WEATHER["parameters"]}


@pytest.fixture(scope="module")
def mock():
    return MockBackend([FULL])


@pytest.fixture(scope="module")
def api(mock):
    with served(mock) as url:
        yield anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)


def check(message):
    thinking, text, call = message.content
    assert (thinking.thinking, text.text) == ("I think", "of the you")
    assert (call.id, call.name, call.input) == ("call_1", "weather", {"city": "Oslo"})
    assert message.stop_reason == "tool_use" and message.role == "assistant" and message.model == "m"
    assert message.usage.output_tokens > 3 and message.usage.input_tokens > 3


def test_an_answer_whole_and_in_pieces(api):
    options = {"model": "m", "max_tokens": 99, "messages": HI, "tools": [TOOL]}
    check(api.messages.create(**options))
    with api.messages.stream(**options) as stream:
        kinds = [event.type for event in stream]
        check(stream.get_final_message())
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3


def test_conversations_reach_the_model_in_its_form(api, mock):
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "rain"}]}
    messages = [
        *HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1"},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    ]
    api.messages.create(
        model="m",
        max_tokens=50,
        messages=messages,
        system=system,
        tools=[TOOL],
        tool_choice={"type": "auto"},
        stop_sequences=["END"],
    )
    asked = mock.requests[-1]
    assert asked.asked == [
        {"role": "system", "content": "Be brief."},
        *HI,
        {
            "role": "assistant",
            "content": "Wait.",
            "reasoning": "hm",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "Oslo"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "user", "content": "And?"},
    ]
    assert asked.params.max_tokens == 50 and asked.params.stop == ("END",)
    assert asked.options["tools"][0]["function"]["parameters"] == TOOL["input_schema"]


def test_tokens_are_counted(api, mock):
    counted = api.messages.count_tokens(model="m", messages=HI, system="Be brief.")
    messages = [{"role": "system", "content": "Be brief."}, *HI]
    assert counted.input_tokens == len(mock.render(messages).token_ids)


def test_why_it_ended():
    with nybble.LLM(tiny_model(), n_ctx=256, executor="reference") as llm:
        text = llm.chat(HI, SamplingParams(max_tokens=8)).message.content
        with served(llm) as url:
            api = anthropic.Anthropic(base_url=url, api_key="any")
            options = {"model": "m", "messages": HI, "extra_body": {"temperature": 0}}
            cut = api.messages.create(max_tokens=8, **options)
            assert cut.content[0].text == text and cut.stop_reason == "max_tokens"
            again = api.messages.create(max_tokens=8, **options).usage
            assert again.cache_read_input_tokens + again.input_tokens == len(llm.render(HI).token_ids)
            stopped = api.messages.create(max_tokens=8, stop_sequences=["none", text[4]], **options)
            assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", text[4])


def test_thinking_is_asked_for_where_there_is_such_a_thing(api, mock):
    api.messages.create(
        model="m", max_tokens=99, messages=HI, thinking={"type": "enabled", "budget_tokens": 10}
    )
    assert mock.requests[-1].options["chat_template_kwargs"] == {"enable_thinking": True}
    with nybble.LLM(tiny_model(), n_ctx=256, executor="reference") as llm:  # its template knows nothing of it
        body = {"model": "m", "max_tokens": 2, "messages": HI, "thinking": {"type": "disabled"}}
        assert client(llm).post("/v1/messages", json=body).status_code == 200


def test_errors_have_its_form(api):
    with pytest.raises(anthropic.NotFoundError, match="there are m"):
        api.messages.create(model="n", max_tokens=1, messages=HI)
    image = {"type": "image", "source": {"type": "url", "url": "x"}}
    with pytest.raises(anthropic.BadRequestError, match="no images or sound") as bad:
        api.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": [image]}])
    assert bad.value.body["type"] == "error" and bad.value.body["error"]["type"] == "invalid_request_error"
    answer = client(MockBackend()).post("/v1/messages", json={"model": "m", "messages": HI})
    assert answer.status_code == 400 and "max_tokens is missing" in answer.json()["error"]["message"]


def test_keys_come_in_its_header():
    with served(MockBackend(["of"]), keys=("secret",)) as url:
        good, bad = (anthropic.Anthropic(base_url=url, api_key=key) for key in ("secret", "wrong"))
        assert good.messages.create(model="m", max_tokens=9, messages=HI).content[0].text == "of"
        with pytest.raises(anthropic.AuthenticationError):
            bad.messages.create(model="m", max_tokens=9, messages=HI)
