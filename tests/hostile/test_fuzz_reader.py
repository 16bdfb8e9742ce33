"""G131: 20,000 seeded mutants of tiny valid models; the reader refuses or accepts, and nothing else."""

import logging
from pathlib import Path

import fuzz
import pytest
import tiny_model

from nybble.gguf_io.file import load_gguf


def read_everything(path: Path) -> None:
    """Opens the file and asks for all that it holds."""
    with load_gguf(path) as file:
        for key in file.metadata:
            file.metadata[key]
        for tensor in file.tensors.values():
            if tensor.format.supported:
                tensor.dequantize()


@pytest.mark.parametrize(
    ("arch", "weight_format", "n"),
    [("llama", "Q4_0", 12_000), ("gemma3", "Q8_0", 4_000), ("llama", "F32", 4_000)],
)
def test_mutants_are_refused_or_read(
    arch: str, weight_format: str, n: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="nybble")
    data = tiny_model.write(tmp_path / "sound.gguf", arch, weight_format, n_layers=1).read_bytes()
    outcomes = fuzz.survey(data, read_everything, tmp_path / "mutant.gguf", seed=20261121, n=n)
    assert outcomes.total() == n
    assert outcomes["OK"] > n // 20, outcomes
    assert outcomes["GGUFFormatError"] > n // 4, outcomes
    assert outcomes["GGUFUnsupportedError"] > 0, outcomes


def test_the_same_seed_gives_the_same_mutants(tmp_path: Path) -> None:
    data = tiny_model.write(tmp_path / "sound.gguf").read_bytes()
    first, again, other = (list(fuzz.mutants(data, seed, 20)) for seed in (1, 1, 2))
    assert first == again != other
