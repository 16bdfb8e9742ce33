"""A stream whose model is loaded first says meanwhile that it is alive; and how it fails then."""

import contextlib
import json

import httpx
import pytest
from model_house import House
from served import HI, connected, post, served_models, wait_for

from nybble.errors import ModelError

STREAMS = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/messages": {"messages": HI, "max_tokens": 99},
    "/v1/responses": {"input": "Hi"},
}
PINGS = {"/v1/messages": b'event: ping\ndata: {"type":"ping"}\n\n'}
ENDS = {"/v1/messages": "message_stop", "/v1/responses": "response.completed"}


@contextlib.contextmanager
def asked(house, path, ping_seconds):
    """The status of a stream's answer, and its bytes, as they come."""
    body = {"model": "a", "stream": True, **STREAMS[path]}
    with served_models(house.registry(), ping_seconds=ping_seconds) as url:
        try:
            with httpx.stream("POST", f"{url}{path}", json=body, timeout=20) as answer:
                yield answer, answer.iter_raw()
        finally:
            house.may_open["a"].set()


def loading_house():
    house = House(a=5)
    house.may_open["a"].clear()
    return house


def after_pings(path, chunks):
    """Reads two signs of life; -> what has come with them."""
    ping, read = PINGS.get(path, b": ping\n\n"), b""
    for chunk in chunks:
        read += chunk
        if read.count(ping) >= 2:
            assert read.replace(ping, b"") == b""
            return
    raise AssertionError("it has ended")


def events(data):
    lines = [line.removeprefix("data: ") for line in data.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_is_alive_while_its_model_is_loaded(path):
    house = loading_house()
    with asked(house, path, 0.05) as (answer, chunks):
        assert answer.status_code == 200 and "text/event-stream" in answer.headers["content-type"]
        after_pings(path, chunks)
        house.may_open["a"].set()
        rest = b"".join(chunks)
    assert b"I am" in rest or b'"text":"I' in rest, rest
    assert events(rest)[-1]["type"] == ENDS[path] if path in ENDS else rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", STREAMS)
def test_a_load_that_fails_later_is_an_event(path):
    house = loading_house()
    house.errors["a"] = ModelError("/models/a.gguf: it is broken")
    with asked(house, path, 0.05) as (_, chunks):
        after_pings(path, chunks)
        house.may_open["a"].set()
        rest = b"".join(chunks)
    failure = [each for each in events(rest) if each.get("type") != "ping"][-1]
    message = failure["message"] if path == "/v1/responses" else failure["error"]["message"]
    assert "cannot be loaded" in message and "it is broken" in message and "/models/" not in message
    if path in ENDS:
        assert failure["type"] == "error" and b"event: error" in rest
    else:
        assert failure["error"]["code"] == "model_not_loaded" and rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", STREAMS)
def test_one_that_fails_at_once_is_a_status(path):
    house = House(a=5)
    house.errors["a"] = ModelError("it is broken")
    with asked(house, path, 20) as (answer, chunks):
        found = json.loads(b"".join(chunks))
    assert answer.status_code == 503 and answer.headers["content-type"] == "application/json"
    assert "cannot be loaded" in found["error"]["message"]


def test_wrong_requests_are_a_status_too():
    """What is checked with the model's help, and nothing of it is sent before."""
    with served_models(House(a=5).registry()) as url:
        for model, fields, status in (
            ("b", {}, 404),
            ("a", {"activations": ["*"]}, 400),
            ("a", {"n": 99}, 400),
        ):
            body = {"messages": HI, "stream": True, "model": model, **fields}
            assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == status


def test_ollama_has_no_sign_of_life():
    """Its lines are JSON, and no client expects one without a meaning."""
    house = loading_house()
    with served_models(house.registry(), ping_seconds=0.02) as url, connected(url) as connection:
        connection.sendall(post("/api/chat", json.dumps({"model": "a", "messages": HI}).encode()))
        wait_for(lambda: house.opened)
        with httpx.stream(
            "POST", f"{url}/v1/completions", json={"model": "a", "prompt": "Hi", "stream": True}
        ) as other:
            after_pings("/v1/completions", other.iter_raw())
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(20)
        house.may_open["a"].set()
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_during_the_load_is_forgotten():
    house = loading_house()
    registry = house.registry()
    with served_models(registry, ping_seconds=0.05) as url:
        with connected(url) as connection:
            body = {"model": "a", "stream": True, "messages": HI}
            connection.sendall(post("/v1/chat/completions", json.dumps(body).encode()))
            assert connection.recv(1000)
        wait_for(lambda: "num_requests_waiting 0" in httpx.get(f"{url}/metrics").text)
        (entry,) = registry._entries.values()
        wait_for(lambda: not entry.waiters)
        house.may_open["a"].set()
        wait_for(lambda: entry.is_idle)
