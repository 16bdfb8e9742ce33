"""How fast are the kernels beside their NumPy references, and how near?

    python bench/kernels.py
    python bench/kernels.py --operations attention linear --formats Q6_K --tokens 1 8 64

One thread each, at the shapes of SmolLM2-135M: 576 wide, 9 heads of 64 that share 3 of keys and values. The
linear layer's reference has its weights in float32 already. `error` is the largest difference, relative to
the largest value; that of linear layers comes from activations in 8 bits, that of attention from a cache in
float16. All operands are in the processor's caches, and a kernel is called from Python, which an executor's
plan is not.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from synthetic import FORMATS, random_rows

from nybble.engine.plan.rope import rope_frequencies
from nybble.gguf_io.dequantize import dequantize
from nybble.kernels.attention.kv_cache import CACHE_BLOCK, allocate_kv_cache, bind_cache_write, page_table
from nybble.kernels.attention.plain import bind_attend
from nybble.kernels.attention.plain_scratch import attention_scratch
from nybble.kernels.attention.reference import attention_reference
from nybble.kernels.jit.kernel import Call
from nybble.kernels.language.spans import one_span
from nybble.kernels.linear.linear import linear_reference
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.linear.quantize_activations import bind_quantize
from nybble.kernels.linear.quantized import bind_quantized_linear
from nybble.kernels.norm.rms_norm import bind_rms_norm, rms_norm_reference
from nybble.kernels.position.rope import bind_rope, rope_angles, rope_reference
from nybble.kernels.weights.pack import PACKERS, pack

WIDTH, N_HEADS, N_KV_HEADS, HEAD_DIM = 576, 9, 3, 64
N_CONTEXT = 1024  # positions that attention sees

Array = NDArray[np.float32]
Case = tuple[Callable[[], Array], list[Call], Array]  # the reference, its twin, and where that writes


def normal(*shape: int) -> Array:
    """Standard normal float32, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def rms_norm(n: int) -> Case:
    x, weight, out = normal(n, WIDTH), normal(WIDTH), normal(n, WIDTH)
    call = bind_rms_norm(x, weight, out, np.array([n]), WIDTH, 1e-5)
    return lambda: rms_norm_reference(x, weight, 1e-5), [call], out


def rope(n: int) -> Case:
    x, out = normal(n, WIDTH), normal(n, WIDTH)
    cos, sin = rope_angles(np.arange(n), rope_frequencies(HEAD_DIM, 10000.0))
    call = bind_rope(x, cos, sin, out, np.array([n]), N_HEADS, HEAD_DIM, "norm")
    heads = x.reshape(n, N_HEADS, HEAD_DIM)
    return lambda: rope_reference(heads, cos, sin, "norm").reshape(n, WIDTH), [call], out


def attention(n: int) -> Case:
    """The last n of N_CONTEXT positions attend to all before them, and their keys and values are written."""
    q, out = normal(n, WIDTH), normal(n, WIDTH)
    k, v = normal(2, N_CONTEXT, N_KV_HEADS * HEAD_DIM)
    pages = page_table(N_CONTEXT)
    keys, values = allocate_kv_cache(N_KV_HEADS, HEAD_DIM, pages.size * CACHE_BLOCK)
    every = np.arange(N_CONTEXT)
    bind_cache_write(k, v, keys, values, every, np.array([N_CONTEXT])).run()
    n_tokens, last, scale = np.array([n]), every[-n:].copy(), HEAD_DIM**-0.5
    scratch = attention_scratch(N_HEADS, N_KV_HEADS, HEAD_DIM, N_CONTEXT, 1)
    calls = [
        bind_cache_write(k[-n:], v[-n:], keys, values, last, n_tokens),
        *bind_attend(q, keys, values, pages, last, out, one_span(n), scratch, N_HEADS, scale),
    ]
    heads = (x.reshape(-1, x.shape[1] // HEAD_DIM, HEAD_DIM) for x in (q, k, v))
    arguments = (*heads, last, every, scale)
    return lambda: attention_reference(*arguments).reshape(n, WIDTH), calls, out


def linear(format_name: str, n_out: int, n_in: int) -> Callable[[int], Case]:
    def case(n: int) -> Case:
        """Activations to 8 bits, then the layer."""
        format, n_tokens = FORMATS[format_name], np.array([n])
        data = random_rows(np.random.default_rng(0), format, n_out, n_in).reshape(-1)
        weight = dequantize(format, data, n_out * n_in).reshape(n_out, n_in)
        x, out = normal(n, n_in), normal(n, n_out)
        q, half = np.zeros((n, n_in), np.int8), np.zeros((n, n_in // 32), np.int32)
        scale, sums = np.zeros((n, n_in // 32), np.float32), np.zeros((n, n_in // 32), np.int32)
        layout, packed = pack(format, data, (n_out, n_in))
        working = working_memory(n_in, 1)
        calls = [
            bind_quantize(x, q, scale, sums, half, n_tokens, n_in, layout.sum_factor),
            bind_quantized_linear(layout, packed, q, scale, sums, half, out, n_tokens, working),
        ]
        return lambda: linear_reference(x, weight), calls, out

    return case


OPERATIONS: dict[str, tuple[str, Callable[[int], Case]]] = {
    "rms_norm": ("RMS norm", rms_norm),
    "rope": ("RoPE", rope),
    "attention": (f"attention to {N_CONTEXT}", attention),
}
KNOWN_OPERATIONS = [*OPERATIONS, "linear"]
KNOWN_FORMATS = [format.name for format in PACKERS]


def cases(operations: list[str], format_names: list[str]) -> Iterator[tuple[str, Callable[[int], Case]]]:
    """What is measured: a title, and what makes it for a number of tokens."""
    for operation in operations:
        if operation in OPERATIONS:
            yield OPERATIONS[operation]
        else:
            for name in format_names:
                n_in = 768 if WIDTH % FORMATS[name].block_size else WIDTH
                yield f"linear {name}, 1536 x {n_in}", linear(name, 1536, n_in)


def microseconds(function: Callable[[], object]) -> float:
    """The median of many calls, after some that warm up."""
    times = []
    for _ in range(25):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[5:])


def token_count(text: str) -> int:
    """1 to N_CONTEXT."""
    if not 1 <= (number := int(text)) <= N_CONTEXT:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {N_CONTEXT}")
    return number


def main() -> None:
    """A table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = partial(parser.add_argument, nargs="+")
    known = f"{', '.join(KNOWN_OPERATIONS)}; default: all"
    option("--operations", choices=KNOWN_OPERATIONS, default=KNOWN_OPERATIONS, metavar="NAME", help=known)
    known = f"of linear layers: {', '.join(KNOWN_FORMATS)}; default: Q4_1 Q4_K"
    option("--formats", choices=KNOWN_FORMATS, default=["Q4_1", "Q4_K"], metavar="NAME", help=known)
    option(
        "--tokens", type=token_count, default=[1, 128], metavar="N", help="how many at a time; default: 1 128"
    )
    arguments = parser.parse_args()
    print("| operation | tokens | NumPy, us | kernel, us | | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, make in cases(arguments.operations, arguments.formats):
        for n in arguments.tokens:
            reference, calls, out = make(n)
            by_kernel = microseconds(lambda calls=calls: [call.run() for call in calls])
            by_numpy, expected = microseconds(reference), reference()
            error = np.abs(out - expected).max() / np.abs(expected).max()
            ratio = f"{by_numpy / by_kernel:.1f}x"
            print(f"| {name} | {n} | {by_numpy:.1f} | {by_kernel:.1f} | {ratio} | {error:.0e} |")


if __name__ == "__main__":
    main()
