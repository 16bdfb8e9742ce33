"""`nybble chat` in a terminal, with its extra and without, and in a pipe."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from stopwatch import HANG
from terminal import Terminal

import nybble
from nybble.cli.commands.chat import _PARAMS
from nybble.engine.sampling.params import SamplingParams
from nybble.testing import tiny_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")

ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A"
OPTIONS = ["--executor", "reference", "--temp", "0"]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("chat") / "tiny.gguf")


@pytest.fixture
def without_extra(tmp_path) -> dict[str, str]:
    """An environment in which neither package of the extra can be imported."""
    for name in ("rich", "prompt_toolkit"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "__init__.py").write_text("raise ImportError")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])}


def answers(path: Path, *texts: str, max_tokens: int) -> list[str]:
    """What the model says to these texts, one after the other."""
    params = SamplingParams(max_tokens=max_tokens, min_p=_PARAMS.min_p, repetition_detection=128)
    messages: list = []
    with nybble.LLM(path, executor="reference") as llm:
        for text in texts:
            messages.append({"role": "user", "content": text})
            messages.append(llm.chat(messages, params).message)
    return [message.content for message in messages[1::2]]


def chat_in_pipe(text: str, *words: object):
    command = [sys.executable, "-m", "nybble", "chat", *map(str, words)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=HANG)


def test_lines_of_a_pipe_are_questions(path, tmp_path):
    saved = tmp_path / "chat.json"
    text = f"the other\nand\\\nthis\n/save {saved}\n/zzz\n"
    done = chat_in_pipe(text, path, *OPTIONS, "-n", 12)
    expected = answers(path, "the other", "and\nthis", max_tokens=12)
    assert done.returncode == 0 and done.stdout == "".join(f"{answer}\n" for answer in expected)
    assert f"4 messages saved in {saved}" in done.stderr and "there is no command /zzz" in done.stderr
    assert [message["content"] for message in json.loads(saved.read_text())["messages"]][1::2] == expected
    again = chat_in_pipe("/regenerate\n", path, *OPTIONS, "-n", 12, "--load", saved)
    assert again.stdout == f"{expected[1]}\n"


def test_errors_of_a_question_do_not_end_the_conversation(path):
    done = chat_in_pipe(f"{'x' * 500}\n/load /nowhere\nthe\n", path, *OPTIONS, "-n", 4, "-c", 128)
    assert done.returncode == 0 and done.stdout == f"{answers(path, 'the', max_tokens=4)[0]}\n"
    assert "but the context holds only -c 128" in done.stderr and "/nowhere" in done.stderr


def test_a_file_without_a_template_is_said_once_and_ends(tmp_path):
    path = tiny_model(tmp_path / "base.gguf", chat_template="")
    done = chat_in_pipe("the\nother\n", path, *OPTIONS, "-n", 4)
    assert done.returncode == 0 and done.stdout.count("\n") == 2
    assert done.stderr.count("has no chat template") == 1


def test_no_questions_and_no_text(path):
    assert chat_in_pipe("", path, *OPTIONS).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "nybble", "chat", str(path), *OPTIONS], input=b"\xff\n", capture_output=True
    )
    assert done.returncode == 1 and b"is not a text in UTF-8" in done.stderr


@pytest.mark.parametrize("is_plain", [True, False], ids=["option", "no extra"])
def test_a_plain_terminal(path, is_plain, without_extra):
    words = ["--plain"] if is_plain else []
    with Terminal("chat", path, *OPTIONS, "-n", 12, *words, environment=without_extra) as terminal:
        assert 'pip install "nybble[chat]"' in terminal.wait_for(">>> ") or is_plain
        terminal.type(f"the other{ENTER}")
        terminal.wait_for(answers(path, "the other", max_tokens=12)[0])
        terminal.wait_for(">>> ")
        terminal.type(f'"""the{ENTER}')
        terminal.wait_for("... ")
        terminal.type(f'other"""{ENTER}')
        terminal.wait_for(">>> ")
        terminal.type(f"/stats{ENTER}")
        terminal.wait_for("12 generated")
        terminal.wait_for(">>> ")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


@pytest.mark.parametrize("words", [["--plain"], []], ids=["plain", "extra"])
def test_ctrl_c_stops_the_answer_and_not_the_program(path, words, tmp_path):
    saved, cache = tmp_path / "chat.json", {"NYBBLE_CACHE": str(tmp_path)}
    slow = ["--temp", "1", "--ignore-eos", "--seed", "1"]  # seconds for all that fits into the context
    with Terminal("chat", path, *OPTIONS, *slow, *words, environment=cache) as terminal:
        terminal.wait_for(">>>")
        terminal.type(f"the other{ENTER}")
        terminal.wait_for("\n")
        terminal.wait_for("a")
        terminal.type(CTRL_C)
        terminal.wait_for("stopped")
        terminal.wait_for(">>>")
        terminal.type(f"/save {saved}{ENTER}")
        terminal.wait_for("2 messages saved")
        terminal.wait_for(">>>")
        # between the prompt and the wait for a key Python notes a Ctrl-C, and heeds it with the next key
        terminal.type_until(CTRL_C, "Ctrl-D or /exit ends")
        terminal.wait_for(">>>")
        terminal.type(f"/exit{ENTER}")
        assert terminal.end() == 0
    question, answer = json.loads(saved.read_text())["messages"]
    assert question["content"] == "the other" and 0 < len(answer["content"]) < 4000


def test_lines_and_history_of_the_editor(path, tmp_path):
    cache, saved = {"NYBBLE_CACHE": str(tmp_path / "cache")}, tmp_path / "chat.json"
    with Terminal("chat", path, *OPTIONS, "-n", 4, environment=cache) as terminal:
        terminal.wait_for(">>>")
        terminal.type(f"the{ALT_ENTER}other{ENTER}")
        terminal.wait_for(">>>")
        terminal.type(f"\x1b[200~one\ntwo\nthree\x1b[201~{ENTER}")  # what a terminal sends for a pasted text
        terminal.wait_for(">>>")
        terminal.type(f"/save {saved}{ENTER}")
        terminal.wait_for("4 messages saved")
        terminal.wait_for(">>>")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    asked = [message["content"] for message in json.loads(saved.read_text())["messages"]][::2]
    assert asked == ["the\nother", "one\ntwo\nthree"]
    history = tmp_path / "cache" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    with Terminal("chat", path, *OPTIONS, "-n", 4, environment=cache) as terminal:
        terminal.wait_for(">>>")
        terminal.type_until(UP, "/save")  # the last line of the day before
        terminal.type(ENTER)
        terminal.wait_for("there is no conversation yet")
        terminal.wait_for(">>>")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_a_small_terminal_without_colours(path, tmp_path):
    quiet = {"NO_COLOR": "1", "NYBBLE_CACHE": str(tmp_path)}
    with Terminal("chat", path, *OPTIONS, "-n", 40, rows=4, columns=20, environment=quiet) as terminal:
        terminal.wait_for(">>>")
        terminal.type(f"the{ENTER}")
        terminal.wait_for("cut off")
        terminal.wait_for(">>>")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    answer = answers(path, "the", max_tokens=40)[0]
    assert "".join(answer.split()) in "".join(terminal.seen.split())
    assert b"\x1b[2m" not in terminal.raw
