"""How near is every kernel to what this machine can do?

    python bench/roofline.py -t 1 2 --markdown

First the roof: bytes a second that the threads can read, and operations a second that they can make,
measured in this run. Then every linear kernel at the shapes of real models, with one token (bound by
reading weights) and with 512 (bound by arithmetic). An operation is a multiplication or an addition.
`int8 error` is the error that 8-bit activations bring to one layer: the mean square against float32
activations, relative to the mean square of the result (NMSE).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from synthetic import FORMATS, random_rows

from nybble.engine.benchmark import read_bandwidth, share
from nybble.engine.executors.numba.team import Program, Team
from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.jit.kernel import Call
from nybble.kernels.language.rows import aligned_zeros
from nybble.kernels.linear.floats import bind_float_linear
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.linear.quantize_activations import bind_quantize
from nybble.kernels.linear.quantized import bind_quantized_linear
from nybble.kernels.roofline.peak import bind_peak_f32, bind_peak_int8
from nybble.kernels.weights.floats import ELEMENT_OF, pack_floats
from nybble.kernels.weights.pack import PACKERS, pack

SHAPES = {"135m up": (1536, 576), "1.1b up": (5632, 2048), "1.1b down": (2048, 5632)}
N_TOKENS = 512
REPETITIONS = 7


def seconds(calls: list[Call], n_threads: int, repetitions: int = REPETITIONS) -> float:
    """The median time of some calls in a row."""
    team = Team(Program(calls, [True] * len(calls)), n_threads)
    team.run(0, len(calls))
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        team.run(0, len(calls))
        times.append(time.perf_counter() - start)
    team.close()
    return statistics.median(times)


def peak(bind: Callable[[int, int], tuple[Call, int]], n_threads: int) -> float:
    """Operations a second that the threads make together."""
    call, n_operations = bind(200_000, n_threads)
    return n_operations * n_threads / seconds([call], n_threads)


def linear(
    format: BlockFormat, n_out: int, n_in: int, n_tokens: int, n_matrices: int, n_threads: int
) -> tuple[list[Call], int, float]:
    """Calls of so many different matrices, the bytes of their weights, and the NMSE of 8-bit activations."""
    rng = np.random.default_rng(0)
    count = np.array([n_tokens], np.int64)
    x = rng.standard_normal((n_tokens, n_in)).astype(np.float32)
    out = aligned_zeros((n_tokens, n_out), np.float32)
    q = aligned_zeros((n_tokens, n_in), np.int8)
    scale, sums, half = (aligned_zeros((n_tokens, n_in // 32), t) for t in (np.float32, np.int32, np.int32))
    factor = PACKERS[format][0].sum_factor if format in PACKERS else 1
    bind_quantize(x, q, scale, sums, half, count, n_in, factor).run()
    working = working_memory(n_in, n_threads)
    calls, n_bytes = [], 0
    for _ in range(n_matrices):
        data = random_rows(rng, format, n_out, n_in).reshape(-1)
        if format in ELEMENT_OF:
            packed = pack_floats(format, data, (n_out, n_in))
            calls.append(bind_float_linear(format, packed, x, out, count))
        else:
            layout, packed = pack(format, data, (n_out, n_in))
            flat = packed.reshape(-1)
            calls.append(bind_quantized_linear(layout, flat, q, scale, sums, half, out, count, working))
        n_bytes += packed.nbytes
    calls[-1].run()
    exact = x.astype(np.float64) @ dequantize(format, data, n_out * n_in).reshape(n_out, n_in).T
    return calls, n_bytes, float(((out - exact) ** 2).mean() / (exact**2).mean())


def report(n_threads: int, names: list[str], separator: str) -> None:
    """Print the roof, then a row for every format and shape."""

    def row(*cells: str) -> None:
        line = separator.join(f"{cell:>12}" for cell in cells)
        print(f"| {line} |" if "|" in separator else line, flush=True)

    readable = read_bandwidth(n_threads)
    int8, f32 = peak(bind_peak_int8, n_threads), peak(bind_peak_f32, n_threads)
    print(f"\n{n_threads} thread(s): reads {readable / 1e9:.1f} GB/s, int8 {int8 / 1e9:.0f} GFLOP/s,"
          f" float32 {f32 / 1e9:.0f} GFLOP/s\n")  # fmt: skip
    row("format", "shape", "1 token", "of stream", f"{N_TOKENS} tokens", "of peak", "int8 error")
    if "|" in separator:
        row(*["---"] * 7)
    for format in FORMATS.values():
        for shape, (n_out, n_in) in SHAPES.items():
            if format.name not in names or n_in % format.block_size:
                continue
            n_matrices = max(1, 96_000_000 // format.nbytes(n_out * n_in))  # more than the caches hold
            calls, n_bytes, _ = linear(format, n_out, n_in, 1, n_matrices, n_threads)
            bandwidth = n_bytes / seconds(calls, n_threads)
            calls, _, error = linear(format, n_out, n_in, N_TOKENS, 1, n_threads)
            speed = 2 * n_out * n_in * N_TOKENS / seconds(calls, n_threads)
            roof = f32 if format in ELEMENT_OF else int8
            row(format.name, shape, f"{bandwidth / 1e9:.1f} GB/s", share(bandwidth, readable),
                f"{speed / 1e9:.0f} GF/s", share(speed, roof), f"{error:.1e}")  # fmt: skip


def main() -> None:
    """Parse the command line and report for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*FORMATS]
    parser.add_argument("-t", "--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--formats", nargs="+", choices=known, default=known)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    for n_threads in arguments.threads:
        report(n_threads, arguments.formats, " | " if arguments.markdown else "  ")


if __name__ == "__main__":
    main()
