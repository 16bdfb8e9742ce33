"""Steering by control vectors, and captured activations."""

import base64
import json
import struct

import numpy as np
import pytest
from served import HI, client

import nybble
from nybble import SamplingParams
from nybble.engine.steering.control_vector import ControlVector, steering
from nybble.testing import MockBackend, tiny_model

CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
PROMPT = "of the other hand there is " * 8


def vector(seed, width=64):
    random = np.random.default_rng(seed)
    return ControlVector({i: random.standard_normal(width).astype(np.float32) for i in (0, 1)})


VECTORS = {"glad": vector(1), "long": vector(2), "narrow": vector(3, width=8)}


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2, n_seq_max=4) as llm:
        yield llm


@pytest.fixture(scope="module")
def asker(llm):
    return client(llm, control_vectors=VECTORS)


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The format by its description: a length, a header in JSON, numbers."""
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    header.pop("__metadata__")
    found, ends = {}, [0]
    for name, about in header.items():
        start, end = about["data_offsets"]
        assert start == ends[-1]
        ends.append(end)
        kind = {"F32": "<f4", "I32": "<i4"}[about["dtype"]]
        found[name] = np.frombuffer(data[8 + n :][start:end], kind).reshape(about["shape"])
    assert len(data) == 8 + n + ends[-1] and n % 8 == 0
    return found


def test_steered_texts_are_those_of_python(llm, asker):
    wanted = [{"name": "glad", "strength": 8}, {"name": "long", "strength": -4.5, "layers": [1, 1]}]
    edit = steering([(VECTORS["glad"], 8, None), (VECTORS["long"], -4.5, range(1, 2))])
    params = SamplingParams(max_tokens=8, ignore_eos=True)
    fields = {"temperature": 0, "max_tokens": 8, "ignore_eos": True, "control_vectors": wanted}
    first, again = (asker.post(COMPLETE, json={"prompt": PROMPT, **fields}).json() for _ in range(2))
    expected = llm.generate(PROMPT, params, edit=edit).text
    assert first["choices"][0]["text"] == again["choices"][0]["text"] == expected
    assert expected != llm.generate(PROMPT, params).text
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in (first, again)]
    assert cached[0] == 0 < cached[1], "what is steered in the same way is computed once"
    answer = asker.post(CHAT, json={"messages": HI, **fields}).json()
    assert answer["choices"][0]["message"]["content"] == llm.chat(HI, params, edit=edit).message.content
    streamed = asker.post(CHAT, json={"messages": HI, "stream": True, **fields}).text
    chunks = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == answer["choices"][0]["message"]["content"]


def test_a_receipt_of_a_steered_text_is_verified_with_its_vector(llm, asker):
    fields = {"prompt": "the", "max_tokens": 6, "receipt": True}
    (choice,) = asker.post(COMPLETE, json={**fields, "control_vectors": [{"name": "glad"}]}).json()["choices"]
    assert llm.verify(nybble.Receipt.from_dict(choice["receipt"]), [VECTORS["glad"]]).is_same


@pytest.mark.parametrize("path", [CHAT, COMPLETE])
def test_wrong_vectors_are_refused(asker, path):
    asked = {"messages": HI} if path == CHAT else {"prompt": "the"}
    for wanted, status, message in [
        ([{"name": "sad"}], 404, "there is no control vector 'sad'; there are glad, long, narrow"),
        ([{"name": "gld"}], 404, "did you mean glad?"),
        ([{"name": "../../etc/passwd"}], 404, "there is no control vector"),
        ([{}], 400, "control_vectors[0].name is missing"),
        ([{"name": "glad", "strength": 1e9}], 400, "control_vectors[0].strength must be a number from -1000"),
        ([{"name": "glad", "layers": [1]}], 400, "control_vectors[0].layers must be a list of 2 to 2"),
        (
            [{"name": "glad", "layers": [1, 0]}],
            400,
            "layers must be the first and the last",
        ),
        ([{"name": "glad", "layers": [5, 9]}], 400, "none of the chosen layers (5 to 9)"),
        ([{"name": "glad"}, {"name": "narrow"}], 400, "all are of one size"),
        ([{"name": "narrow"}], 400, "it was made for another model"),
        ([{"name": "glad"}] * 17, 400, "control_vectors must be a list of 0 to 16"),
        ("glad", 400, "control_vectors must be a list"),
    ]:
        answer = asker.post(path, json={**asked, "max_tokens": 2, "control_vectors": wanted})
        assert answer.status_code == status and message in answer.json()["error"]["message"]
    missing = client(MockBackend()).post(path, json={**asked, "control_vectors": [{"name": "glad"}]})
    assert missing.status_code == 404 and "--control-vector" in missing.json()["error"]["message"]
    assert asker.post(path, json={**asked, "max_tokens": 1, "control_vectors": []}).status_code == 200


def test_activations_are_those_of_a_trace(llm, asker):
    names = ["blk.*.resid_post", "blk.1.attn_probs", "logits"]
    answer = asker.post(COMPLETE, json={"prompt": PROMPT, "max_tokens": 0, "activations": names}).json()
    found = read_safetensors(base64.b64decode(answer["activations"]))
    trace = llm.trace(PROMPT, names)
    assert found.pop("ids").tolist() == trace.ids.tolist()
    assert list(found) == trace.names and found["blk.1.attn_probs"].ndim == 3
    assert all(found[name].tobytes() == trace[name].tobytes() for name in trace)
    assert answer["choices"][0]["text"] == "" and answer["usage"]["prompt_tokens"] == len(trace.ids)


def test_so_are_those_of_a_conversation_that_is_steered(llm, asker):
    wanted = {"activations": ["blk.1.resid_post"], "control_vectors": [{"name": "glad", "strength": 3}]}
    answer = asker.post(CHAT, json={"messages": HI, "max_tokens": 4, "temperature": 0, **wanted}).json()
    found = read_safetensors(base64.b64decode(answer["activations"]))
    edit = VECTORS["glad"].edits(3)
    trace = llm.trace(llm.render(HI).token_ids, "blk.1.resid_post", edit, logits=None)
    assert found["ids"].tolist() == trace.ids.tolist()
    assert found["blk.1.resid_post"].tobytes() == trace["blk.1.resid_post"].tobytes()
    assert answer["usage"]["completion_tokens"] > 0


def test_wrong_activations_are_refused(llm, asker):
    prompt, name = {"prompt": "the", "max_tokens": 1}, "blk.0.resid_post"
    for fields, message in [
        ({"activations": ["blk.0.resid_pos"]}, "called 'blk.0.resid_pos'; the nearest are blk.0.resid_post"),
        ({"activations": []}, "activations must be a list of 1 to 64"),
        ({"activations": [1]}, "activations[0] must be a text"),
        ({"activations": [name], "stream": True}, "activations needs stream: false"),
        ({"activations": [name], "prompt": ["a", "b"]}, "activations needs a single prompt, not 2"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, or 0 with echo: true or activations"),
    ]:
        answer = asker.post(COMPLETE, json={**prompt, **fields})
        error = answer.json()["error"]
        assert answer.status_code == 400 and message in error["message"], error
        assert error["param"] in ("activations", "max_tokens") and "LLM" not in error["message"]
    small = client(llm, activations_max=100)
    answer = small.post(COMPLETE, json={"prompt": "the", "activations": ["*"]})
    assert answer.status_code == 400 and "but max_bytes is 100" in answer.json()["error"]["message"]
    full = client(llm, bodies_max=1000)
    answer = full.post(COMPLETE, json={"prompt": "the", "activations": ["*"]})
    assert answer.status_code == 503 and "too many large requests" in answer.text
    assert full.post(COMPLETE, json={"prompt": "the"}).status_code == 200
    mock = client(MockBackend()).post(COMPLETE, json={"prompt": "the", "activations": ["*"]})
    assert mock.status_code == 400 and "a mock computes none" in mock.json()["error"]["message"]
    assert not llm.scheduler.seating.seated, "what was refused does not go on"
