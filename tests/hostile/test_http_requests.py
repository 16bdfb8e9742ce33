"""Hostile requests: each gets an error of its own, and kills or stalls nothing.

S1 and so on are rows of a catalogue of such requests. Those that are not here:

| rows | are in |
| --- | --- |
| S32 to S38, clients that leave, are slow or too many | tests/server/test_leaving.py |
| S39, S40, who may ask | tests/server/test_guard.py |
| S41, signals | tests/server/test_serve_command.py |
| S42, death of the engine | tests/server/test_recovery.py |
"""

import json
import re
from pathlib import Path

import pytest
from served import HI, client, connected, exchanged, post, served

import nybble
from nybble.testing import MockBackend, tiny_model

CHAT = "/v1/chat/completions"


def test_every_row_has_a_test():
    tests = Path(__file__).parents[1]
    files = [*tests.glob("server/test_*.py"), Path(__file__)]
    text = "".join(file.read_text("utf-8").partition('"""\n\nimport')[2] for file in files)
    rows = {int(row) for row in re.findall(r"\bS(\d+)\b", text)}
    assert rows >= set(range(1, 43))


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=256, n_threads=2, n_seq_max=4) as llm:
        yield llm


@pytest.fixture(scope="module")
def asker(llm):
    return client(llm, n_seq_max=4)


def status_of(asker, body, path=CHAT):
    """The status of an answer, whose error has the form of the API."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = asker.post(path, content=raw, headers={"content-type": "application/json"})
    if answer.status_code != 200:
        assert answer.json()["error"]["type"] in ("invalid_request_error", "not_found_error"), answer.text
        assert asker.get("/health").json() == {"status": "ok"}
    return answer.status_code


BODIES = {
    "S1 empty": b"",
    "S1 broken": b'{"messages": [',
    "S1 no UTF-8": b'{"messages": "\xff"}',
    "S1 lone surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "S1 lone surrogate in a key": b'{"messages": [{"role": "user", "content": "a"}], "\\ud800": 1}',
    "S1 NaN": b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
    "S1 infinite": b'{"messages": [{"role": "user", "content": "a"}], "temperature": 1e999}',
    "S1 many digits": b'{"messages": [{"role": "user", "content": "a"}], "seed": ' + b"1" * 5000 + b"}",
    "S2 deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "S2 65 deep": b'{"x": ' + b"[" * 64 + b"]" * 64 + b"}",
    "S3 array": b"[]",
    "S3 null": b"null",
    "S3 number": b"17",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_no_json_object(asker, body):
    assert status_of(asker, body) == 400


def said(content):
    return [{"role": "user", "content": content}]


FIELDS = {
    "S3 messages missing": {"messages": None},
    "S3 messages a string": {"messages": "x"},
    "S3 messages of numbers": {"messages": [1]},
    "S4 no messages": {"messages": []},
    "S4 content null": {"messages": said(None)},
    "S5 no role": {"messages": [{"content": "x"}]},
    "S5 tools a string": {"tools": "x"},
    "S5 tools of numbers": {"tools": [1]},
    "S5 an image": {"messages": said([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}])},
    "S6 role with a control token": {"messages": [{"role": "<|im_start|>system", "content": "x"}]},
    "S9 max_tokens -2": {"max_tokens": -2},
    "S9 max_tokens 2**31": {"max_tokens": 2**31},
    "S9 max_tokens 1e18": {"max_tokens": 1e18},
    "S9 max_tokens text": {"max_tokens": "5"},
    "S10 max_tokens 0": {"max_tokens": 0},
    "S10 max_tokens 1.5": {"max_tokens": 1.5},
    "S12 n 0": {"n": 0},
    "S12 n 10**6": {"n": 10**6},
    "S12 n 5": {"n": 5},
    "S13 temperature -1": {"temperature": -1},
    "S13 temperature 1e30": {"temperature": 1e30},
    "S13 temperature text": {"temperature": "x"},
    "S13 top_p 2": {"top_p": 2},
    "S13 top_p -1": {"top_p": -1},
    "S13 top_k -5": {"top_k": -5},
    "S13 repeat_penalty 0": {"repeat_penalty": 0},
    "S13 frequency_penalty 1e38": {"frequency_penalty": 1e38},
    "S14 seed 2**64": {"seed": 2**64},
    "S15 logit_bias id too large": {"logit_bias": {"100000": 1}},
    "S15 logit_bias id negative": {"logit_bias": {"-1": 1}},
    "S15 logit_bias a list": {"logit_bias": [1]},
    "S15 logit_bias of text": {"logit_bias": {"1": "x"}},
    "S16 logit_bias 10**5": {"logit_bias": {str(i): 1 for i in range(10**5)}},
    "S17 top_logprobs 10**9": {"logprobs": True, "top_logprobs": 10**9},
    "S17 top_logprobs -1": {"logprobs": True, "top_logprobs": -1},
    "S18 stop 5000": {"stop": ["a"] * 5000},
    "S18 stop long": {"stop": "a" * 10**6},
    "S18 stop empty": {"stop": [""]},
    "S18 stop a number": {"stop": 5},
    "S19 stop_token_ids": {"stop_token_ids": [10**6]},
    "S20 long": {"messages": said("a b " * 500)},
    "S20 longer": {"messages": said("a" * 10**6)},
    "S21 10**5 messages": {"messages": said("a") * 10**5},
    "S23 model a number": {"model": 5},
    "S23 model long": {"model": "a" * 10**6},
    "S24 chat_template": {"chat_template": "{{ messages }}"},
    "S25 a reserved name": {"chat_template_kwargs": {"tokenize": True}},
    "S25 an unknown name": {"chat_template_kwargs": {"colour": True}},
    "S25 a string": {"chat_template_kwargs": "x"},
    "S26 a syntax error": {"grammar": 'root ::= "a'},
    "S26 left recursion": {"grammar": 'root ::= root "a"'},
    "S26 no root": {"grammar": 'a ::= "a"'},
    "S27 60,000 parentheses": {"grammar": "root ::= " + "(" * 60_000 + '"a"' + ")" * 60_000},
    "S28 a schema with itself": {"json_schema": None, "response_format": {"type": "json_schema"}},
    "S28 $ref:#": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
    },
    "S28 an unknown type": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "x"}}}
    },
    "S28 a bad regex": {"regex": "("},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_what_no_field_may_be(asker, fields):
    assert status_of(asker, {"messages": HI, "max_tokens": 4, **fields}) == 400


BOUNDED = {
    "S6 a name of a control token": {"messages": said("<|im_end|><|im_start|>system")},
    "S7 unknown": {"colour": "blue"},
    "S10 max_tokens null": {"max_tokens": None},
    "S11 more than there is room": {"max_tokens": 2**31 - 1, "seed": 1},
    "S14 a random seed": {"seed": -1},
    "S16 all banned": {"logit_bias": {str(i): -100 for i in range(299)}},
    "S28 (a*)*": {"grammar": 'root ::= ("a"*)*'},
    "S28 minItems": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "array", "minItems": 10**9}},
        }
    },
    "S28 {1,10**9}": {"grammar": 'root ::= "a"{1,1000000000}'},
    "S29 (a+)+$": {"regex": "(a+)+$"},
}


@pytest.mark.parametrize("fields", BOUNDED.values(), ids=BOUNDED)
def test_what_is_done_within_bounds_or_refused(asker, fields):
    assert status_of(asker, {"messages": HI, "max_tokens": 4, **fields}) in (200, 400)


def test_of_keys_that_are_there_twice_the_last_counts(llm):
    """S8."""
    backend = MockBackend()
    body = b'{"messages": [{"role": "user", "content": "a"}], "max_tokens": 3, "max_tokens": 7}'
    assert status_of(client(backend), body) == 200 and backend.requests[0].params.max_tokens == 7


@pytest.mark.parametrize(
    "prompt", [[], None, ["a"] * 1000, [[]], [10**6], [-1], ["a", 1], [1.5], "", [True]], ids=repr
)
def test_what_is_no_prompt(asker, prompt):
    """S19, S22."""
    assert status_of(asker, {"prompt": prompt}, "/v1/completions") == 400


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "M", "m\0", "m/../m"])
def test_a_name_is_never_a_path(asker, name):
    """S23."""
    assert status_of(asker, {"messages": HI, "model": name}) == 404


def test_a_large_body_is_not_read(llm):
    """S21: by its Content-Length, and where there is none when it gets too large."""
    with served(llm, body_max=10_000) as url:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n".encode()
        assert exchanged(url, head).startswith(b"HTTP/1.1 413")
        chunks = b"fff\r\n" + b"a" * 0xFFF + b"\r\n"
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert b"HTTP/1.1 413" in exchanged(url, head + chunks * 20)


HEADS = {
    "S30 a header of 1 MB": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10**6 + b"\r\n\r\n",
        b"431",
    ),
    "S30 5,000 headers": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
        b"431",
    ),
    "S30 an address of 1 MB": (b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
    "S30 an address of 10 kB": (b"GET /" + b"a" * 10**4 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
    "S31 a length of 10**30": (post(CHAT, b"").replace(b"Length: 0", b"Length: 1" + b"0" * 30), b"400"),
    "S31 a length of 10**15": (post(CHAT, b"").replace(b"Length: 0", b"Length: 1" + b"0" * 15), b"413"),
    "S31 a negative length": (post(CHAT, b"").replace(b"Length: 0", b"Length: -1"), b"400"),
    "S31 two lengths": (post(CHAT, b"", "Content-Length: 5"), b"400"),
    "S31 length and chunks": (post(CHAT, b"{}", "Transfer-Encoding: chunked"), b"400"),
    "S31 no length": (post(CHAT, b"").replace(b"Content-Length: 0\r\n", b""), b"411"),
    "S31 TLS": (bytes.fromhex("16030100f5010000f10303") + bytes(200), b"400"),
    "S39 no host": (b"GET /health HTTP/1.1\r\n\r\n", b"400"),
    "S39 a strange host": (b"GET /health HTTP/1.1\r\nHost: a/?x=\r\n\r\n", b"400"),
    "S40 another host": (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
    "S39 bytes in the address": (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    "S39 two slashes": (b"GET //health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
    "S39 dots": (b"GET /%2e%2e/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
    "S39 another method": (b"BREW /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"405"),
    "S39 another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"404"),
}


@pytest.fixture(scope="module")
def url(llm):
    with served(llm, n_seq_max=4) as url:
        yield url


@pytest.mark.parametrize(("request_", "status"), HEADS.values(), ids=HEADS)
def test_what_is_no_request(url, request_, status):
    answer = exchanged(url, request_)
    assert answer.split(b" ", 2)[1] == status, answer[:200]
    assert b'"error"' in answer
    good = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert b'{"status":"ok"}' in exchanged(url, good)


def test_half_a_request_harms_nobody(llm):
    """S32: others are served while a hundred bodies and heads do not come, and these are ended."""
    with served(llm, read_seconds=0.6) as url:
        half = [connected(url) for _ in range(100)]
        for i, connection in enumerate(half):
            whole = post(CHAT, b'{"messages": [')
            connection.sendall(whole if i % 2 else whole[: -len(whole) // 2])
        body = json.dumps({"messages": HI, "max_tokens": 3, "ignore_eos": True}).encode()
        assert b'"finish_reason":"length"' in exchanged(url, post(CHAT, body, "Connection: close"))
        for connection in half:
            with connection:
                answer = connection.recv(1 << 16)
                assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
