"""Linear layers on packed weights: every format, against others' weights in float64, and against themselves.

Tolerance: the integer dot products are exact, so what differs from the float64 sum is the rounding of
float32: of each block's product of scales (twice in super-blocks) and of each addition, all of them at most
2**-24 of something below `bound`, the sum over blocks of their largest weight times Σ|q| * scale, times 4,
since the parts `scale * level` and `minimum` of a weight may be larger than the weight.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import linear_cases
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from linear_cases import (
    FORMATS,
    QUANTIZED,
    Layer,
    half_fields,
    nmse,
    random_layer,
    random_weights,
    true_weights,
)
from numpy.typing import NDArray
from processors import MACHINES, paths_of_this_machine

from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.linear.floats import bind_float_linear
from nybble.kernels.linear.packed_product import TOKENS_PER_PASS, few_tokens, tokens_per_pass, working_memory
from nybble.kernels.linear.piece import PIECE_BLOCKS
from nybble.kernels.linear.quantized import bind_quantized_linear
from nybble.kernels.weights.floats import ELEMENT_OF
from nybble.kernels.weights.layout import BLOCK, BYTE, SUPER_NIBBLE
from nybble.kernels.weights.pack import PACKERS
from nybble.kernels.weights.pack_spans import SPANS

SCRIPT = linear_cases.__file__
each_format = pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
each_quantized = pytest.mark.parametrize("format", QUANTIZED, ids=lambda format: format.name)
bits = np.uint32


def activations(layer: Layer, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the layer multiplied with, after `run`: x itself, or its 8-bit form."""
    if layer.format in ELEMENT_OF:
        return x.astype(np.float64)
    return layer.q.astype(np.float64) * np.repeat(layer.scale.astype(np.float64), 32, axis=1)


def check_against_float64(layer: Layer, x: NDArray[np.float32]) -> None:
    out = layer.run(x)
    weights = true_weights(layer.format, layer.data, layer.n_out, layer.n_in)
    levels = activations(layer, x)
    block = min(32, layer.n_in) if layer.format in QUANTIZED else 1
    largest = np.abs(weights).reshape(layer.n_out, -1, block).max(axis=2)
    bound = np.abs(levels).reshape(len(x), -1, block).sum(axis=2) @ largest.T * 4
    n_roundings = 3 * layer.n_in // block + 8
    error = np.abs(out[:, : layer.n_out] - levels @ weights.T)
    assert (error <= n_roundings * 2.0**-24 * bound).all(), (error / bound).max()
    assert (out[:, layer.n_out :] == 0).all()


@each_format
@settings(max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**32), n_out=st.integers(1, 50), n_blocks=st.integers(1, 9), n=st.integers(1, 9))
def test_agrees_with_float64(format: BlockFormat, seed: int, n_out: int, n_blocks: int, n: int) -> None:
    check_against_float64(*random_layer(seed, format, n_out, n_blocks, n))


@each_format
def test_many_tokens(format: BlockFormat) -> None:
    """More than the kernel takes in one pass over the weights."""
    check_against_float64(*random_layer(3, format, 33, 2, TOKENS_PER_PASS + 14))


@pytest.mark.parametrize("format", [formats.Q8_0, formats.Q4_K, formats.Q6_K])
def test_many_tokens_of_wide_rows(format: BlockFormat) -> None:
    """Of which fewer go by at a time, and in more than one piece."""
    n_blocks = 9216 // format.block_size
    check_against_float64(*random_layer(4, format, 17, n_blocks, tokens_per_pass(9216) + 21))


@each_quantized
@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x0F, 0xF0, 0x55, 0xAA])
def test_sums_do_not_overflow(format: BlockFormat, byte: int) -> None:
    """The same levels everywhere, the largest and the smallest among them, and the largest activations."""
    n_in = 4 * max(format.block_size, 64)
    data = random_weights(np.random.default_rng(1), format, 16, n_in)
    blocks = data.view(format.dtype)
    for name in {"qs", "ql", "qh", "hmask", "signs"} & set(blocks.dtype.names):  # type: ignore[arg-type]
        field = blocks[name]
        blocks[name] = np.full(field.nbytes, byte, np.uint8).view(field.dtype).reshape(field.shape)
    x = np.full((few_tokens(), n_in), 3, np.float32)
    x[1], x[2, 1::2], x[3, ::2] = -3, -3, -3
    for n in {4, min(8, few_tokens()), few_tokens()}:
        check_against_float64(Layer(format, 16, n_in, data), x[:n])


@each_format
def test_same_bits_for_threads_and_tokens(format: BlockFormat) -> None:
    """Whether few tokens meet the packed weights, or more of them the two pieces of a tile."""
    n_blocks = PIECE_BLOCKS * BLOCK // max(format.block_size, BLOCK) + 1
    layer, x = random_layer(4, format, 75, n_blocks, 37)
    expected = layer.run(x)
    for n_threads in (2, 3, 7):
        assert layer.run(x, n_threads).tobytes() == expected.tobytes(), n_threads
    for n in (1, 2, 5, 7, 8, 9, 16, 21):
        parts = [layer.run(x[first : first + n], 2) for first in range(0, len(x), n)]
        assert np.concatenate(parts).tobytes() == expected.tobytes(), n
    assert layer.run(x, 2, packs_once=False).tobytes() == expected.tobytes()


# --- NaN and infinity ---------------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_activation_spoils_its_token_only(format: BlockFormat, poison: float) -> None:
    layer, x = random_layer(5, format, 20, 2, 6)
    clean = layer.run(x)
    x[3, layer.n_in // 2] = poison
    out = layer.run(x)
    assert not np.isfinite(out[3, :20]).any()
    others = [0, 1, 2, 4, 5]
    assert out[others].tobytes() == clean[others].tobytes()


@each_format
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_weight_spoils_its_row_only(format: BlockFormat, poison: float) -> None:
    """A block scale or minimum in a quantized format, a weight in the others."""
    layer, x = random_layer(6, format, 20, 2, 5)
    clean = layer.run(x)
    names: list[str | None] = [*half_fields(format)]
    for name in [None] if format in ELEMENT_OF else names:
        data = layer.data.copy()
        rows: Any = data.view(format.dtype).reshape(20, -1)
        bad = (np.float32(poison).view(bits) >> 16).astype(np.uint16) if format is formats.BF16 else poison
        (rows if name is None else rows[name])[11, 1] = bad
        out = Layer(format, 20, layer.n_in, data).run(x)
        assert not np.isfinite(out[:, 11]).any(), name
        others = [row for row in range(32) if row != 11]
        assert out[:, others].tobytes() == clean[:, others].tobytes(), name


# --- processes of their own ---------------------------------------------------------------------------------


def run_script(*arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    run_script("guard")


def test_plain_python_agrees_with_the_machine_code(tmp_path: Path) -> None:
    """But for `fma`, which rounds twice in plain Python."""
    run_script("save", str(tmp_path / "plain.npz"), NUMBA_DISABLE_JIT="1")
    run_script("save", str(tmp_path / "machine.npz"), NUMBA_DISABLE_JIT="0")
    plain, machine = np.load(tmp_path / "plain.npz"), np.load(tmp_path / "machine.npz")
    assert plain.files == machine.files
    for name in plain.files:
        size = np.abs(machine[name].astype(np.float64)).max()
        np.testing.assert_allclose(plain[name], machine[name], rtol=0, atol=1e-6 * size, err_msg=name)


@pytest.mark.skipif(len(paths_of_this_machine()) < 2, reason="this machine has one path only")
def test_every_path_gives_the_same_bits(tmp_path: Path) -> None:
    """Vectors of 8 lanes and of 16, sums gathered in int16, pairs of tokens, and the unit for matrices."""
    paths = paths_of_this_machine()
    for path in paths:
        run_script("save", str(tmp_path / f"{path}.npz"), "Q4_0", "Q4_K", "Q6_K", NYBBLE_DOT=path)
    expected, *others = (np.load(tmp_path / f"{path}.npz") for path in paths)
    for found in others:
        assert all(found[name].tobytes() == expected[name].tobytes() for name in expected.files)


AS_ANOTHER_MACHINE = """
import runpy, sys
from pathlib import Path
from nybble.kernels.target.target import Target, compile_for
triple, cpu, features, script, *sys.argv[1:] = sys.argv[1:]
compile_for(Target.of(triple, cpu, features))
sys.path.insert(0, str(Path(script).parent))
runpy.run_path(script, run_name="__main__")
"""


def test_other_machines_give_the_same_bits_in_plain_python(tmp_path: Path) -> None:
    """Whatever instructions this one has: vectors, pairs of tokens, and small matrices."""
    found = []
    for name in ("arm dotprod", "arm i8mm", "amx"):
        saved = str(tmp_path / f"{name}.npz")
        command = [sys.executable, "-c", AS_ANOTHER_MACHINE, *MACHINES[name][:3], SCRIPT, "save", saved]
        command += ["Q8_0", "Q4_0", "Q4_K", "Q6_K", "IQ4_XS"]
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        found.append(np.load(saved))
    for other in found[1:]:
        assert all(other[name].tobytes() == found[0][name].tobytes() for name in found[0].files)


# --- how good, and what is refused --------------------------------------------------------------------------


@each_format
def test_error_of_a_layer(format: BlockFormat) -> None:
    """8-bit activations of normal distribution cost some 2e-5 of the variance, whatever the weights; float32
    rounds each of the sums on the way by up to 2**-24, at random."""
    if format in QUANTIZED:
        assert 1e-6 < nmse(format) < 6e-5
    else:
        assert nmse(format) < 2048 * 2.0**-48


def quantized_arguments(**changes: Any) -> dict[str, Any]:
    """Good arguments of `bind_quantized_linear`: 17 rows of Q8_0 x 64 columns, 3 tokens."""
    half = np.zeros((3, 2), np.int32)
    good = {
        "layout": BYTE,
        "packed": np.zeros(2 * BYTE.tile_bytes(64), np.uint8),
        "q": np.zeros((3, 64), np.int8),
        "scale": np.zeros((3, 2), np.float32),
        "sums": half,
        "half": half,
        "out": np.zeros((3, 32), np.float32),
        "n_tokens": np.array([3]),
        "working": working_memory(64, 1),
    }
    return {**good, **changes}


def test_good_arguments_are_taken() -> None:
    bind_quantized_linear(**quantized_arguments()).run()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"packed": np.zeros(2 * BYTE.tile_bytes(64) - 1, np.uint8)}, ValueError, "whole tiles"),
        ({"packed": np.zeros(3 * BYTE.tile_bytes(64), np.uint8)}, ValueError, "out must have shape"),
        ({"packed": np.zeros(2 * BYTE.tile_bytes(64), np.int8)}, TypeError, "uint8"),
        ({"packed": np.zeros(4 * BYTE.tile_bytes(64), np.uint8)[::2]}, ValueError, "contiguous"),
        ({"layout": SUPER_NIBBLE}, ValueError, "multiple of the blocks"),
        ({"q": np.zeros((3, 0), np.int8)}, ValueError, "multiple of the blocks"),
        ({"q": np.zeros((3, 48), np.int8)}, ValueError, "multiple of the blocks"),
        ({"q": np.zeros((3, 64), np.uint8)}, TypeError, "int8"),
        ({"scale": np.zeros((3, 1), np.float32)}, ValueError, "scale must have shape"),
        ({"sums": np.zeros((2, 2), np.int32)}, ValueError, "sum must have shape"),
        ({"half": np.zeros((3, 2), np.float32)}, TypeError, "half must be"),
        ({"out": np.zeros((2, 32), np.float32)}, ValueError, "out must have shape"),
        ({"out": np.zeros((32, 3), np.float32).T}, ValueError, "contiguous"),
        ({"n_tokens": np.zeros(0, np.int64)}, ValueError, "number of tokens"),
        ({"n_tokens": np.array([3], np.int32)}, TypeError, "n_tokens"),
        ({"working": np.zeros((1, 63), np.uint8)}, ValueError, "64 columns need"),
        ({"working": np.zeros((1, 64), np.int8)}, TypeError, "working"),
    ],
)
def test_quantized_linear_refuses(changes: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        bind_quantized_linear(**quantized_arguments(**changes))


def test_float_linear_refuses() -> None:
    packed, x, out = (
        np.zeros((2, 24, 16), np.float32),
        np.zeros((3, 32), np.float32),
        np.zeros((3, 32), np.float32),
    )
    n_tokens = np.array([3])
    bind_float_linear(formats.F32, packed, x, out, n_tokens).run()
    with pytest.raises(TypeError, match="packed"):
        bind_float_linear(formats.F16, packed, x, out, n_tokens)
    with pytest.raises(ValueError, match="the weights need 24"):
        bind_float_linear(formats.F32, packed, x[:, :16].copy(), out, n_tokens)
    with pytest.raises(ValueError, match="out must have shape"):
        bind_float_linear(formats.F32, packed, x, out[:, :16].copy(), n_tokens)
    with pytest.raises(ValueError, match="number of tokens"):
        bind_float_linear(formats.F32, packed, x, out, n_tokens[:0])


def test_every_format_is_here() -> None:
    assert {*FORMATS, *formats.PLAIN} == {*formats.SUPPORTED}
    assert not set(PACKERS) & set(ELEMENT_OF)
    assert set(SPANS) <= set(PACKERS)
