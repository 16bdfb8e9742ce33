"""The field `receipt` of answers."""

import json

import numpy as np
import pytest
from served import HI, TOOLS, client

import nybble
from nybble import Receipt
from nybble.engine.steering.control_vector import ControlVector
from nybble.testing import MockBackend, tiny_model

PROMPT = "the other is in"


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2, n_seq_max=4) as llm:
        yield llm


def chunks(asker, path, **fields):
    answer = asker.post(path, json={**fields, "stream": True})
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/chat/completions", {"messages": HI, "tools": TOOLS, "parallel_tool_calls": False}),
        ("/v1/completions", {"prompt": [PROMPT, "of"], "n": 2}),
        ("/v1/completions", {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 1}),
    ],
)
def test_each_text_has_one_when_asked(llm, path, fields):
    """Streams have it with the reason of their end."""
    asker, fields = client(llm), {"max_tokens": 12, "temperature": 1, "receipt": True, **fields}
    answer = asker.post(path, json=fields).json()
    streamed = [
        choice
        for chunk in chunks(asker, path, **fields)
        for choice in chunk["choices"]
        if choice["finish_reason"]
    ]
    assert len(streamed) == len(answer["choices"]) > 0
    for choice in (*answer["choices"], *streamed):
        receipt = Receipt.from_dict(choice["receipt"])
        assert receipt.choice == choice["index"] % fields.get("n", 1)
        assert llm.verify(receipt).is_same
    plain = asker.post(path, json={**fields, "receipt": False}).json()
    assert all("receipt" not in choice for choice in plain["choices"])


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", {"messages": HI, "max_tokens": 12}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 12}),
        ("/api/chat", {"messages": HI, "options": {"num_predict": 12}}),
        ("/api/generate", {"prompt": PROMPT, "options": {"num_predict": 12}}),
        ("/api/generate", {"prompt": PROMPT, "raw": True, "options": {"num_predict": 12}}),
    ],
)
def test_other_apis_have_it_and_steer(llm, path, fields):
    """Of a stream it is in the last piece that says why it has ended."""
    random = np.random.default_rng(0)
    vector = ControlVector({1: random.standard_normal(64).astype(np.float32)})
    asker = client(llm, control_vectors={"glad": vector})
    fields = {"model": "m", **fields, "receipt": True}
    for more in ({}, {"control_vectors": [{"name": "glad", "strength": 30}]}):
        whole = asker.post(path, json={**fields, **more, "stream": False}).json()
        text = asker.post(path, json={**fields, **more, "stream": True}).text
        lines = [line.removeprefix("data: ") for line in text.splitlines() if "{" in line]
        ends = [json.loads(line) for line in lines if '"receipt":{' in line]
        assert len(ends) == 1
        last = ends[0]["response"] if path == "/v1/responses" else ends[0]
        for answer in (whole, last):
            receipt = Receipt.from_dict(answer["receipt"])
            assert bool(receipt.edits) == bool(more)
            assert llm.verify(receipt, [vector]).is_same
    refused = asker.post(path, json={**fields, "activations": ["logits"]})
    assert refused.status_code == 400 and "activations is not supported" in refused.text


def test_it_is_null_where_no_model_has_made_the_text():
    answer = client(MockBackend(["Hello!"])).post(
        "/v1/chat/completions", json={"messages": HI, "receipt": True}
    )
    assert answer.json()["choices"][0]["receipt"] is None
    answer = client(MockBackend()).post("/v1/chat/completions", json={"messages": HI, "receipt": "yes"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "receipt"
