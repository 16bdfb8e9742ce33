"""What the README tells people to do is what is tested."""

import ast
import re
import shlex
from pathlib import Path

import pytest

import nybble
from nybble.cli import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The fenced blocks marked `kind`; an unmarked one has the kind ""."""
    fenced = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```$", README, re.MULTILINE)
    return [text for mark, text in fenced if mark == kind]


def test_the_two_commands_are_one_line_each_and_ci_runs_them():
    commands = blocks("sh")
    assert len(commands) == 2 and all(command.count("\n") == 1 for command in commands)
    assert "nybble run" in commands[0] and "python -m pytest" in commands[1]
    for number in (1, 2):
        assert f'bash -euo pipefail -c "$(readme_command {number})"' in CI
    assert "NYBBLE_REQUIRE_MODELS=1" in CI


def test_it_opens_with_one_sentence():
    first = README.split("\n\n")[0]
    assert "\n" not in first and first.endswith(".") and first.count(". ") == 0


def test_the_commands_it_lists_are_all_there_are():
    listed = re.findall(r"^nybble (\w+) .*  ", README, re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.model
def test_the_python_runs(smollm2_path, capsys, monkeypatch):
    """The model is in the cache now, so `LLM("smollm2")` finds it there."""
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (len(names["ids"]), names["llm"].config.n_vocab)
    assert names["weights"].shape == (names["llm"].config.n_embd,) * 2
    names["llm"].close()
    assert names["out"].text in capsys.readouterr().out


def test_the_python_uses_what_is_public():
    (code,) = blocks("python")
    used = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nybble"
    }
    assert used <= set(nybble.__all__)


@pytest.mark.model
def test_the_output_it_shows_is_real(smollm2_path, capsys):
    from nybble.cli import main

    words = shlex.split(blocks("sh")[0].rsplit("&&", 1)[1])
    assert main(words[1:]) == 0
    shown = [line for line in blocks("")[0].splitlines() if not line.startswith("nybble: ")]
    # Another processor may round otherwise, and a close decision late in the text may then fall otherwise.
    assert capsys.readouterr().out.split()[:8] == shown[0].split()[:8]
