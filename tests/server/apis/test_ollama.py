"""Ollama's API, by its package."""

import json

import numpy as np
import ollama
import pytest
from served import FULL, HI, TOOLS, client, served

import nybble
from nybble import SamplingParams
from nybble.testing import MockBackend, tiny_model


@pytest.fixture(scope="module")
def mock():
    return MockBackend([FULL])


@pytest.fixture(scope="module")
def api(mock):
    with served(mock) as url:
        yield ollama.Client(host=url)


def test_an_answer_whole_and_in_pieces(api):
    out = api.chat(model="m", messages=HI, tools=TOOLS)
    assert (out.message.content, out.message.thinking) == ("of the you", "I think")
    assert out.message.tool_calls[0].function.arguments == {"city": "Oslo"}
    assert out.done and out.done_reason == "stop" and out.eval_count == 9 and out.prompt_eval_count > 9
    lines = list(api.chat(model="m", messages=HI, tools=TOOLS, stream=True))
    assert "".join(line.message.content for line in lines) == "of the you"
    assert "".join(line.message.thinking or "" for line in lines) == "I think"
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert sum(len(line.message.tool_calls or ()) for line in lines) == 1


def test_texts_go_on(api, mock):
    out = api.generate(model="m", prompt="Hi", system="Be brief.")
    assert out.response == "of the you" and out.thinking == "I think"
    assert mock.requests[-1].asked == [{"role": "system", "content": "Be brief."}, *HI]
    assert api.generate(model="m", prompt="Hi", raw=True).response == "of the you"
    assert mock.requests[-1].asked == "Hi"
    lines = list(api.generate(model="m", prompt="Hi", raw=True, stream=True))
    assert "".join(line.response for line in lines) == "of the you" and lines[-1].done
    assert api.generate(model="m").done_reason == "load"


def test_options_become_parameters(api, mock):
    options = {"num_predict": 5, "temperature": 0.5, "repeat_last_n": -1, "num_ctx": 100, "stop": ["x"]}
    api.chat(model="m", messages=HI, options={**options, "num_thread": 4}, keep_alive="5m", think=True)
    asked = mock.requests[-1]
    assert (asked.params.max_tokens, asked.params.temperature, asked.params.repeat_last_n) == (5, 0.5, 2048)
    assert asked.params.stop == ("x",) and asked.options["chat_template_kwargs"] == {"enable_thinking": True}
    api.chat(model="m", messages=HI, options={"num_predict": -1}, think="high")
    assert mock.requests[-1].params.max_tokens == 2**31 - 1
    assert mock.requests[-1].options["chat_template_kwargs"] == {"reasoning_effort": "high"}
    with pytest.raises(ollama.ResponseError, match="num_ctx must be at most 2048"):
        api.chat(model="m", messages=HI, options={"num_ctx": 10**6})


def test_results_of_tools(api, mock):
    function = {"name": "weather", "arguments": {"city": "Oslo"}}
    messages = [
        *HI,
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
    ]
    api.chat(model="m", messages=messages)
    _, called, result = mock.requests[-1].asked
    assert called["reasoning"] == "hm" and called["tool_calls"][0]["function"] == function
    assert result == {"role": "tool", "content": "rain", "name": "weather"}


def test_the_form_of_the_answer_is_kept():
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2) as llm, served(llm) as url:
        api = ollama.Client(host=url)
        options = {"temperature": 0, "num_predict": 200}
        out = api.chat(model="m", messages=HI, format=schema, options=options)
        assert json.loads(out.message.content)["colour"] in ("red", "blue")
        out = api.chat(model="m", messages=HI, options={"temperature": 0, "num_predict": 5})
        whole = llm.chat(HI, SamplingParams(max_tokens=5))
        assert (out.message.content, out.done_reason) == (whole.message.content, "length")
        assert out.prompt_eval_duration > 0 and out.eval_duration > 0


def test_vectors(api, mock):
    found = api.embed(model="m", input=["a", "of the"]).embeddings
    assert np.allclose(found, mock.embed(["a", "of the"]))
    assert np.allclose(api.embed(model="m", input="a").embeddings, mock.embed("a"))


def test_what_there_is(api, mock):
    (listed,) = api.list().models
    (loaded,) = api.ps().models
    assert listed.model == loaded.model == "m" and loaded.context_length == 2048
    shown = api.show("m")
    assert "completion" in shown.capabilities and shown.modelinfo["mock.embedding_length"] == 64
    assert api.chat(model="m:latest", messages=HI).message.content == "of the you"
    assert client(mock).get("/api/version").json()["version"].count(".") == 2


def test_what_stands_before_a_suffix(filling):
    """By a model with marks for it; no chat template is in between."""
    llm, asker = filling
    body = {"model": "m", "prompt": "the other", "suffix": " of you", "options": {"num_predict": 7}}
    whole = asker.post("/api/generate", json={**body, "stream": False}).json()
    params = SamplingParams(max_tokens=7, temperature=1, seed=3)
    drawn = asker.post("/api/generate", json={**body, "options": {"num_predict": 7, "seed": 3}}).text
    expected = llm.generate(llm.tokenizer.infill("the other", " of you"), params).text
    assert "".join(json.loads(line)["response"] for line in drawn.splitlines()) == expected
    assert whole["eval_count"] == 7 and whole["response"]
    refused = asker.post("/api/generate", json={**body, "system": "be brief"})
    assert refused.status_code == 400 and "system has no place" in refused.json()["error"]


def test_errors_have_its_form(api):
    with pytest.raises(ollama.ResponseError, match="there are m") as missing:
        api.chat(model="n", messages=HI)
    assert missing.value.status_code == 404
    answer = client(MockBackend()).post("/api/chat", json={"model": "m", "messages": [{"role": 1}]})
    assert answer.status_code == 400 and isinstance(answer.json()["error"], str)
    for body in ({"images": ["x"]}, {"template": "x"}, {"suffix": "x"}, {"context": [1]}):
        answer = client(MockBackend()).post("/api/generate", json={"model": "m", "prompt": "Hi", **body})
        assert answer.status_code == 400 and next(iter(body)) in answer.json()["error"]
