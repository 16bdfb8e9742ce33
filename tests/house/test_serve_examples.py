"""What lies in examples/serve: the scripts run against a served model with the real packages, where these are
installed; the commands in the other files are such as there are."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from optional_package import optional_package
from served import served
from stopwatch import HANG

from nybble.cli.front import command_and_parser
from nybble.engine.chat.message import ChatMessage, FunctionCall, ToolCall
from nybble.testing import MockBackend

FOLDER = Path(__file__).parents[2] / "examples" / "serve"


def output(name: str, url: str) -> str:
    command = [sys.executable, str(FOLDER / name), f"{url}/v1", "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_langchain() -> None:
    optional_package("langchain_openai")
    call = ToolCall("call_1", FunctionCall("multiply", '{"a": 17, "b": 23}'))
    mock = MockBackend(["The sea rises and falls.", ChatMessage(tool_calls=[call])])
    with served(mock) as url:
        found = output("langchain_chat.py", url).splitlines()
    assert found == ["The sea rises and falls.", "multiply {'a': 17, 'b': 23} = 391"]
    talk, tool = mock.requests
    assert [message["role"] for message in talk.asked] == ["system", "user"]
    assert talk.asked[1]["content"] == "What is a tide?" and talk.params.max_tokens == 64
    assert tool.options["tools"][0]["function"]["name"] == "multiply"


def test_llamaindex() -> None:
    optional_package("llama_index")
    mock = MockBackend(["Forty minutes."])
    with served(mock) as url:
        assert output("llamaindex_query.py", url) == "Forty minutes.\n"
    asked = json.dumps([dict(message) for message in mock.requests[0].asked])
    assert (
        "The ferry to the island takes forty minutes." in asked and "How long does the ferry take?" in asked
    )


def served_with(words: list[str]) -> None:
    """Fails unless `nybble serve` takes these options."""
    _, parser = command_and_parser("serve")
    parser.parse_args(words)


def test_the_container() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:3\.12-slim$", text, re.MULTILINE)
    entry, start = (
        json.loads(re.search(rf"^{key} (\[.*\])$", text, re.MULTILINE)[1]) for key in ("ENTRYPOINT", "CMD")
    )
    assert entry[:2] == ["nybble", "serve"]
    served_with([*entry[2:], *start])
    assert text.index("\nUSER nybble\n") < text.index("\nENTRYPOINT"), "not as root"
    code = re.search(r'HEALTHCHECK .*?CMD \["python", "-c", \\\n *"(.*)"\]', text)[1]
    with served(MockBackend()) as url:
        here = code.replace("http://127.0.0.1:8000", url)
        assert here != code and subprocess.run([sys.executable, "-c", here]).returncode == 0
        gone = here.replace("/health", "/gone")
        assert subprocess.run([sys.executable, "-c", gone], capture_output=True).returncode != 0


def test_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "nybble.service").read_text(encoding="utf-8")
    program, serve, *words = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1].split()
    assert program.endswith("/nybble") and serve == "serve"
    served_with(words)
    assert "\nDynamicUser=yes\n" in text and "\nMemoryDenyWriteExecute" not in text, "kernels are compiled"
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd-analyze; what it could not check was")
    unit = tmp_path / "nybble.service"
    unit.write_text(text.replace(program, sys.executable), encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", unit], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
