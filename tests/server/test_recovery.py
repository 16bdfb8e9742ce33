"""What clients see when an engine dies, and what `/health`, `/metrics` and `/v1/models` say."""

import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served import HI, client, served, wait_for

from nybble.server.remote.open_engine import open_engine
from nybble.testing import MockBackend, tiny_model

CHAT = "/v1/chat/completions"
LONG = {"model": "m", "messages": HI, "ignore_eos": True, "max_tokens": 900, "seed": 1}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def engine():
    options = {"n_ctx": 1024, "n_threads": 1, "n_seq_max": 1}
    with contextlib.closing(open_engine(tiny_model(), "m", options)) as engine:
        yield engine


def kill(engine):
    os.kill(engine.status.pid, signal.SIGKILL)


def test_a_stream_ends_with_an_error_and_the_next_request_is_answered(engine):
    """S42"""
    with served(engine) as url:
        with httpx.stream("POST", f"{url}{CHAT}", json=LONG | {"stream": True}, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            kill(engine)
            text = "\n".join(lines)
        assert '"code":"engine_unavailable"' in text and "the engine of m has died (signal 9" in text
        assert text.rstrip().endswith("data: [DONE]")
        assert httpx.get(f"{url}/health").status_code == 200
        short = LONG | {"max_tokens": 5}
        assert httpx.post(f"{url}{CHAT}", json=short, timeout=60).status_code == 200
        metrics = httpx.get(f"{url}/metrics").text
        assert 'nybble:restarts_total{model_name="m"} 1\n' in metrics
        assert 'nybble:engine_up{model_name="m"} 1\n' in metrics
        assert httpx.get(f"{url}/health").json() == {
            "status": "ok",
            "models": {"m": {"state": "ready", "restarts": 1}},
        }


def test_an_answer_that_was_coming_is_503(engine):
    """S42"""
    with served(engine) as url, httpx.Client(timeout=60) as http:
        errands = engine._ledger._errands
        with ThreadPoolExecutor() as pool:
            future = pool.submit(http.post, f"{url}{CHAT}", json=LONG)
            wait_for(lambda: any(errand.has_come for errand in list(errands.values())))
            kill(engine)
            answer = future.result(60)
        assert answer.status_code == 503 and answer.headers["retry-after"]
        error = answer.json()["error"]
        assert error["type"] == "unavailable_error" and error["code"] == "engine_unavailable"
        assert "and is being restarted; ask again" in error["message"]


def test_a_file_that_has_changed_is_said_everywhere(tmp_path):
    path = tmp_path / "own.gguf"
    path.write_bytes(tiny_model().read_bytes())
    with contextlib.closing(open_engine(path, "m", {"n_ctx": 512})) as engine, client(engine) as http:
        assert http.get("/health").json()["status"] == "ok"
        os.utime(path, ns=(1, 1))
        answer = http.post(CHAT, json=LONG)
        assert answer.status_code == 503 and "was written to or cut" in answer.json()["error"]["message"]
        assert str(path) not in answer.text
        health = http.get("/health")
        assert health.status_code == 200 and health.json()["status"] == "degraded"
        assert health.json()["models"]["m"]["state"] == "lost"
        assert 'nybble:engine_up{model_name="m"} 0\n' in http.get("/metrics").text
        (model,) = http.get("/v1/models").json()["data"]
        assert model["status"]["state"] == "lost"


def test_a_file_that_is_replaced_is_said_of_the_model(tmp_path):
    path = tmp_path / "own.gguf"
    path.write_bytes(tiny_model().read_bytes())
    with contextlib.closing(open_engine(path, "m", {"n_ctx": 512})) as engine, client(engine) as http:
        os.replace(path, tmp_path / "old.gguf")
        assert http.post(CHAT, json=LONG | {"max_tokens": 3}).status_code == 200
        (model,) = http.get("/v1/models").json()["data"]
        assert "served on from the old one" in model["status"]["notice"]
        assert http.get("/health").json()["status"] == "ok"


def test_a_backend_in_this_process_has_no_engine():
    with client(MockBackend(["Hello"])) as http:
        assert http.get("/health").json() == {"status": "ok"}
        assert "status" not in http.get("/v1/models").json()["data"][0]
        assert "engine_up{" not in http.get("/metrics").text
