"""`/v1/chat/completions`, by the openai package and by hand."""

import base64
import json

import numpy as np
import openai
import pytest
from served import CALL, FULL, HI, TOOLS, client, served
from stuck_backend import StuckBackend

import nybble
from nybble import ChatMessage, SamplingParams, ToolCall
from nybble.server.wire.sse import TEXT, event, event_form
from nybble.testing import MockBackend, tiny_model


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2, n_seq_max=4) as llm:
        yield llm


@pytest.fixture(scope="module")
def api(llm):
    with served(llm) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def mock_api():
    with served(MockBackend([FULL])) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def test_an_answer_is_what_the_model_says(api, llm):
    for params in ({"temperature": 0}, {"temperature": 0.9, "seed": 5, "top_p": 0.9}):
        out = api.chat.completions.create(model="m", messages=HI, max_tokens=9, **params)
        whole = llm.chat(HI, SamplingParams(max_tokens=9, **params))
        assert out.choices[0].message.content == whole.message.content
        assert out.choices[0].finish_reason == whole.finish_reason == "length"
        assert (out.usage.prompt_tokens, out.usage.completion_tokens) == (whole.n_prompt_tokens, 9)
    assert out.object == "chat.completion" and out.model == "m" and out.id.startswith("chatcmpl-")


def test_a_stream_gives_the_same(api, llm):
    options = {"model": "m", "messages": HI, "max_tokens": 12, "temperature": 0}
    chunks = list(api.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content is None
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == llm.chat(HI, SamplingParams(max_tokens=12)).message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_answers(api, llm):
    params = {"max_tokens": 6, "temperature": 1.0, "seed": 3, "n": 3}
    alone = [choice.message.content for choice in llm.chat(HI, SamplingParams(**params)).choices]
    out = api.chat.completions.create(model="m", messages=HI, **params)
    assert [choice.message.content for choice in out.choices] == alone
    texts = ["", "", ""]
    for chunk in api.chat.completions.create(model="m", messages=HI, stream=True, **params):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == alone


def test_logprobs(api, llm):
    options = {"max_tokens": 5, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    entries = api.chat.completions.create(model="m", messages=HI, **options).choices[0].logprobs.content
    whole = llm.chat(HI, SamplingParams(max_tokens=5, logprobs=2)).logprobs
    assert [(each.token, each.logprob, each.bytes) for each in entries] == [
        (each.token, each.logprob, each.bytes) for each in whole
    ]
    assert [[top.token for top in each.top_logprobs] for each in entries] == [
        [top.token for top in each.top_logprobs] for each in whole
    ]
    streamed = []
    for chunk in api.chat.completions.create(model="m", messages=HI, stream=True, **options):
        if (logprobs := chunk.choices[0].logprobs) is not None:
            streamed += logprobs.content
    assert streamed == entries


def test_prompts_are_computed_once(api):
    long = [{"role": "user", "content": "the other " * 30}]
    cached = [
        api.chat.completions.create(model="m", messages=long, max_tokens=1).usage.prompt_tokens_details
        for _ in range(2)
    ]
    assert cached[0].cached_tokens < 10 and cached[1].cached_tokens > 100


def test_reasoning_and_calls_come_whole_and_in_pieces(mock_api):
    message = mock_api.chat.completions.create(model="m", messages=HI, tools=TOOLS).choices[0].message
    assert (message.content, message.reasoning_content, message.reasoning) == (
        "of the you",
        "I think",
        "I think",
    )
    call = message.tool_calls[0]
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == (
        "call_1",
        "weather",
        {"city": "Oslo"},
    )
    chunks = list(mock_api.chat.completions.create(model="m", messages=HI, tools=TOOLS, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "of the you"
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "I think"
    first, second = (delta.tool_calls[0] for delta in deltas if delta.tool_calls)
    assert (first.index, first.id, first.type, first.function.name, first.function.arguments) == (
        0,
        "call_1",
        "function",
        "weather",
        "",
    )
    assert (second.id, second.function.arguments) == (None, '{"city":"Oslo"}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_one_call_at_a_time():
    two = ChatMessage(content=None, tool_calls=(CALL, ToolCall("call_2", CALL.function)))
    with served(MockBackend([two])) as url:
        api = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        for parallel, n in ((True, 2), (False, 1)):
            out = api.chat.completions.create(
                model="m", messages=HI, tools=TOOLS, parallel_tool_calls=parallel
            )
            assert len(out.choices[0].message.tool_calls) == n
            assert out.choices[0].finish_reason == "tool_calls"


def test_a_tool_is_called_if_it_must_be(api):
    choice = {"type": "function", "function": {"name": "weather"}}
    out = api.chat.completions.create(
        model="m", messages=HI, tools=TOOLS, tool_choice=choice, temperature=0, max_tokens=200
    )
    (call,) = out.choices[0].message.tool_calls
    assert call.function.name == "weather" and len(json.loads(call.function.arguments).get("city", "")) <= 8


def test_the_form_of_the_answer_is_kept(api):
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    named = {"type": "json_schema", "json_schema": {"name": "colour", "schema": schema, "strict": True}}
    out = api.chat.completions.create(model="m", messages=HI, response_format=named, temperature=0)
    assert json.loads(out.choices[0].message.content)["colour"] in ("red", "blue")


def test_errors_are_those_of_the_package(api):
    with pytest.raises(openai.NotFoundError, match="no model 'n'; there are m") as missing:
        api.chat.completions.create(model="n", messages=HI)
    assert missing.value.code == "model_not_found" and missing.value.type == "not_found_error"
    with pytest.raises(openai.BadRequestError, match="temperature must be a number from 0") as bad:
        api.chat.completions.create(model="m", messages=HI, temperature=-1)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        api.chat.completions.create(model="m", messages=[{"role": "user", "content": "a b " * 900}])
    assert (long.value.code, long.value.type) == ("context_length_exceeded", "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": []}, "functions"),
        ({"chat_template": "{{ messages }}"}, "chat_template"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"n": 5}, "n"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"regex": "("}, "regex"),
    ],
)
def test_what_cannot_be_honoured_is_named(llm, fields, param):
    answer = client(llm, n_seq_max=4).post("/v1/chat/completions", json={"messages": HI, **fields})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text


def test_what_changes_nothing_is_accepted():
    inert = {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"}
    harmless = {"modalities": ["text"], "reasoning_effort": "none", "parallel_tool_calls": True, "seed": -1}
    backend = MockBackend()
    answer = client(backend).post("/v1/chat/completions", json={"messages": HI, **inert, **harmless})
    assert answer.status_code == 200 and backend.requests[0].params.seed is None


def test_unknown_fields_are_ignored_or_errors():
    for strict, status in ((False, 200), (True, 400)):
        answer = client(MockBackend(), strict=strict).post(
            "/v1/chat/completions", json={"messages": HI, "colour": "blue"}
        )
        assert answer.status_code == status
    assert answer.json()["error"]["param"] == "colour"


def test_developers_are_the_system():
    backend = MockBackend()
    messages = [{"role": "developer", "content": "Be brief."}, *HI]
    assert client(backend).post("/v1/chat/completions", json={"messages": messages}).status_code == 200
    assert [message["role"] for message in backend.requests[0].asked] == ["system", "user"]


def test_what_the_server_recommends_is_for_those_who_say_nothing():
    backend = MockBackend()
    post = client(backend).post
    post("/v1/chat/completions", json={"messages": HI})
    post("/v1/chat/completions", json={"messages": HI, "temperature": 0.5, "max_completion_tokens": 7})
    post("/v1/chat/completions", json={"messages": HI, "repetition_penalty": 1.2, "top_k": -1})
    given = [request.params for request in backend.requests]
    assert [params.temperature for params in given] == [1.0, 0.5, 1.0]
    assert given[0].max_tokens == 2**31 - 1 and given[1].max_tokens == 7
    assert given[2].repeat_penalty == 1.2 and given[2].top_k == 0


def test_a_fault_in_the_middle_is_an_event():
    backend = StuckBackend()
    backend.n_open = 1
    with served(backend) as url:
        api = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        stream = api.chat.completions.create(model="m", messages=HI, stream=True)
        next(stream)
        backend.streams[0].take = lambda: 1 / 0
        backend.open(2)
        with pytest.raises(openai.APIError, match="the server has failed"):
            list(stream)


def test_embeddings_as_numbers_and_as_bytes(mock_api):
    plain = client(MockBackend()).post("/v1/embeddings", json={"input": ["a", "of the"]}).json()
    rows = MockBackend().embed(["a", "of the"])
    assert np.allclose([each["embedding"] for each in plain["data"]], rows)
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    found = mock_api.embeddings.create(model="m", input=["a", "of the"])  # base64, decoded by the package
    assert np.array_equal(np.float32([each.embedding for each in found.data]), rows)
    raw = client(MockBackend()).post("/v1/embeddings", json={"input": [65, 66], "encoding_format": "base64"})
    row = np.frombuffer(base64.b64decode(raw.json()["data"][0]["embedding"]), "<f4")
    assert np.array_equal(row, MockBackend().embed([65, 66])[0])
    bad = client(MockBackend()).post("/v1/embeddings", json={"input": "a", "dimensions": 3})
    assert bad.status_code == 400 and bad.json()["error"]["param"] == "dimensions"


def test_documents_come_in_order():
    body = {"query": "the", "documents": ["of", "the", {"text": "you"}], "return_documents": True, "top_n": 2}
    results = client(MockBackend()).post("/v1/rerank", json=body).json()["results"]
    assert results[0]["index"] == 1 and results[0]["document"] == {"text": "the"} and len(results) == 2
    assert results[0]["relevance_score"] > results[1]["relevance_score"]


def test_tokens_and_back():
    post = client(MockBackend()).post
    ids = MockBackend().tokenizer.encode("of the é", add_special=False)
    assert post("/tokenize", json={"content": "of the é"}).json()["tokens"] == ids
    pieces = post("/tokenize", json={"content": "of é", "with_pieces": True}).json()["tokens"]
    assert pieces[0] == {"id": ids[0], "piece": "of"} and pieces[-1]["piece"] == [0xA9]
    assert post("/detokenize", json={"tokens": ids}).json()["content"] == "of the é"
    assert post("/detokenize", json={"tokens": [10**6]}).status_code == 400


def test_models_are_listed(mock_api):
    assert [model.id for model in mock_api.models.list()] == ["m"]
    assert mock_api.models.retrieve("m").max_model_len == 2048
    with pytest.raises(openai.NotFoundError):
        mock_api.models.retrieve("n")


@pytest.mark.parametrize("text", ["a", "", 'é"\n\u2028\0', "data: \n\n"])
def test_events_are_those_that_would_be_written_at_once(text):
    value = {"model": "m", "choices": [{"text": TEXT, "index": 3}], "usage": None}
    expected = {**value, "choices": [{"text": text, "index": 3}]}
    assert event_form(value)(text) == event(expected)
