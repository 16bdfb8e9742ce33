"""The integer dot products on every path that this machine has, and the machine code for other machines.

Some tests run others again in a process of its own, since a process compiles for one machine.
"""

import re
import subprocess
import sys

import numpy as np
import pytest
from machine import assert_same, record_for
from numpy.typing import NDArray
from processors import MACHINES, again, paths_of_this_machine

from nybble.kernels.jit.kernel import Call, Kernel
from nybble.kernels.language.pointer import I32
from nybble.kernels.language.simd import (
    dot_pairs,
    dot_signed,
    dot_spill,
    dot_start,
    dot_start_signed,
    dot_sum,
    dot_unsigned,
    dot_words,
    load,
    pair_sums,
    splat,
    store,
)
from nybble.kernels.target.target import host_target

rng = np.random.default_rng(21)


def unsigned_kernel(n_tokens: int, spill_every: int):  # type: ignore[no-untyped-def]
    n_pairs = 2 * n_tokens

    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        state = dot_start(load(args.first, 8, n_pairs, 8))
        for i in range(0, args.steps, spill_every):
            for j in range(spill_every):
                w = load(args.w + 64 * (i + j), 32, 2, 32)
                state = dot_unsigned(state, w, args.x + 4 * (i + j), args.stride, n_tokens)
            state = dot_spill(state)
        store(args.out, dot_sum(state), 8)

    return kernel


def kernel_without_spills(start, dot, k: int, n_tokens: int):  # type: ignore[no-untyped-def]
    """A kernel of products over k columns a step, as many as fit into 32 bits of an activation."""
    n_pairs, lanes = 2 * n_tokens, 8 * k

    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        state = start(load(args.first, 8, n_pairs, 8))
        for i in range(args.steps):
            w = load(args.w + 2 * lanes * i, lanes, 2, lanes)
            state = dot(state, w, args.x + k * i, args.stride, n_tokens)
        store(args.out, dot_sum(state), 8)

    return kernel


def dot_oracle(w: NDArray, x: NDArray) -> NDArray[np.int64]:
    """w (steps, 2, 8, k), x (n_tokens, steps * k) -> (2, n_tokens, 8)."""
    steps = x.astype(np.int64).reshape(len(x), -1, w.shape[3])
    return np.einsum("sgrk,tsk->gtr", w.astype(np.int64), steps)


def activations(n_tokens: int, steps: int) -> NDArray[np.int8]:
    """Tokens of the largest, the smallest, alternating and random activations."""
    x = rng.integers(-127, 128, (4, 4 * steps)).astype(np.int8)
    x[0], x[1], x[2] = 127, -127, np.tile([127, -127], 2 * steps)
    return x[:n_tokens]


@pytest.mark.parametrize(
    ("largest", "spill_every", "n_tokens"), [(15, 8, 4), (15, 8, 1), (31, 4, 4), (63, 2, 4)]
)
def test_dot_products_of_unsigned_weights(largest: int, spill_every: int, n_tokens: int) -> None:
    """The first group of rows holds the largest weights, the second random ones."""
    steps = 16
    x = activations(n_tokens, steps)
    w = rng.integers(0, largest + 1, (steps, 2, 8, 4)).astype(np.uint8)
    w[:, 0] = largest
    first = rng.integers(-(2**20), 2**20, (2, n_tokens, 8)).astype(np.int32)
    sizes = {"stride": x.shape[1], "steps": steps}
    out = assert_same(
        unsigned_kernel(n_tokens, spill_every), w=w, x=x, first=first, out=np.zeros_like(first), **sizes
    )
    assert (out == first + dot_oracle(w, x)).all()


@pytest.mark.parametrize("n_tokens", [1, 4])
def test_dot_products_of_signed_weights(n_tokens: int) -> None:
    """Rows of the smallest, of the largest, and of random weights."""
    steps = 16
    x = activations(n_tokens, steps)
    w = rng.integers(-128, 128, (steps, 2, 8, 4)).astype(np.int8)
    w[:, 0, :4], w[:, 0, 4:] = -128, 127
    sums = np.broadcast_to(x.sum(axis=1, dtype=np.int32)[None, :, None], (2, n_tokens, 8)).copy()
    sizes = {"stride": x.shape[1], "steps": steps}
    kernel = kernel_without_spills(dot_start_signed, dot_signed, 4, n_tokens)
    out = assert_same(kernel, w=w, x=x, first=sums, out=np.zeros_like(sums), **sizes)
    assert (out == dot_oracle(w, x)).all()


@pytest.mark.parametrize("n_tokens", [1, 4])
def test_dot_products_of_words_as_of_signed_weights(n_tokens: int) -> None:
    """The same with two columns a step, in int16."""
    steps = 32
    x = activations(n_tokens, steps // 2).astype(np.int16)
    w = rng.integers(-128, 128, (steps, 2, 8, 2)).astype(np.int16)
    w[:, 0, :4], w[:, 0, 4:] = -128, 127
    first = rng.integers(-(2**20), 2**20, (2, n_tokens, 8)).astype(np.int32)
    sizes = {"stride": x.shape[1], "steps": steps}
    kernel = kernel_without_spills(dot_start, dot_words, 2, n_tokens)
    out = assert_same(kernel, w=w, x=x, first=first, out=np.zeros_like(first), **sizes)
    assert (out == first + dot_oracle(w, x)).all()


def pairs_kernel(n_tokens: int):  # type: ignore[no-untyped-def]
    """A kernel of products over 8 columns a step, for two groups of rows and pairs of tokens."""
    n_pairs = (n_tokens + 1) // 2
    n_sums = 2 * n_pairs

    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        sums = splat(0, I32, 16, n_sums)
        for i in range(args.steps):
            w = load(args.w + 128 * i, 64, 2, 64)
            sums = dot_pairs(sums, w, load(args.x + 16 * i, 16, n_pairs, args.stride))
        store(args.out, pair_sums(sums, n_tokens), 8)

    return kernel


@pytest.mark.parametrize("n_tokens", [1, 3, 4])
def test_dot_products_of_pairs(n_tokens: int) -> None:
    """By the definition in plain Python where the machine has none."""
    steps = 8
    tokens = activations(4, 2 * steps)
    tokens[3, 0] = -128
    w = rng.integers(-128, 128, (steps, 2, 8, 8)).astype(np.int8)
    w[:, 0, :4], w[:, 0, 4:] = -128, 127
    pairs = tokens.reshape(2, 2, steps, 8).transpose(0, 2, 1, 3)  # of each step, 8 columns of both tokens
    x = np.ascontiguousarray(pairs[: (n_tokens + 1) // 2])
    arrays = {"w": w, "x": x, "out": np.zeros((2, n_tokens, 8), np.int32)}
    arguments = {**arrays, "steps": steps, "stride": 16 * steps}
    kernel = pairs_kernel(n_tokens)
    if host_target().multiplies_pairs:
        out = assert_same(kernel, **arguments)
    else:
        out, record = arrays["out"], record_for(arguments)
        call = Call(Kernel(kernel, record, "pairs"), arguments)
        kernel(record.read(call.values, call.owners), 0, 1)
    assert (out == dot_oracle(w, tokens[:n_tokens])).all()


# --- other paths and other machines -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["amx", "vnni", "avx2", "dotprod", "generic"])
def test_every_path_gives_the_same_integers(path: str) -> None:
    if path not in paths_of_this_machine()[1:]:
        pytest.skip("this machine does not have it, or takes it in the tests above")
    again("signed_weights or pairs", __file__, NYBBLE_DOT=path)


def test_a_cpu_without_any_extension() -> None:
    """Nothing beyond the architecture's base: no FMA, no float16 conversion, no AVX."""
    files = "kernels/language/test_simd.py", "kernels/codegen/test_lanes.py", __file__
    selected = "test_simd or test_lanes or signed_weights"
    again(selected, *files, NUMBA_CPU_NAME="generic", NYBBLE_DOT="generic")


CROSS = """
import sys
from nybble.kernels.target.target import Target, compile_for
compile_for(Target.of(*sys.argv[1:]))
from nybble.kernels.jit import phases
from nybble.kernels.jit.compiler import assembly
from nybble.kernels.linear.quantize_activations import quantize
from nybble.kernels.linear.quantized import linear_kernel
from nybble.kernels.weights import layout
print(assembly(linear_kernel(layout.BYTE)), assembly(quantize), assembly(phases.serve))
"""


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_code_for_another_machine(machine: str) -> None:
    triple, cpu, features, *instructions = MACHINES[machine]
    command = [sys.executable, "-c", CROSS, triple, cpu, features]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    for instruction in instructions:
        assert re.search(instruction, result.stdout), instruction
    assert re.search(r"^\s+(pause|yield)$", result.stdout, re.MULTILINE)
    assert not re.search(r"__(extendhfsf2|truncsfhf2|gnu_\w+)", result.stdout), "no library here has that"
