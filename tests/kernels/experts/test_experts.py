"""Layers of many matrices: the kernels against float64 and themselves, the packing, whole models.

Every format has its product of tiles from the dense layer, which `test_linear.py` tests in each.
"""

import os
import subprocess
import sys
import tracemalloc
from typing import Any

import expert_cases
import numpy as np
import pytest
from expert_cases import SEVERAL, Experts, random_experts
from hypothesis import given, settings, strategies as st
from linear_cases import random_weights, run_all

from nybble.engine.executors.numba.storage.packing import pack_tensors
from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.gguf_io.tensor import Tensor
from nybble.kernels.experts.groups import COST_OF_READING, Groups, bind_gather, bind_group, group_reference
from nybble.kernels.experts.linear import bind_expert_linear, expert_scratch
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.weights.layout import BYTE
from nybble.kernels.weights.pack import pack
from nybble.kernels.weights.pack_kernel import bind_pack
from nybble.kernels.weights.pack_spans import SPANS

SCRIPT = expert_cases.__file__
each_of_several = pytest.mark.parametrize("format", SEVERAL, ids=lambda format: format.name)


@each_of_several
@settings(max_examples=15, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    n_out=st.integers(1, 50),
    n_blocks=st.integers(1, 5),
    n=st.integers(1, 12),
    n_used=st.integers(1, 4),
    n_experts=st.integers(4, 9),
)
def test_agrees_with_float64(
    format: BlockFormat, seed: int, n_out: int, n_blocks: int, n: int, n_used: int, n_experts: int
) -> None:
    assert random_experts(seed, format, n_out, n_blocks, n, n_used, n_experts).error() <= 1


@each_of_several
def test_more_tokens_than_a_pass_takes(format: BlockFormat) -> None:
    assert random_experts(1, format, 33, 2, 150, 2, 3).error() <= 1


@each_of_several
def test_same_bits_for_threads_and_tokens(format: BlockFormat) -> None:
    made = random_experts(2, format, 75, 2, 13, 3)
    expected = made.run()
    for n_threads in (2, 3, 16):
        assert made.run(n_threads).tobytes() == expected.tobytes(), n_threads
    for n in (1, 2, 5, 12):
        parts = [made.run(2, first=first, last=first + n) for first in range(0, 13, n)]
        assert np.concatenate(parts).tobytes() == expected.tobytes(), n


@pytest.mark.parametrize("number", [np.nan, np.inf, -1, 5, 1e30, -np.inf])
def test_an_expert_that_does_not_exist_gives_nan_and_spoils_no_other(number: float) -> None:
    made = random_experts(3, formats.Q4_0, 20, 2, 6)
    clean = made.run().reshape(6, 2, 20)
    made.ids[4, 1] = number
    found = made.run(3).reshape(6, 2, 20)
    assert np.isnan(found[4, 1]).all()
    found[4, 1] = clean[4, 1]
    assert found.tobytes() == clean.tobytes()


@settings(max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32), n=st.integers(0, 30), n_used=st.integers(1, 5), n_experts=st.integers(1, 9)
)
def test_pairs_are_put_together(seed: int, n: int, n_used: int, n_experts: int) -> None:
    ids = np.random.default_rng(seed).integers(-1, n_experts + 1, (31, n_used)).astype(np.float32)
    groups = Groups.make(31, n_used, n_experts)
    run_all([bind_group(ids, groups, np.array([n]))], 2)
    token, slot, first = group_reference(ids[:n], n_experts)
    assert (groups.token[: n * n_used] == token).all() and (groups.slot[: n * n_used] == slot).all()
    assert (groups.first == first).all()
    counts = np.diff(first)
    assert (np.diff(groups.cost) == np.where(counts, counts + COST_OF_READING, 0)).all()


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_threads_share_the_work_of_one_token(n_threads: int) -> None:
    """Each computes its part of the rows of the chosen experts, and no thread much more than another."""
    made = random_experts(4, formats.Q8_0, 16 * 14, 1, 1, 3)
    n_rows = []
    for thread in range(n_threads):
        out = only_thread(made, thread, n_threads)
        n_rows.append(int((out != 7).sum()))
    assert sum(n_rows) == 3 * 16 * 14
    assert max(n_rows) - min(n_rows) <= 16


def only_thread(made: Experts, thread: int, n_threads: int) -> np.ndarray:
    """What one of the threads writes, and 7 elsewhere."""
    n_experts, n_out, n_in = made.shape
    groups, n_tokens = Groups.make(1, 3, n_experts), np.array([1])
    layout = pack(made.format, made.data[0], (n_out, n_in))[0]
    tiles = np.concatenate([pack(made.format, part, (n_out, n_in))[1] for part in made.data])
    xs: Any = tuple(np.ones((3, n_in // 32), dtype) for dtype in (np.float32, np.int32, np.int32))
    xs = (np.ones((3, n_in), np.int8), *xs)
    out = np.full((1, 3 * n_out), 7, np.float32)
    run_all([bind_group(made.ids, groups, n_tokens)], 1)
    memory = expert_scratch(n_threads), working_memory(n_in, n_threads)
    bind_expert_linear(layout, tiles, xs, groups, out, *memory, n_out).run(thread, n_threads)
    return out


@pytest.mark.parametrize("format", SPANS, ids=lambda format: format.name)
def test_a_stack_is_packed_as_its_matrices_are(format: BlockFormat) -> None:
    shape = 21, 2 * format.block_size
    data = np.stack([random_weights(np.random.default_rng(i), format, *shape) for i in range(3)])
    _, packed, call = bind_pack(format, data.reshape(-1), shape, 3)
    run_all([call], 2)
    assert packed.tobytes() == b"".join(pack(format, part, shape)[1].tobytes() for part in data)


@pytest.mark.parametrize("format", [formats.Q4_K, formats.IQ2_S, formats.BF16, formats.F64], ids=str)
def test_packing_a_stack_takes_little_memory_besides(format: BlockFormat) -> None:
    shape = 24, 20, 1024
    n_bytes = format.nbytes(20 * 1024)
    tensor = Tensor("stack", shape, format, np.zeros(24 * n_bytes, np.uint8))
    pack_tensors([Tensor("warm-up", (1, 16, 1024), format, tensor.data[: n_bytes * 16 // 20])], 1)
    tracemalloc.start()
    packed = pack_tensors([tensor], 1)["stack"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packed.data) == 24 * 2  # whole tiles for each matrix
    one_in_float32 = 20 * 1024 * 4
    assert peak < packed.nbytes + 6 * one_in_float32 < packed.nbytes + 24 * one_in_float32 / 3


def run_script(mode: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, mode], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    run_script("guard")


def test_every_format_in_plain_python() -> None:
    run_script("all", NUMBA_DISABLE_JIT="1")


def expert_arguments(**changes: Any) -> dict[str, Any]:
    """Good arguments of `bind_expert_linear`: 2 of 4 experts, 17 rows of Q8_0 x 64 columns, 3 tokens."""
    half = np.zeros((6, 2), np.int32)
    good = {
        "form": BYTE,
        "weight": np.zeros((8, BYTE.tile_bytes(64)), np.uint8),
        "xs": (np.zeros((6, 64), np.int8), np.zeros((6, 2), np.float32), half, half),
        "groups": Groups.make(3, 2, 4),
        "out": np.zeros((3, 48), np.float32),
        "scratch": expert_scratch(2),
        "working": working_memory(64, 2),
        "n_out": 17,
        "bias": np.zeros((4, 17), np.float32),
        "scale": np.zeros(4, np.float32),
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": np.zeros((4, BYTE.tile_bytes(64)), np.uint8)}, ValueError, "weight must have shape"),
        ({"n_out": 40}, ValueError, "weight must have shape"),
        ({"out": np.zeros((3, 32), np.float32)}, ValueError, "2 x 17 columns are needed"),
        ({"out": np.zeros((2, 48), np.float32)}, ValueError, "out must have shape"),
        ({"bias": np.zeros((4, 16), np.float32)}, ValueError, "bias must have shape"),
        ({"scale": np.zeros(3, np.float32)}, ValueError, "scale must have shape"),
        ({"scratch": np.zeros((2, 16), np.float32)}, ValueError, "scratch must have shape"),
        ({"xs": (np.zeros((6, 48), np.int8),) * 4}, ValueError, "multiple of the blocks"),
        ({"form": formats.F32}, TypeError, "weight must be a float32 array"),
    ],
)
def test_expert_linear_refuses(changes: dict[str, Any], error: type, message: str) -> None:
    bind_expert_linear(**expert_arguments())
    with pytest.raises(error, match=message):
        bind_expert_linear(**expert_arguments(**changes))


def test_gather_and_group_refuse() -> None:
    groups, n_tokens = Groups.make(3, 2, 4), np.array([3])
    with pytest.raises(ValueError, match="ids has 1 columns for 2 experts"):
        bind_group(np.zeros((3, 1), np.float32), groups, n_tokens)
    with pytest.raises(ValueError, match="ids must have shape"):
        bind_group(np.zeros((2, 2), np.float32), groups, n_tokens)
    with pytest.raises(ValueError, match="x has 9 columns; 2 slots need 10"):
        bind_gather(np.zeros((3, 9), np.float32), np.zeros((6, 5), np.float32), groups, 5)
    with pytest.raises(TypeError, match="out must be a float32 array"):
        bind_gather(np.zeros((3, 9), np.float32), np.zeros((6, 5), np.int32), groups, 0)
