"""`nybble compile`: afterwards nothing is left to compile, for anybody."""

import os
import subprocess
import sys
from pathlib import Path

import architecture_fixtures
import pytest
import tiny_model

from nybble.cli import main

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


def process(cache: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NYBBLE_CACHE": str(cache)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("weights", "cache_type"), [("packed", "f16"), ("mapped", "q8_0")])
def test_it_compiles_all_that_a_model_needs(tmp_path: Path, weights: str, cache_type: str) -> None:
    model, cache = str(tiny_model.write(tmp_path / "tiny.gguf")), tmp_path / "cache"
    command = ["-m", "nybble", "compile", model, "--weights", weights, "--cache-type", cache_type]
    done = process(cache, *command)
    assert done.returncode == 0, done.stderr
    n, *_ = done.stdout.split()
    (folder,) = (cache / "kernels").iterdir()
    assert len(list(folder.iterdir())) == int(n) > 0
    assert f"{n} kernels are in {folder}; {n} of them were compiled now, in " in done.stdout
    assert process(cache, "-c", RUN, model, weights, cache_type).stdout == f"0 {n} False\n"
    again = process(cache, *command)
    assert f"{n} kernels are in {folder}; 0 of them" in again.stdout and again.stderr == ""


def test_a_model_without_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = architecture_fixtures.write(tmp_path / "m.gguf", architecture_fixtures.description("mamba"))
    assert main(["compile", str(model)]) == 0
    assert "kernels are in" in capsys.readouterr().out


def test_it_fails_where_they_cannot_be_kept(tmp_path: Path) -> None:
    model = str(tiny_model.write(tmp_path / "tiny.gguf"))
    (tmp_path / "file").write_text("no folder")
    done = process(tmp_path / "file", "-m", "nybble", "compile", model)
    assert done.returncode == 1 and done.stdout == ""
    assert "cannot be kept; set NYBBLE_CACHE" in done.stderr
