"""The command line, as a process on a tiny model: output, figures, errors, exit codes."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from stopwatch import HANG

import nybble
from nybble.cli import COMMANDS, main

PROMPT = "the other hand"


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("cli") / "tiny.gguf")


def nybble_command(*arguments, **options):
    command = [sys.executable, "-m", "nybble", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, **options)


def fails(arguments, capsys, code=1):
    """Runs a command in this process that fails; -> the one line that it says."""
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("nybble: error: "), err
    return err


def test_run_streams_the_text_and_says_what_it_took(tiny_path):
    # options may stand between the words
    done = nybble_command("run", tiny_path, "-n", 12, PROMPT, "--raw", "--executor", "reference", "-t", 1)
    with nybble.LLM(tiny_path, executor="reference") as llm:
        out = llm.generate(PROMPT, nybble.SamplingParams(max_tokens=12))
    assert done.returncode == 0 and done.stdout == out.text + "\n"
    n_prompt = out.timings.n_prompt_tokens
    assert (
        f"{n_prompt} prompt tokens at" in done.stderr and f"{len(out.token_ids)} generated at" in done.stderr
    )
    assert "loading took" in done.stderr and "compiling" in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_takes_the_sampling_options(tiny_path, capsys):
    options = [
        "--temp",
        "1.5",
        "--top-k",
        "30",
        "--top-p",
        "0.9",
        "--min-p",
        "0.01",
        "--seed",
        "7",
        "-n",
        "10",
    ]
    assert main(["run", *options, "--executor", "reference", str(tiny_path), PROMPT]) == 0
    params = nybble.SamplingParams(max_tokens=10, temperature=1.5, top_k=30, top_p=0.9, min_p=0.01, seed=7)
    with nybble.LLM(tiny_path, executor="reference") as llm:
        assert capsys.readouterr().out == llm.generate(PROMPT, params).text + "\n"


def test_run_takes_another_chat_template(tiny_path, tmp_path, capsys):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages[0].content }} {{ messages[0].content }}", "utf-8")
    options = ["--executor", "reference", "-n", "1", "--json"]
    main(["run", str(tiny_path), "the hand", *options, "--chat-template", str(template)])
    twice = json.loads(capsys.readouterr().out)
    main(["run", str(tiny_path), "the hand", *options, "--raw"])
    once = json.loads(capsys.readouterr().out)
    assert twice["timings"]["n_prompt_tokens"] > once["timings"]["n_prompt_tokens"]
    missing = ["run", tiny_path, "the", *options, "--chat-template", str(tmp_path / "no.jinja")]
    assert "--chat-template must be a Jinja template" in fails(missing, capsys)


def test_run_shows_control_tokens_on_demand_and_stops_at_them(tiny_path, capsys):
    options = [str(tiny_path), "the", "-n", "20", "--temp", "100", "--seed", "15", "--executor", "reference"]
    outputs = []
    for more in ([], ["--no-skip-special-tokens"], ["--stop", "<|im_start|>"]):
        assert main(["run", *options, *more]) == 0
        outputs.append(capsys.readouterr().out)
    hidden, shown, stopped = outputs
    assert "<|im_start|>" in shown and hidden == shown.replace("<|im_start|>", "")
    assert stopped == shown.partition("<|im_start|>")[0] + "\n"


def test_run_does_not_wait_for_numba_on_the_reference_executor(tiny_path):
    code = (
        "import sys; from nybble.cli import main;"
        "main(['run', sys.argv[1], 'the', '-n', '2', '--executor', 'reference']);"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tiny_path)], capture_output=True).returncode == 0


def test_inspect_shows_metadata_tensors_and_totals(tiny_path, capsys):
    assert main(["inspect", str(tiny_path)]) == 0
    text = capsys.readouterr().out
    with nybble.load_gguf(tiny_path) as file:
        for name, tensor in file.tensors.items():
            line = next(line for line in text.splitlines() if line.split()[:1] == [name])
            assert tensor.format.name in line and " x ".join(map(str, tensor.shape)) in line
        n_tokens = file.metadata.length_of("tokenizer.ggml.tokens")
        assert f"string[{n_tokens}]" in text and "'<|endoftext|>'" in text and "…]" in text
        n_values = sum(tensor.n_values for tensor in file.tensors.values())
    assert f"{n_values:,} values" in text and "32.00 bits a value" in text
    assert max(map(len, text.splitlines())) < 140


def test_inspect_says_what_a_context_takes(tiny_path, capsys):
    sizes = {}
    for name in ("f16", "f32", "q8_0", "q4_0"):
        assert main(["inspect", str(tiny_path), "--cache-type", name]) == 0
        assert f" tokens, {name} " in capsys.readouterr().out
        assert main(["inspect", str(tiny_path), "--cache-type", name, "--json"]) == 0
        memory = json.loads(capsys.readouterr().out)["memory"]
        assert memory["cache_type"] == name
        sizes[name] = memory["states"]
    assert sizes["f32"] == 2 * sizes["f16"]
    assert sizes["q8_0"] * 18 == sizes["q4_0"] * 34


def test_inspect_shows_activations_in_the_order_of_computation(tiny_path, capsys):
    assert main(["inspect", str(tiny_path), "--activations"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    names = [name for name, _ in lines]
    assert names[:3] == ["token_embd", "blk.0.resid_pre", "blk.0.attn_norm"] and names[-1] == "logits"
    assert dict(lines)["blk.1.attn_probs"].startswith("n_tokens x 4 x n_keys")


def test_inspect_lets_no_control_character_through(tmp_path, capsys):
    import gguf

    writer = gguf.GGUFWriter(str(tmp_path / "evil.gguf"), "llama")
    writer.add_string("general.name", "\x1b[2J\u202eevil" + "x" * 5000)
    writer.add_tensor("\x1b[31mred", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert main(["inspect", str(tmp_path / "evil.gguf")]) == 1
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\u202e" not in text and "x" * 100 not in text


def test_no_message_lets_a_control_character_through(tiny_path, tmp_path, capsys):
    path = tmp_path / "evil.gguf"
    path.write_bytes(GGUFForge.parse(tiny_path.read_bytes()).add_tensor("\x1b[31mred", [4]).build())
    message = r"tensor \x1b[31mred would not be used"
    assert message in fails(["run", path, "the"], capsys)
    assert main(["inspect", str(path)]) == 1
    assert message in capsys.readouterr().out


def test_tokenize(tiny_path, capsys):
    tokenizer = nybble.Tokenizer.from_gguf(tiny_path)
    assert main(["tokenize", str(tiny_path), "the hand<|im_end|>", "--ids", "--parse-special"]) == 0
    ids = [int(word) for word in capsys.readouterr().out.split()]
    assert ids == tokenizer.encode("the hand<|im_end|>", parse_special=True)
    assert main(["tokenize", str(tiny_path), "the hand<|im_end|>", "--parse-special"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == ids
    assert lines[-1].endswith("'<|im_end|>'")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: nybble {command}" in capsys.readouterr().out


def test_the_front_of_the_command(capsys):
    assert main(["--version"]) == 0
    assert main(["-V"]) == 0
    assert capsys.readouterr().out == 2 * f"nybble {nybble.__version__}\n"
    for words in (["help"], ["--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
        out = capsys.readouterr().out
        assert all(f"\n  {command} " in out for command in COMMANDS)
    assert main([]) == 2
    assert "usage: nybble COMMAND" in capsys.readouterr().err


def test_errors_are_one_line_and_exit_code_1(tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert "missing.gguf" in fails(["inspect", tmp_path / "missing.gguf"], capsys)
    assert "broken.gguf" in fails(["inspect", "broken.gguf"], capsys)
    assert "neither a known model" in fails(["run", "smolm", "text"], capsys)
    assert "neither a known model (gemma3, smollm2) nor a file" in fails(["pull", "gpt5"], capsys)
    assert "quotes" in fails(["run", tiny_path, "two", "words"], capsys)
    assert "prompt is empty" in fails(["run", tiny_path, "", "--executor", "reference"], capsys)


def test_an_error_in_a_process_shows_no_traceback(tmp_path):
    done = nybble_command("run", tmp_path / "missing.gguf", "text")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("nybble: error: ") and "Traceback" not in done.stderr


def test_a_prompt_that_is_not_utf8(tiny_path):
    command = [sys.executable, "-m", "nybble", "run", str(tiny_path), "-", "--executor", "reference"]
    done = subprocess.run(command, input=b"ab\xff", capture_output=True, timeout=HANG)
    message = b"nybble: error: standard input is not a text in UTF-8: byte 0xff at 2\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")
class TestInterruptions:
    def test_ctrl_c(self, tmp_path):
        path = tiny_model.write(tmp_path / "endless.gguf", n_ctx=100_000)
        options = ["-n", "99999", "-c", "99999", "--executor", "reference"]
        command = [sys.executable, "-m", "nybble", "run", str(path), PROMPT, *options]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.read(1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=HANG)
        assert child.returncode == 130 and b"Traceback" not in err
        assert b"ended by interruption" in err

    def test_nobody_reads_the_output(self, tiny_path):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "nybble", "inspect", str(tiny_path)]
        child = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        _, err = child.communicate(timeout=HANG)
        assert child.returncode == 141 and err == b""
