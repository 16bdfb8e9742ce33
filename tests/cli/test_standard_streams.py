"""Standard streams of every command: of any encoding, closed, full, or left by their reader."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_model
from forge import GGUFForge
from stopwatch import HANG

from nybble import LLM, SamplingParams
from nybble.cli import COMMANDS, main
from nybble.hub.models import SOURCES, named

REFERENCE = ["--executor", "reference"]
SILENT = {"serve", "batch", "rm"}
"""What writes nothing on stdout; the first runs until it is stopped."""
TALKING = [name for name in COMMANDS if name not in SILENT]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="descriptors and devices of POSIX")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """For each command words that succeed, and whose output has letters that few encodings have."""
    folder = tmp_path_factory.mktemp("Ж😀")
    path, text = folder / "tiny-Ж.gguf", folder / "text.txt"
    file = GGUFForge.parse(tiny_model.write(path).read_bytes()).set("general.name", "hé Ж😀")
    path.write_bytes(file.build())
    text.write_text("the cat sat on the mat " * 20)
    with LLM(path, executor="reference", n_ctx=64) as llm:
        llm.generate("the", SamplingParams(max_tokens=4)).receipt.save(folder / "receipt.json")
    window = ["-f", text, "--window", "32", *REFERENCE]
    found = {
        "run": [path, "the Ж", "-n", "20", *REFERENCE],
        "chat": [path, "-n", "20", *REFERENCE],
        "completion": ["bash"],
        "doctor": [],
        "pull": ["smollm2"],
        "list": [],
        "compile": [path],
        "embed": [path, "hé Ж😀", "--pooling", "mean", *REFERENCE],
        "quantize": [path, folder / "q.gguf", "Q8_0", "--force"],
        "inspect": [path],
        "tokenize": [path, "hé Ж😀"],
        "bench": [path, "-p", "4", "-n", "2", "-t", "1", "-r", "1", *REFERENCE],
        "perplexity": [path, *window],
        "compare": [path, path, *window],
        "verify": [folder / "receipt.json", "-m", path],
        "capture": [path, *window, "-a", "blk.0.resid_post", "-o", folder / "shards"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NYBBLE_CACHE", str(folder))
        named("smollm2").path.parent.mkdir()
        with open(named("smollm2").path, "wb") as model:  # of the right size, it counts as complete
            model.truncate(SOURCES["smollm2"].n_bytes)
        yield {name: [name, *map(str, words)] for name, words in found.items()}


@pytest.fixture(autouse=True)
def stdin(monkeypatch):
    """What `chat` is asked."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("the Ж\n".encode())))


def output(words, monkeypatch, encoding):
    """What a command writes to a stdout of that encoding, in it."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert main(words) == 0
    return stdout.buffer.getvalue().decode(encoding)


def test_all_commands_are_tried(lines):
    assert set(lines) == set(TALKING)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", TALKING)
def test_letters_that_stdout_lacks_are_escaped(command, encoding, lines, monkeypatch):
    shown = output(lines[command], monkeypatch, encoding)
    if command in ("pull", "inspect", "bench", "quantize", "capture"):  # these show paths
        assert r"\u0416" in shown
    if command == "embed":
        assert json.loads(shown)["text"] == "hé Ж😀"


def test_json_is_readable_in_utf8_and_ascii_elsewhere(lines, monkeypatch):
    for command in ("embed", "inspect", "run"):
        words = [*lines[command], *([] if command == "embed" else ["--json"])]
        readable, escaped = (output(words, monkeypatch, encoding) for encoding in ("utf-8", "cp1252"))
        assert "Ж" in readable and escaped.isascii()
        keys = ("text", "metadata", "token_ids")
        one, other = ({key: json.loads(text).get(key) for key in keys} for text in (readable, escaped))
        assert one == other


@POSIX
@pytest.mark.parametrize("command", TALKING)
def test_a_full_disk_is_an_error_of_one_line(command, lines, monkeypatch, capsys):
    with monkeypatch.context() as patch, open("/dev/full", "w") as full:
        patch.setattr(sys, "stdout", full)
        assert main(lines[command]) == 1
    err = capsys.readouterr().err
    assert err.endswith("nybble: error: No space left on device\n") and "Traceback" not in err


@pytest.mark.parametrize("command", TALKING)
def test_without_standard_streams(command, lines, monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(lines[command]) == 0
    for name in ("stdin", "stdout", "stderr"):
        getattr(sys, name).close()


def shell(script, *words):
    """Runs nybble in a shell, which closes streams; words are "$@"."""
    command = ["sh", "-c", f'"{sys.executable}" -m nybble {script}', "sh", *words]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, capture_output=True, timeout=HANG, env=environment)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, done.stderr
    return done


@POSIX
class TestDescriptors:
    def test_closed(self, lines):
        run = lines["run"]
        for script, code in (
            ('"$@" >&-', 0),
            ('"$@" 2>&-', 0),
            ('"$@" <&-', 0),
            ('"$@" <&- >&- 2>&-', 0),
            ("run smollm2 <&-", 1),
            ("run smollm2 - <&-", 1),
        ):
            done = shell(script, *run)
            assert done.returncode == code, script
            assert b"prompt tokens" not in done.stdout
            assert (b"prompt tokens" in done.stderr) == (code == 0 and "2>&-" not in script)

    def test_a_model_never_takes_the_place_of_stdout(self, lines):
        model = Path(lines["inspect"][1])
        before = model.read_bytes()
        shell('"$@" >&-', *lines["inspect"])
        shell('"$@" 2>&-', *lines["run"])
        assert model.read_bytes() == before

    def test_nobody_reads_stderr(self, lines):
        done = shell('"$@" 2>&1 >/dev/null | true; echo "$?"', *lines["run"])
        assert done.stdout == b"0\n"
        assert shell('"$@" 2>/dev/full', *lines["run"]).returncode == 0
        assert shell("--help >/dev/full").returncode == 1

    def test_a_pipe_that_nobody_reads_is_noticed(self, lines):
        notice = b"nybble: standard input is not read, since PROMPT for"
        for script, is_noticed in (
            ('"$@" <"$2"', True),
            ('"$@" -q <"$2"', False),
            ('"$@" </dev/null', False),
            ('"$@" <&-', False),
        ):
            assert (notice in shell(script, *lines["run"]).stderr) == is_noticed


def test_ctrl_c_may_come_before_numpy(capsys, monkeypatch):
    """Until `main` runs, nothing is imported that takes long: Ctrl-C would show a traceback."""
    code = "import sys, nybble.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("nybble.cli.front.run", interrupted)
    assert main(["run"]) == 130 and capsys.readouterr().err == "\n"


def test_warnings_are_lines_of_ours(lines, capsys):
    assert main(lines["inspect"]) == 0
    capsys.readouterr()
    logging.getLogger("nybble.gguf_io.file").warning("%s: odd\nthing", "\x1b[31m")
    assert capsys.readouterr().err == "nybble: warning: \\x1b[31m: odd thing\n"
    assert main(lines["inspect"]) == 0
    capsys.readouterr()
    logging.getLogger("nybble.engine.llm").warning("once")
    assert capsys.readouterr().err == "nybble: warning: once\n"
