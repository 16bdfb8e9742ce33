"""G131 for the whole loader, and G133: mutants of tiny models are refused, or load and run; no signal, ever.

Loading takes 0.3 ms a mutant, so that 20,000 of them take 6 s on one core. Running is slower (a program is
built for each mutant that loads), so fewer are run, half of which load since they differ in their weights
alone. They run in a child process, for which a signal would be the end.
"""

import logging
import random
import struct
import subprocess
import sys
from pathlib import Path

import forge
import fuzz
import pytest
import tiny_model
from stopwatch import HANG

import nybble
from nybble.engine.model import Model
from nybble.errors import ModelError

ARCHITECTURES = [("llama", "Q4_0"), ("gemma3", "Q8_0")]


def load(path: Path) -> None:
    """Reader, hyperparameters, tensors, plan and tokenizer."""
    model = Model.load(path)
    try:
        if model.tokenizer is not None:
            model.tokenizer.decode(model.tokenizer.encode("the other hand"))
    finally:
        model.close()


def generate(path: Path) -> None:
    """All that, the kernels' program, a step of three tokens, and four of one."""
    with nybble.LLM(path, n_ctx=16, n_threads=2) as llm:
        try:
            llm.generate([70, 71, 72], nybble.SamplingParams(max_tokens=4, temperature=1.0, seed=1))
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error


def weight_mutants(data: bytes, seed: int, n: int) -> list[bytes]:
    """Sound containers whose weights have random bits, or scales that are no numbers, in a few places."""
    rng = random.Random(seed)
    made = forge.GGUFForge.parse(data)
    n_weights = sum(len(tensor.data) for tensor in made.tensors)
    mutants = []
    for _ in range(n):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 10, 1000))):
            at = len(data) - n_weights + rng.randrange(n_weights - 2)
            mutant[at : at + 2] = rng.choice(
                [
                    rng.randbytes(2),
                    struct.pack("<e", rng.choice([float("nan"), float("inf"), -6e-8, 65504.0])),
                ]
            )
        mutants.append(bytes(mutant))
    return mutants


@pytest.mark.parametrize(("arch", "weight_format"), ARCHITECTURES)
def test_mutants_are_refused_or_loaded(arch, weight_format, tmp_path, caplog):
    caplog.set_level(logging.ERROR, logger="nybble")
    data = tiny_model.write(tmp_path / "sound.gguf", arch, weight_format, n_layers=1).read_bytes()
    outcomes = fuzz.survey(data, load, tmp_path / "mutant.gguf", seed=20261122, n=10_000)
    assert outcomes.total() == 10_000
    for outcome, least in {
        "OK": 200,
        "GGUFFormatError": 5_000,
        "ModelError": 150,
        "GGUFUnsupportedError": 30,
    }.items():
        assert outcomes[outcome] >= least, outcomes


@pytest.mark.parametrize(("arch", "weight_format"), ARCHITECTURES)
def test_g133_mutants_are_refused_or_run(arch, weight_format, tmp_path):
    """In a child, which a signal would end."""
    options = ["-X", "faulthandler", "-W", "error"]
    command = [sys.executable, *options, __file__, arch, weight_format, str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert child.returncode == 0, child.stderr[-4000:]
    outcomes = dict(line.split() for line in child.stdout.splitlines())
    assert int(outcomes["OK"]) > 50, outcomes
    assert int(outcomes["ModelError"]) > 20, outcomes


def main(arch: str, weight_format: str, folder: str) -> None:
    """The child: 2,000 mutants of any kind, of which some 80 load, and 120 of the weights."""
    logging.getLogger("nybble").setLevel(logging.ERROR)
    sound = tiny_model.write(Path(folder) / "sound.gguf", arch, weight_format, n_layers=2)
    generate(sound)  # compiles the kernels, which is allowed to take its time
    data, path = sound.read_bytes(), Path(folder) / "mutant.gguf"
    outcomes = fuzz.survey(data, generate, path, seed=20261123, n=2_000)
    outcomes += fuzz.survey_all(weight_mutants(data, 20261124, 120), generate, path, name="damaged weights")
    for outcome, count in outcomes.items():
        print(outcome, count)


if __name__ == "__main__":
    main(*sys.argv[1:])
