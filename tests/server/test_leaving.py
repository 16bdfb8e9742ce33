"""Clients that leave, are slow or too many; and a server that ends."""

import contextlib
import errno
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from accounts import is_free
from served import HI, client, connected, post, served, served_models, wait_for
from stuck_backend import SlowSteps, StuckBackend

import nybble
from nybble import SamplingParams
from nybble.engine.chat.message import ChatDelta
from nybble.server.work.served_model import ServedModel
from nybble.testing import MockBackend, tiny_model

CHAT = "/v1/chat/completions"
LONG = list(range(5, 105))
PATHS = {
    CHAT: {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/messages": {"model": "m", "messages": HI, "max_tokens": 999},
    "/v1/responses": {"input": "Hi"},
    "/api/chat": {"model": "m", "messages": HI},
    "/api/generate": {"model": "m", "prompt": "Hi", "raw": True},
}


def asked(url, path=CHAT, **fields):
    """A connection on which a request was sent."""
    connection = connected(url)
    connection.sendall(post(path, json.dumps({**PATHS[path], **fields}).encode()))
    return connection


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("n_before", [0, 2])
def test_work_ends_when_the_client_leaves(path, stream, n_before):
    """S33, S34, S35: streams or not, before the first token (in the queue, in the prompt) or after."""
    backend = StuckBackend()
    with served(backend) as url:
        with asked(url, path, stream=stream) as connection:
            wait_for(lambda: backend.streams)
            backend.open(n_before)
            if n_before and stream:
                assert connection.recv(100)
        wait_for(lambda: backend.cancelled)
        assert "num_requests_waiting 0" in httpx.get(f"{url}/metrics").text


def test_work_that_has_not_begun_ends_too():
    """The client leaves while its conversation is being rendered."""
    backend = StuckBackend()
    backend.begins.clear()
    with served(backend) as url:
        with asked(url):
            wait_for(lambda: backend.n_asked)
        time.sleep(0.05)
        backend.begins.set()
        wait_for(lambda: backend.cancelled)


def test_nothing_is_left_in_the_scheduler():
    with nybble.LLM(tiny_model(), n_ctx=2048, n_threads=2, n_seq_max=2) as llm, served(llm) as url:
        for stream in (True, False):
            connections = [
                asked(url, stream=stream, max_tokens=1900, ignore_eos=True, seed=i) for i in range(5)
            ]
            if stream:
                assert connections[0].recv(1000)
            for connection in connections:
                connection.close()
        wait_for(lambda: is_free(llm))


ECHO = "/v1/completions?echo"
ASKED = {
    "/v1/embeddings": {"input": [LONG] * 40},
    "/api/embed": {"model": "m", "input": ["of the you is on " * 20] * 40},
    "/v1/rerank": {"query": "of the", "documents": ["you is on it " * 20] * 40},
    "/v1/completions": {"prompt": LONG, "max_tokens": 1, "activations": ["blk.*.resid_post"]},
    CHAT: {"messages": [{"role": "user", "content": "the " * 200}], "activations": ["*"]},
    ECHO: {"prompt": [LONG] * 9, "max_tokens": 0, "logprobs": 1, "echo": True},
}


@pytest.fixture
def short_steps():
    """A model that needs several steps for a text of 100 tokens."""
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=1, n_batch=16, n_seq_max=4) as llm:
        llm.rerank = lambda query, texts: llm.embed([query + each for each in texts], pooling="mean")[:, 0]
        yield llm


@pytest.mark.parametrize(
    "path, server_ends", [*((path, False) for path in ASKED), ("/v1/embeddings", True), (CHAT, True)]
)
def test_whatever_was_asked_for_ends_within_a_step(short_steps, path, server_ends, caplog):
    """Embeddings, ranks, activations, scores of prompts: nothing of them runs, or is kept, for nobody."""
    caplog.set_level("INFO")
    steps = SlowSteps(short_steps)
    with contextlib.ExitStack() as stack:
        model = ServedModel("m", short_steps, pooling="mean")
        url = stack.enter_context(served_models([model], drain_seconds=1.0))
        connection = stack.enter_context(connected(url))
        connection.sendall(post(path.partition("?")[0], json.dumps(ASKED[path]).encode()))
        assert steps.is_held.wait(20)
        if server_ends:
            ending = threading.Thread(target=stack.close)
            ending.start()
        else:
            connection.close()
        jobs = list(short_steps.scheduler._jobs)
        if path == ECHO:  # of its prompts some may still wait for the step, to be added after it
            wait_for(lambda: "request" in caplog.text)
        else:
            wait_for(lambda: jobs and all(job.is_done for job in jobs))
        n_before = steps.n_begun
        steps.go_on()
        if server_ends:
            ending.join(20)
        wait_for(lambda: is_free(short_steps))
        assert steps.n_begun <= n_before + 2  # what was on its way to the scheduler


class Voluble(StuckBackend):
    """Its answer has 40 pieces of 50 kB, more than what lies on the way to a client."""

    def _stuck(self, stream, on_news):
        stream._pieces = [ChatDelta("a" * 50_000)] * 40
        return super()._stuck(stream, on_news)


def asked_slowly(url, **fields):
    """A connection with a window of 2 KiB on which a long answer was asked for."""
    connection = connected(url, window=2048)
    connection.sendall(post(CHAT, json.dumps({"messages": HI, **fields}).encode()))
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_slow_reader_is_dropped(stream):
    """S36: it takes nothing for a while, so its work ends and what waits for it goes; others go on."""
    backend = Voluble()
    with served(backend, write_seconds=0.3) as url, asked_slowly(url, stream=stream) as slow:
        wait_for(lambda: backend.streams)
        backend.open(39 if stream else 40)
        if stream:
            wait_for(lambda: backend.cancelled)
        assert httpx.get(f"{url}/health").status_code == 200
        wait_for(lambda: is_reset(slow))
        assert "num_requests_running 0" in httpx.get(f"{url}/metrics").text


def is_reset(connection):
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


def test_a_reader_that_takes_little_is_not_dropped():
    """As long as what waits for it gets less."""
    backend = Voluble()
    with served(backend, write_seconds=0.3) as url, asked_slowly(url) as slow:
        wait_for(lambda: backend.streams)
        backend.open(40)
        n_read = 0
        while n_read < 400_000:
            data = slow.recv(1 << 17)
            assert data
            n_read += len(data)
            time.sleep(0.005)


def test_a_silent_stream_says_that_it_is_alive():
    backend = StuckBackend()
    with served(backend, ping_seconds=0.05) as url, asked(url, stream=True) as connection:
        answer = b""
        while answer.count(b": ping") < 2:
            answer += connection.recv(1000)
        assert b"200 OK" in answer and b"text/event-stream" in answer


def test_a_hundred_at_once_get_what_each_gets_alone():
    """S37."""
    with nybble.LLM(tiny_model(), n_ctx=128, n_threads=2, n_seq_max=8, n_pool_tokens=512) as llm:
        alone = {
            seed: llm.chat(HI, SamplingParams(max_tokens=12, temperature=1.0, seed=seed)).message.content
            for seed in range(100)
        }

        with (
            served(llm) as url,
            httpx.Client(base_url=url, limits=httpx.Limits(max_connections=100)) as asker,
        ):

            def ask(seed):
                body = {"messages": HI, "max_tokens": 12, "seed": seed, "temperature": 1.0}
                answer = asker.post(CHAT, json=body, timeout=60)
                return answer.json()["choices"][0]["message"]["content"]

            with ThreadPoolExecutor(100) as threads:
                assert dict(zip(alone, threads.map(ask, alone), strict=True)) == alone
        wait_for(lambda: is_free(llm))


def test_a_full_queue_says_so():
    """S38."""
    backend = StuckBackend()
    with served(backend, n_seq_max=2, n_waiting_max=3) as url:
        waiting = [asked(url) for _ in range(5)]
        wait_for(lambda: len(backend.streams) == 5)
        full = httpx.post(f"{url}{CHAT}", json={"messages": HI})
        assert full.status_code == 503 and int(full.headers["retry-after"]) > 0
        assert full.json()["error"]["code"] == "queue_full"
        assert httpx.get(f"{url}/health").status_code == 200
        for connection in waiting:
            connection.close()
        wait_for(lambda: len(backend.cancelled) == 5)
        backend.n_open = 10**6
        assert httpx.post(f"{url}{CHAT}", json={"messages": HI}).status_code == 200


def test_a_key_has_a_limit_of_its_own():
    backend = StuckBackend()
    with served(backend, keys=("a", "b"), n_per_key_max=1) as url:
        body = json.dumps({"messages": HI}).encode()
        with connected(url) as connection:
            connection.sendall(post(CHAT, body, "Authorization: Bearer a"))
            wait_for(lambda: backend.streams)
            ask = lambda key: httpx.post(  # noqa: E731
                f"{url}{CHAT}", json={"messages": HI}, headers={"Authorization": f"Bearer {key}"}
            )
            assert ask("a").status_code == 429
            backend.n_open = 10**6
            assert ask("b").status_code == 200


def test_texts_of_one_request_count_one_by_one():
    backend = MockBackend()
    answer = client(backend, n_seq_max=2, n_waiting_max=3).post("/v1/completions", json={"prompt": ["a"] * 6})
    assert answer.status_code == 400 and not backend.requests


def test_what_runs_may_finish_when_the_server_ends():
    backend = StuckBackend()
    answers = []
    with served(backend, drain_seconds=20.0) as url:
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}{CHAT}", json={"messages": HI}, timeout=20))
        )
        asking.start()
        wait_for(lambda: backend.streams)
        threading.Timer(0.3, lambda: backend.open(10**6)).start()
    asking.join()
    assert answers[0].status_code == 200


def test_too_many_connections_are_refused():
    with served(MockBackend(), n_connections_max=3) as url:
        held = [connected(url) for _ in range(3)]
        with connected(url) as fourth:
            assert b"503" in fourth.recv(1000)
        for connection in held:
            connection.close()
        wait_for(lambda: httpx.get(f"{url}/health").status_code == 200)


def test_too_many_connections_of_one_address_are_refused():
    """S32: the rest is for others."""
    with served(MockBackend(), n_per_address_max=3) as url:
        held = [connected(url) for _ in range(3)]
        with connected(url) as fourth:
            assert b"503" in fourth.recv(1000)
        with connected(url, source="127.0.0.2") as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in other.recv(1000)
        for connection in held:
            connection.close()
