"""Scripts that complete command lines, tried in the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nybble.cli import COMMANDS, main
from nybble.cli.front import command_and_parser


@pytest.fixture
def script(tmp_path, capsys):
    """-> the path of the script for a shell."""

    def write(shell) -> Path:
        assert main(["completion", shell]) == 0
        path = tmp_path / f"completion.{shell}"
        path.write_text(capsys.readouterr().out)
        return path

    return write


def run(shell, code, **options):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run([shell, "-c", code], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split("\n")[:-1]


def bash_offers(path, *words):
    """What bash offers for the last of some words."""
    line = " ".join(f"'{word}'" for word in ("nybble", *words))
    code = f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _nybble"
    code += "; printf '%s\\n' \"${COMPREPLY[@]}\""
    return [word for word in run("bash", code) if word]


def test_bash_completes_commands_options_and_values(script):
    path = script("bash")
    assert bash_offers(path, "") == [*COMMANDS, "--help", "--version", "--quiet"]
    assert bash_offers(path, "co") == [name for name in COMMANDS if name.startswith("co")]
    assert bash_offers(path, "run", "--exec") == ["--executor"]
    assert bash_offers(path, "run", "smollm2", "--executor", "") == ["numba", "reference"]
    assert bash_offers(path, "-q", "run", "x.gguf", "--executor", "n") == ["numba"]
    assert bash_offers(path, "run", "smo") == ["smollm2"]
    assert bash_offers(path, "run", "-n", "") == [], "any value: bash offers files then"
    assert bash_offers(path, "nonsense", "-") == []


def test_bash_knows_every_option_of_every_command(script):
    path = script("bash")
    for name in COMMANDS:
        _, parser = command_and_parser(name)
        expected = [spelling for action in parser._actions for spelling in action.option_strings]
        assert sorted(bash_offers(path, name, "-")) == sorted(expected), name


def test_fish_completes_them_with_their_descriptions(script):
    path = script("fish")
    found = run("fish", f"source {path}; complete -C 'nybble cap'; complete -C 'nybble run --executor ref'")
    assert found[0] == f"capture\t{COMMANDS['capture']}" and found[1].split("\t")[0] == "reference"


def test_zsh_takes_the_script(script):
    path = script("zsh")
    code = f"autoload -U compinit; compinit -u -D; source {path}; print $_comps[nybble]"
    assert run("zsh", code)[-1] == "_nybble"


def test_a_shell_that_there_is_not(capsys):
    assert main(["completion", "basj"]) == 1
    assert "no script for 'basj'; did you mean bash?" in capsys.readouterr().err
