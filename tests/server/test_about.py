"""What the server tells of itself: metrics, log, description."""

import json
import logging
import re

import httpx
import jsonschema
import pytest
from served import HI, client, connected, exchanged, post, served, wait_for
from starlette.testclient import TestClient
from stuck_backend import StuckBackend

import nybble
from nybble.server.app import ENDPOINTS, make_app
from nybble.server.log import log, set_up_log
from nybble.server.work.served_model import ServedModel
from nybble.testing import MockBackend, tiny_model

CHAT = "/v1/chat/completions"


@pytest.fixture
def lines(capsys):
    """Log lines as they are written to standard error."""
    yield lambda: capsys.readouterr().err.splitlines()
    logger = logging.getLogger("nybble.server")
    logger.handlers[:] = []
    logger.propagate = True


def test_counts_add_up():
    asker = client(MockBackend(["of the you"]))
    prompt = 0
    for _ in range(3):
        prompt += asker.post(CHAT, json={"messages": HI}).json()["usage"]["prompt_tokens"]
    asker.post(CHAT, json={"messages": []})
    asker.get("/nothing")
    text = asker.get("/metrics").text
    values = dict(re.findall(r"^(nybble:\S+) ([\d.e+]+)$", text, re.MULTILINE))
    assert values[f'nybble:http_requests_total{{path="{CHAT}",status="200"}}'] == "3"
    assert values[f'nybble:http_requests_total{{path="{CHAT}",status="400"}}'] == "1"
    assert values['nybble:http_requests_total{path="other",status="404"}'] == "1"
    assert values["nybble:prompt_tokens_total"] == str(prompt)
    assert values["nybble:generation_tokens_total"] == "9"
    assert values['nybble:request_success_total{finished_reason="stop"}'] == "3"
    assert values["nybble:time_to_first_token_seconds_count"] == "3"
    assert values["nybble:num_requests_running"] == values["nybble:num_requests_waiting"] == "0"
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert {re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", name) for name in values} == names


def test_the_engine_is_counted_for_each_model():
    prompt = "of the other hand there is " * 20
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=1, draft="ngram") as llm:
        app = make_app([ServedModel("m", llm), ServedModel('a "mock"', MockBackend())])
        asker = TestClient(app, base_url="http://localhost")
        for _ in range(2):
            body = {"model": "m", "prompt": prompt, "max_tokens": 24, "ignore_eos": True}
            assert asker.post("/v1/completions", json=body).status_code == 200
        text, stats = asker.get("/metrics").text, llm.stats()
    found = dict(re.findall(r'^nybble:(\S+)\{model_name="m"\} (\S+)$', text, re.MULTILINE))
    assert {name: float(value) for name, value in found.items()} == {
        "kv_cache_usage_perc": 0,
        "num_preemptions_total": 0,
        "prefix_cache_queries_total": stats.n_prefix_queries,
        "prefix_cache_hits_total": stats.n_prefix_hits,
        "spec_decode_num_draft_tokens_total": stats.n_drafted,
        "spec_decode_num_accepted_tokens_total": stats.n_accepted,
        "engine_steps_total": stats.n_steps,
        "engine_tokens_total": stats.n_tokens,
    }
    assert stats.n_prefix_hits > 0 < stats.n_steps
    assert f'nybble:kv_cache_pages{{model_name="m",state="cached"}} {stats.n_pages_cached}\n' in text
    assert 'nybble:engine_steps_total{model_name="a \\"mock\\""} 0\n' in text


def test_a_model_that_has_ended_has_no_counts():
    backend = nybble.LLM(tiny_model(), n_ctx=64, executor="reference")
    asker = client(backend)
    backend.close()
    answer = asker.get("/metrics")
    assert answer.status_code == 200 and "model_name" not in answer.text


def test_every_request_ends_in_one_way():
    """The server's half of the ledger: what came is what was answered, refused, cut or has failed."""
    backend = StuckBackend()
    backend.n_open = 1
    body = json.dumps({"messages": HI, "stream": True}).encode()
    with served(backend, n_seq_max=1, n_waiting_max=1) as url:

        def ended(text=""):
            text = text or httpx.get(f"{url}/metrics").text
            return {name: int(n) for name, n in re.findall(r'ended_total{outcome="(\w+)"} (\d+)', text)}

        assert b"404" in exchanged(url, post("/nothing", b"", "Connection: close"))
        assert b"400" in exchanged(url, post(CHAT, b"{", "Connection: close"))
        assert b"400" in exchanged(url, b"no HTTP\r\n\r\n")
        assert b"400" in exchanged(url, post(CHAT, body, "Transfer-Encoding: chunked"))
        with connected(url) as leaving:
            leaving.sendall(post(CHAT, body[:-1] + b" " * 9)[:-9])  # its body does not come
        with connected(url) as leaving:
            leaving.sendall(post(CHAT, body))
            assert b"200" in leaving.recv(100)
        wait_for(lambda: ended()["cut"] == 2)
        waiting = [connected(url) for _ in range(2)]
        for connection in waiting:
            connection.sendall(post(CHAT, body))
            assert b"200" in connection.recv(100)
        assert b"503" in exchanged(url, post(CHAT, body, "Connection: close"))
        backend.streams[-1].take = lambda: 1 / 0
        backend.open(10**6)
        for connection in waiting:
            with connection:
                while b"[DONE]" not in connection.recv(1 << 16):
                    pass
        wait_for(lambda: ended()["failed"] == 1)
        text = httpx.get(f"{url}/metrics").text
        found = ended(text)
        received = int(re.search(r"received_total (\d+)", text)[1])
        assert received == sum(found.values()) + 1, "the one that asks"
        assert found.pop("completed") > 1
        assert found == {"client_error": 4, "busy": 1, "cut": 2, "failed": 1}


def test_a_line_for_each_request(lines):
    set_up_log("json")
    client(MockBackend()).post(CHAT, json={"messages": HI, "colour": "blue"})
    (line,) = map(json.loads, lines())
    assert (line["method"], line["path"], line["status"], line["model"]) == ("POST", CHAT, 200, "m")
    assert line["ignored"] == "colour" and line["tokens"] == 2 and line["seconds"] >= line["first_token"] > 0
    set_up_log("text")
    client(MockBackend()).get("/health")
    assert re.match(r"\d\d:\d\d:\d\d info    request method=GET path=/health status=200 ", lines()[0])


def test_what_is_asked_and_keys_are_in_no_line(lines):
    set_up_log("text")
    asker = client(MockBackend(["an answer"]), keys=("secret",))
    body = {"messages": [{"role": "user", "content": "a question"}]}
    asker.post(CHAT, json=body, headers={"Authorization": "Bearer secret"})
    asker.post(f"{CHAT}?key=secret", json=body, headers={"Authorization": "Bearer wrong"})
    text = "\n".join(lines())
    assert "status=200" in text and "status=401" in text
    assert not re.search("question|answer|secret|wrong", text)


def test_nobody_can_forge_a_line(lines):
    set_up_log("text")
    client(MockBackend()).get("/a%0a12:00:00%20info%20forged")
    log("a\nb")
    assert len(lines()) == 2


def test_a_failure_is_in_the_log_and_not_in_the_answer(lines):
    class Broken(MockBackend):
        def chat_submit(self, *args, **options):
            raise OSError("/secret/path is gone")

    set_up_log("text")
    answer = client(Broken()).post(CHAT, json={"messages": HI})
    assert answer.status_code == 500 and "secret" not in answer.text
    assert "/secret/path is gone" in "\n".join(lines())


def test_what_clients_do_wrong_is_no_failure(lines):
    """It is a line of the log as all requests are, however the model has refused it."""
    set_up_log("text")
    for schema in (-1, [], "x"):
        format_ = {"type": "json_schema", "json_schema": {"schema": schema}}
        answer = client(MockBackend()).post(CHAT, json={"messages": HI, "response_format": format_})
        assert answer.status_code == 400
    assert len(lines()) == 3


def test_the_description_is_what_requests_are_checked_by():
    document = client(MockBackend()).get("/openapi.json").json()
    assert document["openapi"].startswith("3.1") and CHAT in document["paths"]
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path.replace(":path", "")][endpoint.method.lower()]
        assert operation["summary"]
        if endpoint.schema is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator.check_schema(schema)
    schema = document["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    check = jsonschema.Draft202012Validator(schema)
    assert check.is_valid({"messages": HI, "temperature": 1, "stop": ["a"], "n": None, "user": "me"})
    for bad in ({}, {"messages": HI, "temperature": -1}, {"messages": HI, "stop": [""]}):
        assert not check.is_valid(bad)


def test_answers_say_what_determines_their_bits():
    with nybble.LLM(tiny_model(), n_ctx=64, executor="reference") as llm:
        fingerprint = llm.fingerprint()
        asker = TestClient(make_app([ServedModel("m", llm, fingerprint)]), base_url="http://localhost")
        answer = asker.post(CHAT, json={"messages": HI, "max_tokens": 1}).json()
        assert answer["system_fingerprint"] == fingerprint and len(fingerprint) == 12
    for other in ({"executor": "numba", "n_threads": 1}, {"executor": "numba", "cache_type": "q8_0"}):
        with nybble.LLM(tiny_model(), n_ctx=64, **other) as llm:
            assert llm.fingerprint() != fingerprint
    with nybble.LLM(tiny_model(seed=1), n_ctx=64, executor="reference") as llm:
        assert llm.fingerprint() != fingerprint


def test_several_models_are_told_apart():
    app = make_app([ServedModel("a", MockBackend(["one"])), ServedModel("b", MockBackend(["two"]))])
    asker = TestClient(app, base_url="http://localhost")
    assert [model["id"] for model in asker.get("/v1/models").json()["data"]] == ["a", "b"]
    for name, text in (("a", "one"), ("b", "two")):
        answer = asker.post(CHAT, json={"messages": HI, "model": name}).json()
        assert answer["choices"][0]["message"]["content"] == text and answer["model"] == name
    missing = asker.post(CHAT, json={"messages": HI})
    assert missing.status_code == 400 and "there are a, b" in missing.json()["error"]["message"]


def test_answers_do_not_tell_where_the_file_lies():
    with nybble.LLM(tiny_model(), n_ctx=64, executor="reference") as llm:
        answer = client(llm).post("/v1/embeddings", json={"input": "a"})
        assert answer.status_code == 400 and str(llm.path.parent) not in answer.text
        assert str(llm.path.parent) not in client(llm).get("/v1/models").text


def test_a_vocabulary_says_what_clients_need_of_it():
    with nybble.LLM(tiny_model(), n_ctx=64, executor="reference") as llm:
        found = client(llm).get("/tokenizer_info").json()
        assert found == {
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|im_end|>",
            "chat_template": llm.chat_template.source,
        }
    assert client(MockBackend()).get("/tokenizer_info").json()["chat_template"] is None
