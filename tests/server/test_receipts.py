"""The field `receipt` of answers."""

import json

import pytest
from served import HI, TOOLS, client

import nybble
from nybble import Receipt
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


def test_it_is_null_where_no_model_has_made_the_text():
    answer = client(MockBackend(["Hello!"])).post(
        "/v1/chat/completions", json={"messages": HI, "receipt": True}
    )
    assert answer.json()["choices"][0]["receipt"] is None
    answer = client(MockBackend()).post("/v1/chat/completions", json={"messages": HI, "receipt": "yes"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "receipt"
