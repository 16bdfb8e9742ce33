"""Files of requests: their results are those of the model, in order, to the byte, whatever happens."""

import asyncio
import errno
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_model
from stopwatch import HANG

import nybble
from nybble.batch import answerer, run as batch_run, run_batch
from nybble.cli import main
from nybble.errors import ModelError, RequestError

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


def line(custom_id, url, **body):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def conversation(text):
    return [{"role": "user", "content": text}]


def many(n):
    """Requests of all kinds, of different lengths."""
    words = ["the", "other", "hand", "is", "here"]
    for i in range(n):
        text, n_tokens = " ".join(words[: 1 + i % 5]), 1 + i * 7 % 23
        yield (
            line(f"r{i}", CHAT, messages=conversation(text), max_tokens=n_tokens),
            line(f"r{i}", TEXT, prompt=text, max_tokens=n_tokens, temperature=0.8, logprobs=2),
            line(f"r{i}", TEXT, prompt=[text, "a"], max_tokens=n_tokens, temperature=0, echo=True),
            line(f"r{i}", EMBED, input=text, encoding_format="base64"),
        )[i % 4]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("batch") / "tiny.gguf", n_ctx=256)


@pytest.fixture
def llm(model):
    with nybble.LLM(model, n_seq_max=4, n_threads=1) as made:
        yield made


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "in.jsonl", tmp_path / "out.jsonl"


def answer(llm, paths, requests, **options):
    """Runs a batch; -> the results."""
    paths[0].write_text("\n".join(requests), encoding="utf-8")
    paths[1].unlink(missing_ok=True)
    run_batch(llm, *paths, pooling="mean", **options)
    return [json.loads(line) for line in paths[1].read_text(encoding="utf-8").splitlines()]


def test_answers_are_those_of_the_model(llm, paths):
    requests = [
        line("chat", CHAT, model="gpt-4o", messages=conversation("the hand"), max_tokens=9, temperature=0),
        line("text", TEXT, prompt="the other", max_tokens=5, temperature=0, seed=3),
        line("vector", EMBED, input=["the other", "hand"]),
    ]
    chat, text, vector = answer(llm, paths, requests)
    assert [each["custom_id"] for each in (chat, text, vector)] == ["chat", "text", "vector"]
    for each in (chat, text, vector):
        assert each["error"] is None and each["response"]["status_code"] == 200
        assert each["id"] == f"batch_{each['response']['request_id']}"
    body, params = chat["response"]["body"], nybble.SamplingParams(max_tokens=9)
    expected = llm.chat(conversation("the hand"), params)
    assert body["choices"][0]["message"]["content"] == expected.message.content
    assert body["usage"] == {"prompt_tokens": expected.n_prompt_tokens, "completion_tokens": 9} | {
        "total_tokens": expected.n_prompt_tokens + 9
    }
    assert (
        body["system_fingerprint"] == llm.fingerprint() and body["model"] == "tiny" and body["created"] == 0
    )
    expected = llm.generate("the other", nybble.SamplingParams(max_tokens=5))
    assert text["response"]["body"]["choices"][0]["text"] == expected.text
    found = np.array([each["embedding"] for each in vector["response"]["body"]["data"]], np.float32)
    np.testing.assert_array_equal(found, llm.embed(["the other", "hand"], pooling="mean"))


def test_the_same_bytes_in_any_company(model, paths):
    contents = []
    for n_seq_max in (1, 3, 16):
        with nybble.LLM(model, n_seq_max=n_seq_max, n_batch=17, n_threads=2) as llm:
            answer(llm, paths, many(40))
        contents.append(paths[1].read_bytes())
    assert contents[0] == contents[1] == contents[2] and contents[0].count(b"\n") == 40


def test_what_is_left_to_chance_follows_from_the_line(llm, paths):
    body = {"prompt": "the", "max_tokens": 12, "temperature": 2.0}
    requests = [line(name, TEXT, **body) for name in "aab"] + [line("a", TEXT, **body, seed=-1)]
    texts = [each["response"]["body"]["choices"][0]["text"] for each in answer(llm, paths, requests)]
    assert texts[0] == texts[1] and len(set(texts)) == 3


WRONG = {
    "cut JSON": ('{"custom_id": "x", "url":', None, "invalid_json", "not JSON"),
    "a list": ("[1]", None, "invalid_request", "must be a JSON object"),
    "not UTF-8": (b'{"custom_id": "\xff"}', None, "invalid_json", "not UTF-8 at byte 15"),
    "deep": ("[" * 100_000, None, "invalid_json", "nested more than 64 deep"),
    "infinite": ('{"custom_id": "x", "body": {"a": 1e999}}', None, "invalid_json", "not JSON"),
    "an id that is no text": ('{"custom_id": 5}', None, "invalid_request", "custom_id must be a text"),
    "no url": ('{"custom_id": "x", "body": {}}', "x", "invalid_request", "url is missing"),
    "no body": ('{"custom_id": "x", "url": "/v1/completions"}', "x", "invalid_request", "body is missing"),
    "another url": (
        '{"custom_id": "x", "url": "/v1/files", "body": {}}',
        "x",
        "invalid_request",
        "url must be",
    ),
    "another method": (
        '{"custom_id": "x", "method": "GET", "url": "/v1/completions", "body": {}}',
        *("x", "invalid_request", "method must be 'POST'"),
    ),
    "another field": (
        '{"custom_id": "x", "url": "/v1/completions", "body": {}, "bodies": 1}',
        *("x", "invalid_request", "bodies is no field"),
    ),
}
REFUSED = {
    "a stream": (line("x", TEXT, prompt="a", stream=True), "stream must not be true in a batch"),
    "a range": (line("x", TEXT, prompt="a", temperature=-1), "temperature must be a number from 0 to 100"),
    "a type": (line("x", CHAT, messages="hello"), "messages must be a list"),
    "too long": (line("x", TEXT, prompt=[5] * 300), "300 tokens"),
    "no token": (line("x", TEXT, prompt=[10**6]), "outside the vocabulary"),
    "no vector": (line("x", EMBED, input="a", dimensions=3), "dimensions is not supported"),
}


def test_each_wrong_line_has_an_error_and_no_other_line_has(llm, paths):
    good = line("good", TEXT, prompt="the", max_tokens=2)
    requests = [each for wrong, *_ in WRONG.values() for each in (wrong, good)]
    requests += [each for wrong, _ in REFUSED.values() for each in (wrong, good)]
    content = b"\n\r\n".join(each if isinstance(each, bytes) else each.encode() for each in requests)
    paths[0].write_bytes(content + b"\n  \n")
    summary = run_batch(llm, *paths)
    results = [json.loads(each) for each in paths[1].read_text(encoding="utf-8").splitlines()]
    assert summary.n_requests == len(results) == len(requests)
    assert summary.n_failed == len(WRONG) + len(REFUSED)
    assert {each["response"]["status_code"] for each in results[1::2]} == {200}
    wrong = results[::2]
    for found, (_, custom_id, code, message) in zip(wrong, WRONG.values(), strict=False):
        assert found["custom_id"] == custom_id and found["response"] is None
        assert found["error"]["code"] == code and message in found["error"]["message"], found
    for found, (_, message) in zip(wrong[len(WRONG) :], REFUSED.values(), strict=True):
        assert found["custom_id"] == "x" and found["error"] is None
        assert found["response"]["status_code"] == 400, found
        assert message in found["response"]["body"]["error"]["message"], found


def test_a_line_that_is_too_long_is_not_read(llm, paths, monkeypatch):
    monkeypatch.setattr(
        answerer, "Settings", lambda **o: nybble.server.work.settings.Settings(**o, body_max=200)
    )
    requests = [line("long", TEXT, prompt="a" * 1000), line("good", TEXT, prompt="a", max_tokens=1)]
    long, good = answer(llm, paths, requests)
    assert long["error"]["code"] == "too_long" and good["response"]["status_code"] == 200


def test_an_empty_file(llm, paths):
    assert answer(llm, paths, []) == [] and paths[1].read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_after_kill_9_the_results_are_the_same_to_the_byte(llm, model, paths, tmp_path):
    body = {"prompt": "the", "max_tokens": 60, "ignore_eos": True, "temperature": 1}
    answer(llm, paths, [line(f"r{i}", TEXT, **body) for i in range(32)])
    expected = paths[1].read_bytes()
    other = tmp_path / "again.jsonl"
    partial = tmp_path / "again.jsonl.partial"
    options = ["--model", model, "--pooling", "mean", "--parallel", "4"]
    command = [sys.executable, "-m", "nybble", "batch", *map(str, [paths[0], other, *options])]
    for n_lines in (3, 14):
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + HANG
        while not (partial.exists() and partial.read_bytes().count(b"\n") >= n_lines):
            assert time.monotonic() < deadline and child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not other.exists() and expected.startswith(partial.read_bytes())
        with open(partial, "ab") as file:  # as if the power had failed
            file.write(b'{"id":"batch_req_')
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0 and "were done before" in done.stderr, done.stderr
    assert other.read_bytes() == expected and not partial.exists()


def test_a_run_goes_on_with_the_line_after_the_last(model, llm, paths):
    requests = list(many(12))
    answer(llm, paths, requests)
    expected = paths[1].read_bytes()
    partial = paths[1].with_name("out.jsonl.partial")
    kept = b"".join(expected.splitlines(keepends=True)[:5])
    partial.write_bytes(kept + b'{"id":"bat')
    paths[1].unlink()
    done = []
    summary = run_batch(llm, *paths, pooling="mean", on_progress=done.append)
    assert paths[1].read_bytes() == expected and sum(done) == paths[0].stat().st_size
    assert (summary.n_requests, summary.n_kept, summary.n_failed) == (12, 5, 0)


def test_results_of_something_else_are_not_mixed_in(model, llm, paths, tmp_path):
    answer(llm, paths, many(6))
    partial = paths[1].with_name("out.jsonl.partial")
    with pytest.raises(RequestError, match=r"out\.jsonl is there already, with all results; remove it"):
        run_batch(llm, *paths, pooling="mean")
    with pytest.raises(RequestError, match="must not be written to the file of the requests"):
        run_batch(llm, paths[0], paths[0])
    paths[1].rename(partial)
    with pytest.raises(RequestError, match=r"of other requests, of another model or version \(result 1\)"):
        run_batch(llm, *paths, pooling="cls")
    other = tiny_model.write(tmp_path / "tiny.gguf", seed=1)
    with (
        nybble.LLM(other, n_threads=1) as second,
        pytest.raises(RequestError, match=r"of another model or version \(result 1\)"),
    ):
        run_batch(second, *paths, pooling="mean")
    requests = paths[0].read_text().splitlines()
    paths[0].write_text("\n".join([*requests[:3], requests[3].replace("the", "a"), *requests[4:]]))
    with pytest.raises(RequestError, match=r"\(result 4\); remove it to begin anew"):
        run_batch(llm, *paths, pooling="mean")
    paths[0].write_text("\n".join(requests[:3]))
    with pytest.raises(RequestError, match=r"\(result 4\); remove it to begin anew"):
        run_batch(llm, *paths, pooling="mean")


def test_no_more_lines_are_in_memory_than_keep_the_model_busy(llm, paths, monkeypatch):
    n_read = n_written = most = 0
    whole = batch_run.lines

    def counted(file, max_bytes):
        nonlocal n_read, most
        for each in whole(file, max_bytes):
            n_read += 1
            most = max(most, n_read - n_written)
            yield each

    write = batch_run.Results.write

    def written(self, result):
        nonlocal n_written
        n_written += 1
        write(self, result)

    monkeypatch.setattr(batch_run, "lines", counted)
    monkeypatch.setattr(batch_run.Results, "write", written)
    long = line("long", TEXT, prompt="the", max_tokens=200, ignore_eos=True)
    answer(llm, paths, [long, *many(100)])
    assert n_read == n_written == 101 and most == 4 * batch_run._LINES_PER_SEQUENCE


def test_two_processes_do_not_write_to_one_file(llm, paths):
    paths[0].write_text("\n".join(many(3)))
    with (
        batch_run.Results(paths[1]),
        pytest.raises(RequestError, match=r"another process writes to .*partial"),
    ):
        run_batch(llm, *paths, pooling="mean")
    run_batch(llm, *paths, pooling="mean")


def test_a_model_that_fails_for_one_line_and_one_that_was_changed(model, llm, paths, monkeypatch):
    handler = answerer.LineRequest.handler.fget

    def failing(request):
        async def fail(call):
            raise ModelError("NaN in blk.0")

        return fail if request.custom_id == "r2" else handler(request)

    monkeypatch.setattr(answerer.LineRequest, "handler", property(failing))
    results = answer(llm, paths, many(5))
    assert [each["response"]["status_code"] for each in results] == [200, 200, 500, 200, 200]
    assert results[2]["response"]["body"]["error"]["message"] == "NaN in blk.0"
    paths[1].unlink()
    states = iter(range(9))
    monkeypatch.setattr(answerer, "_identity", lambda path: next(states))
    with pytest.raises(ModelError, match="NaN in blk"):
        run_batch(llm, *paths, pooling="mean")
    assert paths[1].with_name("out.jsonl.partial").read_bytes().count(b"\n") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_loses_nothing(model, llm, paths):
    answer(llm, paths, many(30))
    expected = paths[1].read_bytes()
    paths[1].unlink()
    code = (
        f"import resource, nybble; from nybble.batch.run import run_batch; llm = nybble.LLM({str(model)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000,) * 2)\n"
        f"run_batch(llm, {str(paths[0])!r}, {str(paths[1])!r}, pooling='mean')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG)
    assert f"[Errno {errno.EFBIG}]" in done.stderr.splitlines()[-1], done.stderr
    run_batch(llm, *paths, pooling="mean")
    assert paths[1].read_bytes() == expected


def test_an_interruption_keeps_what_is_done(llm, paths, monkeypatch):
    write = batch_run.Results.write

    def interrupted(self, result):
        if result["custom_id"] == "r7":
            raise KeyboardInterrupt
        write(self, result)

    paths[0].write_text("\n".join(many(20)))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(batch_run.Results, "write", interrupted)
        run_batch(llm, *paths, pooling="mean")
    assert paths[1].with_name("out.jsonl.partial").read_bytes().count(b"\n") == 7
    assert run_batch(llm, *paths, pooling="mean").n_kept == 7


def test_it_runs_in_a_notebook(llm, paths):
    """There an event loop runs already."""

    async def cell():
        return answer(llm, paths, many(3))

    assert asyncio.run(cell()) == answer(llm, paths, many(3))


def test_the_command(model, paths, capsys):
    paths[0].write_text("\n".join([*many(3), "no JSON"]))
    words = ["batch", *map(str, paths), "--model", str(model), "--pooling", "mean"]
    assert main(words) == 0
    assert "4 requests, 1 failed; 39 tokens generated in" in capsys.readouterr().err
    assert main(words) == 1 and "is there already" in capsys.readouterr().err
    assert main(["batch", "missing.jsonl", "out.jsonl"]) == 1


def test_batches_need_no_package_of_the_server():
    code = "import sys, nybble.batch.run; print({'starlette', 'uvicorn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
