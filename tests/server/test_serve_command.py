"""`nybble serve`: a process that listens, and ends as it should; and the commands of its page in the docs."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import markdown_page
import numpy as np
import pytest
from served import HI

import nybble
import nybble.research
from nybble import SamplingParams
from nybble.testing import tiny_model

CHAT = "/v1/chat/completions"


@contextlib.contextmanager
def serving(*words, **environment):
    """A server in a process of its own, and its address."""
    command = [
        sys.executable,
        "-m",
        "nybble",
        "serve",
        *map(str, words),
        "--port",
        "0",
        "--executor",
        "numba",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, bufsize=1
    )
    try:
        for line in process.stderr:
            if found := re.search(r"address=(\S+)", line):
                break
        else:
            pytest.fail("it does not serve")
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def path():
    return tiny_model()


def test_it_serves_the_model_under_its_name(path):
    with serving(f"little={path}", "--ctx", 512, "--temp", 0, "-n", 7) as (_, url):
        answer = httpx.post(f"{url}{CHAT}", json={"messages": HI}).json()
    with nybble.LLM(path, n_ctx=512) as llm:
        whole = llm.chat(HI, SamplingParams(max_tokens=7))
        assert answer["choices"][0]["message"]["content"] == whole.message.content
        assert answer["model"] == "little" and answer["system_fingerprint"] == llm.fingerprint()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_as_it_is_told(path, number, code):
    """S41: Ctrl-C ends what runs within a step, SIGTERM lets it finish."""
    with serving(path, "--ctx", 2048, NYBBLE_API_KEY="secret") as (process, url):
        assert httpx.get(f"{url}/v1/models").status_code == 401
        body = {"messages": HI, "stream": True, "ignore_eos": True, "max_tokens": 1000, "seed": 1}
        with httpx.stream(
            "POST", f"{url}{CHAT}", json=body, headers={"x-api-key": "secret"}, timeout=60
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(number)
            sent = time.monotonic()
            text = "\n".join(lines)
        assert process.wait(30) == code
        if number == signal.SIGINT:
            assert time.monotonic() - sent < 5 and '"error"' in text
        else:
            assert '"finish_reason":"length"' in text


def test_models_of_a_folder_come_when_they_are_asked_for(path, tmp_path):
    """Two that do not fit together, and a file that is not complete; by the command of the page."""
    page = markdown_page.ROOT / "docs" / "server.md"
    (command,) = re.findall("^nybble serve ~/models (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    (tmp_path / "owner" / "repo").mkdir(parents=True)
    tiny_model(tmp_path / "a.gguf", n_layers=1)
    tiny_model(tmp_path / "owner" / "repo" / "b.gguf", n_layers=1)
    (tmp_path / "half.gguf").write_bytes(path.read_bytes()[:5000])
    with serving(tmp_path, *command.split(), "--ctx", 64, "--memory", "200M") as (process, url):
        listed = httpx.get(f"{url}/v1/models").json()["data"]
        assert [(model["id"], model["nybble"]["state"]) for model in listed] == [
            ("a", "not loaded"),
            ("b", "not loaded"),
        ]
        body = {"prompt": "Hi", "max_tokens": 3, "temperature": 0}
        for name in "aba":
            answer = httpx.post(f"{url}/v1/completions", json={**body, "model": name}, timeout=60)
            assert answer.status_code == 200 and answer.json()["model"] == name
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        lines = process.stderr.read()
    events = re.findall(r" info    (loaded|unloaded) model=(\w)", lines)
    assert events == [("loaded", "a"), ("unloaded", "a"), ("loaded", "b"), ("unloaded", "b"), ("loaded", "a")]
    assert re.search(r'unloaded model=a why="?room for b"? seconds=[\d.]+ bytes=\d+', lines)


def failure(*words):
    command = [sys.executable, "-m", "nybble", "serve", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr


def test_what_is_wrong_is_said(path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 is taken by another program" in failure(path, "--port", port)
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    keys.chmod(0o644)
    assert "others can read this file of keys" in failure(path, "--api-key-file", keys)
    assert "must be an address of this machine" in failure(path, "--host", "no.such.host.invalid")
    assert "--port must be from 0 to 65535, not 65537" in failure(path, "--port", 65537)
    assert "--n-waiting must be at least 0, not -1" in failure(path, "--n-waiting", -1)
    assert "--drain must be a number of seconds above 0, not nan" in failure(path, "--drain", "nan")
    assert "two models are called tiny" in failure(path, path, "--port", 0)
    assert "--memory must be a size, as in 8G" in failure(path, "--memory", "8X", "--port", 0)


def test_control_vectors_are_loaded_when_it_starts(path, tmp_path):
    for name, width in (("fits", 64), ("narrow", 8)):
        nybble.research.ControlVector({1: np.ones(width, np.float32)}).save(tmp_path / name)
    fits, narrow = (f"--control-vector=v={tmp_path / name}" for name in ("fits", "narrow"))
    assert "--control-vector v: the control vector (made for ?) has 8 values for layer 1" in failure(
        path, "--port", 0, narrow
    )
    assert "two are called v" in failure(path, "--port", 0, fits, fits)
    assert "must be NAME=FILE, not 'x'" in failure(path, "--port", 0, "--control-vector=x")
    assert "a control vector was expected" in failure(path, "--port", 0, f"--control-vector=v={path}")
    with serving(path, "--ctx", 512, fits, "--max-activations", 10) as (_, url):
        body = {"messages": HI, "max_tokens": 2, "control_vectors": [{"name": "v"}]}
        assert httpx.post(f"{url}{CHAT}", json=body, timeout=60).status_code == 200
        answer = httpx.post(f"{url}{CHAT}", json={**body, "activations": ["logits"]}, timeout=60)
        assert answer.status_code == 400 and "max_bytes is 10" in answer.text


def test_the_commands_of_the_page_work(smollm2_path):
    page = markdown_page.ROOT / "docs" / "server.md"
    blocks = [block.text for block in markdown_page.blocks(page)]
    commands = [
        each for block in blocks if block.startswith("curl") for each in re.split(r"\n(?=curl)", block)
    ]
    assert len(commands) >= 9
    with serving("smollm2", "--ctx", 2048) as (_, url):
        for command in commands:
            here = command.replace("http://127.0.0.1:8000", url).replace(
                "curl ", "curl -sS --fail-with-body "
            )
            done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if "metrics" not in command:
                assert "error" not in json.loads(done.stdout), command
        (program,) = [block for block in blocks if block.startswith("from openai")]
        exec(program.replace("http://127.0.0.1:8000", url), {})
