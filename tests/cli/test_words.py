"""What is typed: words and options, those that are wrong or forgotten, and the language of the errors."""

import io
import json
import sys
from pathlib import Path

import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble import testing
from nybble.cli import main
from nybble.errors import did_you_mean
from nybble.system import notices

REFERENCE = ["--executor", "reference"]
FEW = ["-n", "5", *REFERENCE]


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return str(tiny_model.write(tmp_path_factory.mktemp("words") / "tiny.gguf"))


@pytest.fixture
def stdin(monkeypatch):
    """Puts bytes into standard input, a pipe or (`is_terminal`) a keyboard."""

    def put(raw, is_terminal=False):
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(raw)))
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr(sys, "stdin", stream)

    put(b"")
    return put


@pytest.fixture
def says(capsys):
    """Runs a command that must succeed; -> stdout, stderr."""

    def run(*words):
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr()

    return run


@pytest.fixture
def fails(capsys):
    """Runs a command that must fail; -> what it says on stderr."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:
            code = exit.code
        out, err = capsys.readouterr()
        assert code in (1, 2) and out == "" and err.count("error: ") == 1, (code, out, err)
        return err

    return run


# --- a dash


def test_a_prompt_that_begins_with_a_dash(tiny_path, says, stdin):
    out, _ = says("run", tiny_path, *FEW, "--", "-n the")
    with nybble.LLM(tiny_path, executor="reference") as llm:
        assert out == llm.generate("-n the", nybble.SamplingParams(max_tokens=5)).text + "\n"
    assert "'-'" in says("tokenize", tiny_path, "--", "-the").out


# --- what does not exist


def test_did_you_mean(tmp_path, fails, monkeypatch, stdin):
    monkeypatch.chdir(tmp_path)
    assert "there is no command 'rnu'; did you mean run?" in fails("rnu")
    assert fails("fly").endswith("there is no command 'fly'; nybble help lists all\n")
    assert "there is no option --tmp; did you mean --temp?" in fails("run", "--tmp", "3", "text")
    assert "there is no option --tmp; did you mean --temp?" in fails("run", "--tmp=3", "text")
    assert "no option --exekutor; did you mean --executor?" in fails("bench", "m.gguf", "--exekutor")
    assert "a text that begins with a dash stands after --" in fails("run", "-x")
    assert "too many words: b c; a text stands in quotes" in fails("inspect", "a", "b", "c")
    assert "did you mean smollm2?" in fails("pull", "smolm")
    assert "did you mean smollm2?" in fails("run", "SmolLM2", "text")
    assert "neither a known model" in fails("run", "mistral", "text")
    assert did_you_mean("x" * 10**6, ["run"]) == ""


def test_options_are_not_abbreviated(fails):
    assert "there is no option --max; did you mean --max-tokens?" in fails("run", "text", "--max", "3")


def test_help_of_a_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["help", "run"])
    assert "usage: nybble run" in capsys.readouterr().out


# --- the prompt


def test_a_model_is_not_its_own_prompt(tiny_path, fails, stdin):
    stdin(b"", is_terminal=True)
    for words in (["smollm2"], [tiny_path], ["missing.gguf"]):
        assert f"PROMPT for {words[0]} is missing; give it, or pipe" in fails("run", *words)
    assert "PROMPT for smollm2 is missing; give it, or pipe" in fails("run")
    assert "'smolm2' is no model; did you mean smollm2? As a prompt" in fails("run", "smolm2")
    stdin(b"")
    assert "PROMPT for smollm2 is missing, and standard input is empty" in fails("run", "smollm2")


def test_a_pipe_needs_no_dash(tiny_path, says, stdin):
    expected = says("run", tiny_path, "the other\nhand", *FEW).out
    for raw in (b"the other\nhand", b"the other\nhand\n", b"the other\nhand\r\n"):
        for words in ([tiny_path], [tiny_path, "-"]):
            stdin(raw)
            assert says("run", *words, *FEW).out == expected
    stdin(b"unread")
    assert says("run", tiny_path, "the other\nhand", *FEW).out == expected
    assert sys.stdin.read() == "unread"


def test_a_file_is_the_prompt_or_stands_before_it(tiny_path, tmp_path, says, fails, stdin):
    text = tmp_path / "text.txt"
    text.write_text("the other\nЖ\n", encoding="utf-8")
    assert says("run", tiny_path, "-f", text, *FEW).out == says("run", tiny_path, "the other\nЖ", *FEW).out
    both = says("run", tiny_path, "the other\nЖ\n\nhand", *FEW).out
    assert says("run", tiny_path, "hand", "-f", text, *FEW).out == both
    stdin(b"hand\n")
    assert says("run", tiny_path, "-", "-f", text, *FEW).out == both
    text.write_bytes(b"\xff")
    assert "is not a text in UTF-8" in fails("run", tiny_path, "-f", text, *FEW)
    assert "No such file" in fails("run", tiny_path, "-f", tmp_path / "missing.txt", *FEW)


def test_a_system_message_stands_before_the_prompt(tmp_path, says, fails, stdin):
    path = testing.tiny_model(tmp_path / "chat.gguf")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the"}]
    with nybble.LLM(path, executor="reference") as llm:
        asked = llm.render(messages).token_ids
        expected = llm.generate(asked, nybble.SamplingParams(max_tokens=5)).text
    assert says("run", path, "the", "--system", "Be brief.", *FEW).out == expected + "\n"
    assert says("run", path, "the", *FEW).out != expected + "\n"
    assert "leave one of them out" in fails("run", path, "the", "--system", "Be brief.", "--raw", *FEW)
    base = testing.tiny_model(tmp_path / "base.gguf", chat_template="")
    out, err = says("run", base, "the", "--system", "Be brief.", *FEW)
    assert out == expected + "\n" and "has no chat template" in err


def test_other_commands_read_standard_input(tiny_path, tmp_path, says, fails, stdin):
    stdin("the Ж\n".encode())
    assert says("tokenize", tiny_path).out == says("tokenize", tiny_path, "the Ж\n").out
    stdin(b"the\nother\r\n")
    lines = says("embed", tiny_path, "--pooling", "mean", *REFERENCE).out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["the", "other"]
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 20)
    for command in (["perplexity", tiny_path], ["compare", tiny_path, tiny_path]):
        options = ["--window", "32", *REFERENCE]
        stdin(text.read_bytes())
        assert says(*command, *options).out == says(*command, "-f", text, *options).out
    for command in (["tokenize", tiny_path], ["embed", tiny_path]):
        stdin(b"", is_terminal=True)
        assert "TEXT is missing; give it, or pipe" in fails(*command)
    capture = ["capture", tiny_path, "-a", "embd", "-o", tmp_path / "shards"]
    for command in (["perplexity", tiny_path], ["compare", tiny_path, tiny_path], capture):
        stdin(b"")
        assert "-f TEXT is missing, and standard input is empty" in fails(*command)


def test_what_a_locale_could_not_decode(tiny_path, says, stdin):
    left = "the Ж".encode().decode("ascii", "surrogateescape")
    assert says("tokenize", tiny_path, left).out == says("tokenize", tiny_path, "the Ж").out


# --- what is said


def test_json_of_a_run(tiny_path, says, stdin):
    out, err = says("run", "--raw", tiny_path, "the other hand", *FEW, "--json")
    with nybble.LLM(tiny_path, executor="reference") as llm:
        expected = llm.generate("the other hand", nybble.SamplingParams(max_tokens=5))
    found = json.loads(out)
    assert err == "" and found["model"] == tiny_path
    for name in ("text", "token_ids", "finish_reason"):
        assert found[name] == getattr(expected, name)
    assert found["timings"]["n_prompt_tokens"] == expected.timings.n_prompt_tokens


def test_quiet(tiny_path, says, stdin):
    words = ["run", tiny_path, "the", *FEW]
    assert says(*words).err.startswith("nybble: ")
    assert says(*words, "-q") == says("-q", *words) == (says(*words).out, "")
    assert says(*words).err.startswith("nybble: ")


def test_a_word_that_is_no_model_is_a_prompt(tiny_path, says, stdin, monkeypatch):
    monkeypatch.setattr("nybble.cli.commands.run.DEFAULT_MODEL", tiny_path)
    out, err = says("run", "mistral", *FEW)
    assert out == says("run", tiny_path, "mistral", *FEW).out
    assert "'mistral' is no model here, so it is the PROMPT" in err
    assert "is no model here" not in says("run", "the other", *FEW).err


def test_bars_are_for_terminals(tiny_path, tmp_path, capsys, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 20)
    words = ["perplexity", tiny_path, "-f", str(text), "--window", "32", *REFERENCE]
    assert main(words) == 0 and capsys.readouterr().err == ""
    capture = ["capture", tiny_path, "-f", str(text), "-w", "16", "-a", "blk.0.resid_post", *REFERENCE]
    assert main([*capture, "-o", str(tmp_path / "shards")]) == 0 and capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(words) == 0 and "window" in capsys.readouterr().err
    assert main([*words, "-q"]) == 0 and capsys.readouterr().err == ""


def test_notices_need_no_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    notices.say("hello")
    with notices.progress_bar("title", 5) as bar:
        bar.update(1)
    assert capsys.readouterr().out == ""


def test_temperature_has_two_names(tiny_path, says, stdin):
    options = ["--seed", "3", *FEW]
    short = says("run", tiny_path, "the", "--temp", "9", *options).out
    assert says("run", tiny_path, "the", "--temperature", "9", *options).out == short


def test_inspect_begins_with_the_verdict_and_counts_as_people_do(tmp_path, says, capsys):
    path = tiny_model.write(tmp_path / "m.gguf", n_layers=11)
    lines = says("inspect", path).out.splitlines()
    assert lines[0] == "nybble runs this file"
    blocks = [int(line.split(".")[1]) for line in lines if line.startswith("  blk.")]
    assert blocks == sorted(blocks) and blocks[-1] == 10
    broken = GGUFForge.parse(path.read_bytes()).drop_tensor("output_norm.weight")
    path.write_bytes(broken.build())
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().out.startswith("nybble cannot run this file:\n  ")


def test_a_home_in_paths(tiny_path, tmp_path, says, fails, monkeypatch, stdin):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "m.gguf").write_bytes(Path(tiny_path).read_bytes())
    (tmp_path / "text.txt").write_text("the cat sat on the mat " * 20)
    text = ["-f", "~/text.txt", "--window", "32", *REFERENCE]
    says("quantize", "~/m.gguf", "~/q.gguf", "Q8_0")
    says("perplexity", "~/q.gguf", *text)
    says("capture", "~/m.gguf", *text, "-a", "blk.0.resid_post", "-o", "~/shards")
    assert (tmp_path / "q.gguf").is_file() and (tmp_path / "shards" / "00000.npz").is_file()
    stdin(b"", is_terminal=True)
    assert "PROMPT for ~/m.gguf is missing" in fails("run", "~/m.gguf")
    directions = GGUFForge().set("general.architecture", "controlvector")
    (tmp_path / "v.gguf").write_bytes(directions.build())
    scaled = ["--control-vector", "~/v.gguf:0.5"]
    assert f"{tmp_path / 'v.gguf'}: a control vector needs" in fails("run", "~/m.gguf", "a", *FEW, *scaled)


# --- the language of the errors


def test_errors_name_options(tiny_path, tmp_path, fails, stdin):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 20)
    run = ["run", tiny_path, "the other hand", *REFERENCE]
    capture = ["capture", tiny_path, "-f", text, "-w", "16", "-o", tmp_path / "shards", *REFERENCE]
    for words, message in [
        ([*run, "--temp", "-1"], "--temp must be a number from 0 to 100, not -1.0"),
        ([*run, "-n", "0"], "-n must be an integer from 1"),
        ([*run, "--top-p", "0"], "--top-p must be"),
        ([*run, "-t", "0"], "-t must be"),
        ([*run, "-c", "0"], "-c must be"),
        (
            [*run, "-c", "2"],
            "holds only -c 2; choose a larger one (-c 128 is what the model was",
        ),
        ([*run, "--weights", "mapped"], "--weights mapped goes with --executor numba only"),
        ([*run, "--cache-type", "q8_0"], "--cache-type q8_0 goes with --executor numba only; the reference"),
        ([*run[:2], "the " * 200, *REFERENCE], "holds only -c 128; shorten the prompt"),
        (["embed", tiny_path, "the", *REFERENCE], "--pooling mean, --pooling cls or --pooling last"),
        (["quantize", tiny_path, text, "Q8_0"], "or replace it with --force\n"),
        (["quantize", tiny_path, "out.gguf", "Q8_0", "-t", "0"], "-t must be"),
        (["perplexity", tiny_path, "-f", text, "-w", "300", *REFERENCE], "the context holds, -c 128\n"),
        (["perplexity", tiny_path, "-f", text, "-w", "9", "--stride", "9", *REFERENCE], "--stride must be"),
        ([*capture, "-a", "blk.0.resid_post", "--shard-mb", "0"], "not --shard-mb 0\n"),
        ([*capture, "-a", "blk.0.resid"], "(`nybble inspect MODEL --activations` has them all)"),
    ]:
        assert message in fails(*words)


def test_errors_name_arguments_in_python(tiny_path):
    with nybble.LLM(tiny_path, executor="reference", n_ctx=4) as llm:
        with pytest.raises(nybble.RequestError, match=r"only n_ctx=4; choose a larger one \(n_ctx=128 is"):
            llm.generate("the other hand is in here")
        with pytest.raises(nybble.RequestError, match='choose with pooling="mean"'):
            llm.embed("the")
