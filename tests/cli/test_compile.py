"""`nybble compile`: afterwards nothing is left to compile, for anybody."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import architecture_fixtures
import pytest
import tiny_model

from nybble.cli import main
from nybble.kernels.jit.object_cache import compile_log

RUN = """
import sys
import nybble
from nybble.kernels.jit.object_cache import compile_log
with nybble.LLM(sys.argv[1], weights=sys.argv[2], cache_type=sys.argv[3]) as llm:
    for temperature in (0, 1):
        llm.generate([1, 2, 3], nybble.SamplingParams(max_tokens=4, temperature=temperature, top_p=0.9))
    llm.logits([1, 2, 3])
    llm.embed([1, 2, 3], pooling="mean")
    traced = llm.trace([1, 2, 3], capture=list(llm.activations), edit={"*": lambda value, info: value * 0.5})
    llm.unembed(traced["blk.0.resid_post"])
print(compile_log.n_compiled, compile_log.n_linked, "numba" in sys.modules)
"""

TAKEN = """
import sys
from nybble.cli import main
from nybble.kernels.jit import object_cache
read, taken = object_cache.read_private, {}
object_cache.read_private = lambda path: taken.setdefault(path) or read(path)
code = main(sys.argv[1:])
print(*taken, sep="\\n")
sys.exit(code)
"""
"""The command, and behind what it says the files that it took its kernels from."""


def process(cache: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NYBBLE_CACHE": str(cache)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


def test_it_compiles_all_that_a_model_needs(tmp_path: Path) -> None:
    model, cache = str(tiny_model.write(tmp_path / "tiny.gguf")), tmp_path / "cache"
    command = ["-m", "nybble", "compile", model]
    done = process(cache, *command)
    assert done.returncode == 0, done.stderr
    n, *_ = done.stdout.split()
    (folder,) = (cache / "kernels").iterdir()
    assert len(list(folder.iterdir())) == int(n) > 0
    assert f"{n} kernels are in {folder}; {n} of them were compiled now, in " in done.stdout
    assert process(cache, "-c", RUN, model, "packed", "f16").stdout == f"0 {n} False\n"
    again = process(cache, *command)
    assert f"{n} kernels are in {folder}; 0 of them" in again.stdout and again.stderr == ""


def test_mapped_weights_and_another_cache_have_kernels_of_their_own(tmp_path: Path) -> None:
    """What it took from the cache of all tests is enough where nothing else is."""
    model, folder = str(tiny_model.write(tmp_path / "tiny.gguf")), tmp_path / "cache" / "kernels"
    command = ["compile", model, "--weights", "mapped", "--cache-type", "q8_0"]
    done = subprocess.run([sys.executable, "-c", TAKEN, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, *taken = done.stdout.splitlines()
    assert said.startswith(f"{len(taken)} kernels are in ")
    for path in map(Path, taken):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    done = process(tmp_path / "cache", "-c", RUN, model, "mapped", "q8_0")
    assert done.stdout == f"0 {len(taken)} False\n", done.stderr


def test_a_model_without_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = architecture_fixtures.write(tmp_path / "m.gguf", architecture_fixtures.description("mamba"))
    assert main(["compile", str(model)]) == 0
    assert "kernels are in" in capsys.readouterr().out


def test_it_fails_where_they_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`test_object_folder.py` says where that is."""
    model = str(tiny_model.write(tmp_path / "tiny.gguf"))
    monkeypatch.setattr("nybble.cli.commands.compile.can_keep", lambda: False)
    monkeypatch.setattr(compile_log, "n_compiled", 3)
    assert main(["compile", model]) == 1
    out, err = capsys.readouterr()
    assert out == "" and re.search(r" \d+ kernels were compiled, but cannot be kept; set NYBBLE_CACHE", err)
