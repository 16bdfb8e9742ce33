"""The Responses API, by the openai package."""

import openai
import pytest
from served import FULL, HI, WEATHER, client, served

from nybble.testing import MockBackend

TOOL = {"type": "function", **WEATHER}


@pytest.fixture(scope="module")
def mock():
    return MockBackend([FULL])


@pytest.fixture(scope="module")
def api(mock):
    with served(mock) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def check(response):
    reasoning, message, call = response.output
    assert reasoning.content[0].text == "I think" and message.content[0].text == "of the you"
    assert (call.call_id, call.name, call.arguments) == ("call_1", "weather", '{"city":"Oslo"}')
    assert response.output_text == "of the you" and response.status == "completed"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_an_answer_whole_and_in_pieces(api):
    options = {"model": "m", "input": "Hi", "tools": [TOOL]}
    check(api.responses.create(**options))
    events = list(api.responses.create(**options, stream=True))
    check(events[-1].response)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:3] == ["created", "in_progress", "output_item.added"] and kinds[-1] == "completed"
    assert kinds.count("output_item.added") == kinds.count("output_item.done") == 3
    ids = [event.item.id for event in events if event.type == "response.output_item.done"]
    assert ids == [item.id for item in events[-1].response.output]
    with api.responses.stream(**options) as stream:
        check(stream.get_final_response())


def test_conversations_reach_the_model_in_its_form(api, mock):
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    ]
    api.responses.create(model="m", input=items, instructions="Be brief.", max_output_tokens=50)
    system, user, assistant, tool = mock.requests[-1].asked
    assert (system["content"], user, tool["content"]) == ("Be brief.", HI[0], "rain")
    assert (assistant["content"], assistant["reasoning"]) == ("Wait.", "hm")
    assert assistant["tool_calls"][0]["function"]["name"] == "weather"
    assert mock.requests[-1].params.max_tokens == 50


def test_an_answer_that_is_cut(mock):
    with served(MockBackend(["of the you"])) as url:
        api = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        response = api.responses.create(model="m", input="Hi", max_output_tokens=2)
        assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
        assert response.output_text == "of the"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"truncation": "auto"}, "truncation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_named(fields, param):
    answer = client(MockBackend()).post("/v1/responses", json={"input": "Hi", **fields})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_nothing_is_kept_and_that_is_said():
    answer = client(MockBackend()).post("/v1/responses", json={"input": "Hi", "store": True}).json()
    assert answer["store"] is False and answer["previous_response_id"] is None
