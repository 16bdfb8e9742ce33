"""The compiled embedding lookup: the bits of its reference, on bytes of every kind, and in the engine."""

import os
import subprocess
import sys
from pathlib import Path

import embedding_cases
import numpy as np
import pytest
import tiny_model
from embedding_cases import CASES
from guard import misaligned
from kernel_cases import Case, make
from numpy.typing import NDArray

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.gguf_io import formats
from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.position.embedding import bind_embedding
from nybble.kernels.weights.decode_row import ROW_DECODERS

each_format = pytest.mark.parametrize("format", ROW_DECODERS, ids=lambda format: format.name)


each_case = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


@each_case
@pytest.mark.parametrize("seed", range(10))
def test_same_bits_as_the_reference(kind: type[Case], seed: int) -> None:
    case = make(kind, seed)
    assert case.run().tobytes() == case.expected().tobytes()


@each_case
def test_same_bits_for_threads_chunks_and_alignments(kind: type[Case]) -> None:
    case = make(kind, 100, n=20)
    expected = case.expected().tobytes()
    for chunk, n_threads in ((0, 2), (0, 3), (1, 1), (1, 5), (7, 2)):
        assert case.run(chunk, n_threads).tobytes() == expected, (chunk, n_threads)
    for n_bytes in (4, 12, 36):
        assert case.run(7, 2, lambda a, n=n_bytes: misaligned(a, n)).tobytes() == expected, n_bytes


@pytest.mark.parametrize(("mode", "no_jit"), [("guard", "0"), ("reference", "1")])
def test_guard_pages_and_plain_python(mode: str, no_jit: str) -> None:
    """No kernel reads or writes beyond its operands, and without the JIT it gives the same bits."""
    script = embedding_cases.__file__
    environment = {**os.environ, "NUMBA_DISABLE_JIT": no_jit}
    done = subprocess.run([sys.executable, script, mode], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def look_up(format: BlockFormat, table: NDArray[np.uint8], n_vocab: int, width: int) -> NDArray[np.float32]:
    """All rows of a table."""
    out = np.zeros((n_vocab, -(-width // 16) * 16), np.float32)
    ids, n_tokens = np.arange(n_vocab), np.array([n_vocab])
    bind_embedding(format, table, ids, out, n_tokens, n_vocab, width, 1.0).run()
    return out[:, :width]


@each_format
def test_any_bytes_mean_what_dequantize_says(format: BlockFormat) -> None:
    """Scales that are denormal, infinite or NaN among them."""
    n_vocab, width = 600, 512
    table = np.random.default_rng(1).integers(0, 256, format.nbytes(n_vocab * width), np.uint8)
    expected = dequantize(format, table, n_vocab * width).reshape(n_vocab, width)
    found = look_up(format, table, n_vocab, width)
    is_nan = np.isnan(expected)
    assert is_nan.any()
    np.testing.assert_array_equal(np.isnan(found), is_nan)
    np.testing.assert_array_equal(found[~is_nan].view(np.uint32), expected[~is_nan].view(np.uint32))


@each_format
@pytest.mark.parametrize("n_bytes", [1, 3, 33])
def test_a_table_at_any_address(format: BlockFormat, n_bytes: int) -> None:
    """A file may ask for an alignment of 1."""
    n_vocab, width = 5, 256
    room = np.random.default_rng(2).integers(0, 124, n_bytes + format.nbytes(n_vocab * width), np.uint8)
    table = room[n_bytes:]
    expected = look_up(format, table.copy(), n_vocab, width)
    np.testing.assert_array_equal(look_up(format, table, n_vocab, width), expected)


TABLE, IDS, OUT, N_TOKENS = (
    np.zeros(34 * 6, np.uint8),
    np.zeros(4, np.int64),
    np.zeros((4, 64), np.float32),
    np.ones(1, int),
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({}, None, ""),
        ({"format": formats.IQ4_NL, "table": TABLE[: 18 * 6]}, ValueError, "decode rows of IQ4_NL"),
        ({"table": TABLE[1:]}, ValueError, "table must have shape"),
        ({"table": TABLE.view(np.int8)}, TypeError, "uint8"),
        ({"table": np.zeros(408, np.uint8)[::2]}, ValueError, "contiguous"),
        ({"n_vocab": 0, "table": TABLE[:0]}, ValueError, "at least one row"),
        ({"n_vocab": 2}, ValueError, "table must have shape"),
        ({"width": 48}, ValueError, "multiple of Q8_0 blocks"),
        ({"width": 96}, ValueError, "96 columns"),
        ({"ids": IDS[1:]}, ValueError, "ids must have shape"),
        ({"ids": IDS.astype(np.int32)}, TypeError, "int64"),
        ({"out": OUT[:, :60]}, ValueError, "multiple of 16"),
        ({"n_tokens": N_TOKENS.astype(np.int32)}, TypeError, "int64"),
    ],
)  # fmt: skip
def test_refuses_arguments_that_do_not_fit(change, error, message) -> None:  # type: ignore[no-untyped-def]
    arguments = {"format": formats.Q8_0, "table": TABLE, "ids": IDS, "out": OUT, "n_tokens": N_TOKENS,
                 "n_vocab": 3, "width": 64, "scale": 1.0, **change}  # fmt: skip
    if error is None:
        bind_embedding(**arguments)
    else:
        with pytest.raises(error, match=message):
            bind_embedding(**arguments)


def test_the_engine_with_and_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in a format that has none is read in NumPy: the same logits. Gemma scales its rows."""
    model = Model.load(tiny_model.write(tmp_path / "m.gguf", "gemma3", "Q8_0"))
    n_vocab = model.config.n_vocab
    ids, rows = np.array([0, n_vocab - 1, 3, 3], np.int32), np.arange(4)
    logits = []
    for has_kernel in (True, False):
        if not has_kernel:
            monkeypatch.delitem(ROW_DECODERS, formats.Q8_0)
        executor = NumbaExecutor(model.plan, 16, 2)
        sequence = single_seat(executor)
        for bad in (-1, n_vocab, -(2**31), 2**31 - 1):
            with pytest.raises(ValueError, match=rf"ids must lie in 0 \.\. {n_vocab - 1}; found"):
                sequence.forward(np.array([1, bad, 2], np.int32), 0, rows)
        logits.append(sequence.forward(ids, 0, rows))
        executor.close()
    np.testing.assert_array_equal(logits[0], logits[1])
    model.close()
