"""Several models behind one server, asked for over HTTP."""

import json
import threading
from datetime import UTC, datetime

import ollama
import pytest
from model_house import House
from openai import NotFoundError, OpenAI
from served import HI, client, served_models, wait_for
from starlette.testclient import TestClient

from nybble.errors import ModelError, RequestError
from nybble.server.app import make_app
from nybble.server.work.settings import Settings
from nybble.testing import MockBackend

CHAT = "/v1/chat/completions"
MB = 10**6


def asker(house, registry, **settings):
    app = make_app(registry, Settings(**settings))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def house():
    return House(a=300 * MB, b=300 * MB, c=300 * MB)


@pytest.fixture
def api(house):
    """A client; of the three models two fit."""
    with asker(house, house.registry(700 * MB)) as api:
        yield api


def said(api, model, **fields):
    answer = api.post(CHAT, json={"messages": HI, "model": model, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def states(api):
    return {each["id"]: each["nybble"]["state"] for each in api.get("/v1/models").json()["data"]}


def test_each_is_loaded_when_it_is_asked_for(api, house):
    assert states(api) == dict.fromkeys("abc", "not loaded") and not house.opened
    assert said(api, "a") == "I am a" and said(api, "b:latest") == "I am b"
    assert states(api) == {"a": "loaded", "b": "loaded", "c": "not loaded"}
    assert said(api, "a") == "I am a" and said(api, "c") == "I am c"
    assert states(api) == {"a": "loaded", "b": "not loaded", "c": "loaded"}
    assert house.opened == ["a", "b", "c"] and house.closed == ["b"]
    metrics = api.get("/metrics").text
    assert "model_loads_total 3" in metrics and "model_unloads_total 1" in metrics
    assert "models_memory_bytes 6e+08" in metrics


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/completions", {"prompt": "Hi", "stream": True}),
        (CHAT, {"messages": HI, "stream": True}),
        ("/v1/embeddings", {"input": "Hi"}),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}),
        ("/v1/messages", {"messages": HI, "max_tokens": 9}),
        ("/v1/messages/count_tokens", {"messages": HI}),
        ("/v1/responses", {"input": "Hi"}),
        ("/api/chat", {"messages": HI}),
        ("/api/generate", {"prompt": "Hi"}),
        ("/api/embed", {"input": "Hi"}),
        ("/tokenize", {"content": "Hi"}),
        ("/detokenize", {"tokens": [1]}),
    ],
)
def test_all_apis_load_and_let_go(api, house, path, body):
    assert api.post(path, json={**body, "model": "a"}).status_code == 200
    assert house.opened == ["a"] and states(api)["a"] == "loaded"
    assert said(api, "b") and said(api, "c")
    assert house.closed == ["a"], "nobody holds it"
    missing = api.post(path, json={**body, "model": "../a"})
    assert missing.status_code == 404 and "there are a, b, c" in missing.text


def test_what_is_told_of_those_that_are_not_loaded(api, house):
    (first, *_) = api.get("/v1/models").json()["data"]
    assert first == api.get("/v1/models/a").json()
    assert first["nybble"] == {
        "state": "not loaded",
        "n_ctx": 2048,
        "cache_type": "f32",
        "memory_bytes": 300 * MB,
        "expires_in": None,
        "problem": None,
    }
    assert first["system_fingerprint"] is None and first["created"] == 7
    shown = api.post("/api/show", json={"model": "a"}).json()
    assert shown["model_info"]["mock.embedding_length"] == 64 and not house.opened
    assert [model["name"] for model in api.get("/api/tags").json()["models"]] == ["a", "b", "c"]
    assert api.get("/api/ps").json() == {"models": []}
    said(api, "b")
    ((loaded,),) = api.get("/api/ps").json().values()
    assert (loaded["name"], loaded["size"]) == ("b", 300 * MB)
    left = datetime.fromisoformat(loaded["expires_at"]) - datetime.now(UTC)
    assert 290 < left.total_seconds() <= 300
    assert api.get("/v1/models/b").json()["system_fingerprint"] == "bits of b"
    assert "/models/" not in api.get("/v1/models").text


def test_a_model_must_be_named_if_there_are_several(api):
    answer = api.post(CHAT, json={"messages": HI})
    assert answer.status_code == 400 and "model is missing; there are a, b, c" in answer.text


def test_new_files_are_found_and_old_ones_forgotten(api, house):
    catalog = house.catalog
    said(api, "a")
    n_scans = catalog.n_scans
    said(api, "a")
    assert catalog.n_scans == n_scans, "who knows the name need not look"
    house.add("d", 100 * MB)
    assert said(api, "d") == "I am d"
    house.add("e", 100 * MB)
    assert list(states(api)) == ["a", "b", "c", "d", "e"]
    for name in "ab":
        del house.sizes[name]
    assert list(states(api)) == ["a", "c", "d", "e"], "what is loaded stays"
    assert api.post(CHAT, json={"messages": HI, "model": "b"}).status_code == 404


def test_what_is_too_large_is_not_listed_and_says_why():
    house = House(a=300 * MB, b=900 * MB)
    with asker(house, house.registry(700 * MB)) as api:
        assert list(states(api)) == ["a"]
        assert said(api, "a") and said(api, None)
        answer = api.post(CHAT, json={"messages": HI, "model": "b"})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "model_too_large"
        assert "needs 900 MB" in answer.text and "700 MB" in answer.text
    assert house.opened == ["a"]
    ((_, facts),) = [told for told in house.told if told[0] == "not served"]
    assert facts == {
        "file": "/models/b.gguf",
        "reason": "it needs 900 MB of memory, more than all models may use",
    }


def test_what_cannot_be_served_says_why_if_it_is_asked_for(house, api):
    house.problems["d"] = "/models/d.gguf: this is a LoRA adapter"
    answer = api.post(CHAT, json={"messages": HI, "model": "d"})
    assert answer.status_code == 404
    message = answer.json()["error"]["message"]
    assert message == "d cannot be served: the file: this is a LoRA adapter; there are a, b, c"
    assert list(states(api)) == ["a", "b", "c"]
    told = [facts for message, facts in house.told if message == "not served"]
    assert told == [{"file": "/models/d.gguf", "reason": house.problems["d"]}], "once"


def test_a_load_that_fails(api, house):
    house.errors["a"] = ModelError("/models/a.gguf: a tensor is missing")
    for _ in range(2):
        answer = api.post(CHAT, json={"messages": HI, "model": "a", "stream": True})
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "model_not_loaded"
        assert "the model a: a tensor is missing" in answer.text and "/models" not in answer.text
    assert house.opened == ["a", "a"]
    facts = api.get("/v1/models/a").json()["nybble"]
    assert facts["state"] == "not loaded" and "a tensor is missing" in facts["problem"]
    assert said(api, "b") == "I am b"


def test_those_that_are_given_are_loaded_at_once_and_stay(house):
    registry = house.registry(700 * MB, given="ab")
    registry.load_given()
    assert house.opened == ["a", "b"]
    with asker(house, registry) as api:
        assert states(api) == {"a": "loaded", "b": "loaded", "c": "not loaded"}
        ((one, _),) = api.get("/api/ps").json().values()
        assert one["expires_at"].startswith("2318")
        said(api, "a")
        house.now += 10**7
        api.portal.call(registry.loader.unload_expired)
        assert states(api)["a"] == "loaded"
        said(api, "c")  # makes room
        assert states(api) == {"a": "loaded", "b": "not loaded", "c": "loaded"}
    assert sorted(house.closed) == ["a", "b", "c"], "the server has ended"


def test_given_models_must_fit_together(house):
    registry = house.registry(700 * MB, given="abc")
    with pytest.raises(RequestError, match="memory=700000000 bytes is not enough for a, b, c"):
        registry.load_given()
    assert not house.opened


def test_a_time_that_the_server_was_told_is_for_all(house):
    registry = house.registry(given="a", keep_alive=10.0)
    registry.load_given()
    with asker(house, registry) as api:
        said(api, "b")
        house.now += 10
        api.portal.call(registry.loader.unload_expired)
        wait_for(lambda: set(states(api).values()) == {"not loaded"})


def test_ollama_says_how_long(api, house):
    def expires(name):
        return api.get(f"/v1/models/{name}").json()["nybble"]["expires_in"]

    load = api.post("/api/generate", json={"model": "a"}).json()
    assert (load["done_reason"], load["response"]) == ("load", "") and house.opened == ["a"]
    assert expires("a") == 300
    for keep_alive, seconds in ((30, 30), ("1h30m", 5400), (-1, None), ("5m", 300)):
        assert api.post("/api/generate", json={"model": "a", "keep_alive": keep_alive}).status_code == 200
        assert expires("a") == seconds
    body = {"model": "a", "messages": HI, "stream": False}
    assert api.post("/api/chat", json={**body, "keep_alive": "20s"}).json()["message"]["content"] == "I am a"
    assert expires("a") == 20
    said(api, "a")
    assert expires("a") == 20, "it stays as it was said"
    unload = api.post("/api/chat", json={"model": "a", "messages": [], "keep_alive": 0}).json()
    assert unload["done_reason"] == "unload"
    wait_for(lambda: states(api)["a"] == "not loaded")
    assert house.opened == house.closed == ["a"], "what is to go is not loaded for it"
    api.post("/api/embed", json={"model": "b", "input": "Hi", "keep_alive": 0})
    wait_for(lambda: states(api)["b"] == "not loaded")
    for wrong in ("soon", "5 m", True, [], "", "1x"):
        answer = api.post("/api/generate", json={"model": "a", "keep_alive": wrong})
        assert answer.status_code == 400 and "keep_alive must be seconds, as 300" in answer.text


def test_the_time_that_loading_took_is_told(api, house):
    answer = api.post("/api/chat", json={"model": "a", "messages": HI, "stream": False}).json()
    assert 0 < answer["load_duration"] < answer["total_duration"]


def test_a_backend_that_was_given_as_it_is_stays():
    backend = MockBackend(["Hi"])
    api = client(backend)
    assert api.post("/api/generate", json={"model": "m"}).json()["done_reason"] == "load"
    answer = api.post("/api/generate", json={"model": "m", "keep_alive": 0})
    assert answer.status_code == 400 and "m stays as long as the server" in answer.text
    assert api.post("/api/chat", json={"model": "m", "messages": HI, "keep_alive": 0}).status_code == 200
    assert api.get("/v1/models/m").json()["nybble"]["state"] == "loaded"


def test_who_waits_for_a_model_takes_a_place_in_the_queue(house):
    """And gives it back when it leaves; /health answers meanwhile."""
    house.may_open["a"].clear()
    registry = house.registry(700 * MB)
    with served_models(registry, n_seq_max=1, n_waiting_max=1) as url:
        http = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

        def ask(name):
            return http.chat.completions.create(model=name, messages=HI).choices[0].message.content

        answers = []
        asking = [threading.Thread(target=lambda: answers.append(ask("a"))) for _ in range(2)]
        for thread in asking:
            thread.start()
        wait_for(lambda: len(registry._entries["a"].waiters) == 2)
        with pytest.raises(Exception, match="the queue is full"):
            ask("a")
        leaver = ollama.Client(host=url)
        assert leaver.list().models[0].model == "a" and not leaver.ps().models
        assert http.models.retrieve("a").nybble["state"] == "loading"
        house.may_open["a"].set()
        for thread in asking:
            thread.join(20)
        assert answers == ["I am a"] * 2 and house.opened == ["a"]
        with pytest.raises(NotFoundError, match="there are a, b, c"):
            ask("d")


def test_a_stream_goes_on_while_another_model_is_loaded(house):
    house.may_open["b"].clear()
    with served_models(house.registry(700 * MB)) as url:
        api = ollama.Client(host=url)
        assert api.chat(model="a", messages=HI).message.content == "I am a"
        loading = threading.Thread(target=lambda: api.generate(model="b"))
        loading.start()
        wait_for(lambda: "b" in house.opened)
        pieces = [line.message.content for line in api.chat(model="a", messages=HI, stream=True)]
        assert "".join(pieces) == "I am a"
        house.may_open["b"].set()
        loading.join(20)
        assert {model.model for model in api.ps().models} == {"a", "b"}


def test_the_description_has_the_field(api):
    schema = json.dumps(api.get("/openapi.json").json()["paths"]["/api/chat"])
    assert "as long as the server" in schema
