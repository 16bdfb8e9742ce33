"""A block of Q4_K on its way through a linear layer, stage by stage: the kernel runs as plain Python.

    python examples/step_through_q4_k.py [--pdb]

NUMBA_DISABLE_JIT=1 is set here, before nybble is imported: then kernels run as the Python functions that they
are written as, on NumPy, and a debugger can step through them. Here a small one (`watch`) prints what the
kernel has in its variables after every 32 columns; with --pdb you are asked there what to do next.
docs/quantized_linear.md explains the numbers.
"""

import bdb
import linecache
import os
import pdb
import sys

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from nybble.kernel import (
    bind_quantized_linear,
    dequantize,
    formats,
    pack,
    quantize_reference,
    scales_and_mins,
    working_memory,
)

Q4_K = formats.Q4_K
N_OUT, N_IN = 16, 256  # one tile: a block of Q4_K for each of 16 rows; below we follow row 0

random = np.random.default_rng(0)
blocks = np.zeros(N_OUT, Q4_K.dtype)
blocks["d"], blocks["dmin"] = 1 / 256, 1 / 32
blocks["scales"] = random.integers(0, 256, (N_OUT, 12))
blocks["qs"] = random.integers(0, 256, (N_OUT, 128))
data = blocks.view(np.uint8)
x = random.standard_normal((1, N_IN)).astype(np.float32)

print("1. In the file row 0 is 144 bytes: d, dmin, 12 bytes of scales and minima, 128 of levels")
(sc, *_), (mn, *_) = scales_and_mins(blocks["scales"])
first = blocks["qs"][0, 0]
weights = dequantize(Q4_K, data, N_OUT * N_IN).reshape(N_OUT, N_IN)
print(f"   d = {blocks['d'][0]}, dmin = {blocks['dmin'][0]}")
print(f"   scales of 8 groups {sc}, minima {mn}")
print(f"   byte 0 of the levels is {first}: {first & 15} for weight 0, {first >> 4} for weight 32")
print(f"   weight 0 = d * {sc[0]} * {first & 15} - dmin * {mn[0]} = {weights[0, 0]}")

layout, packed = pack(Q4_K, data, (N_OUT, N_IN))
at = layout.header_bytes
four = packed[0, at : at + 4]
print(f"2. Packed, a tile of 16 rows is {packed.shape[1]} bytes: 16 d, 16 dmin, then 8 blocks of 32 columns")
print(f"   bytes {at} to {at + 3} are row 0's, {four}: levels {four & 15} of its weights 0 to 3")
print(f"   and {four >> 4} of 16 to 19; row 1 has the next four bytes")

q, scale_x, sums, half = quantize_reference(x)
print("3. The activations become integers, 32 with one scale, and their sums serve the minima")
print(f"   x[0:4] = {x[0, :4].round(3)}, scale {scale_x[0, 0]:.5f}: q = {q[0, :4]}; sum of 32: {sums[0, 0]}")


def watch(frame, event, argument):
    """Called by Python for each line of the kernel: prints at the end of a block."""
    if not frame.f_code.co_qualname.startswith("token_product"):  # kernels/linear/token_product.py
        return None
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    if event == "line" and line.strip() == "w = w + block_bytes":
        v = frame.f_locals  # bundles of vectors of 8 or 16 rows: lane 0 of vector 0 is row 0
        print(
            f"   block {v['b']}: levels · q = {v['state'][0, 0]:6}, scale {v['scale'][0, 0]:.5f}; "
            f"sum of q {v['sum_x'][0, 0]:5}, minimum {v['minimum'][0, 0]:8.5f}; out {v['out_sum'][0, 0]:9.5f}"
        )
        if "--pdb" in sys.argv:
            debugger = pdb.Pdb()
            debugger.set_trace(frame)
            debugger.set_next(frame)
            return frame.f_trace
    return watch


print("4. The kernel: out += scale_x * (scale * (levels · q) + minimum * (sum of q))")
out = np.zeros((1, N_OUT), np.float32)
working = working_memory(N_IN, n_threads=1)
call = bind_quantized_linear(layout, packed, q, scale_x, sums, half, out, np.array([1]), working)
sys.settrace(watch)
try:
    call.run()
except bdb.BdbQuit:
    sys.exit()
finally:
    sys.settrace(None)

rounded = q * np.repeat(scale_x, 32, axis=1).astype(np.float64)
print("5. Row 0 of the result")
print(f"   the kernel                                  {out[0, 0]:9.5f}")
print(f"   the same weights and rounded x in float64   {weights[0].astype(np.float64) @ rounded[0]:9.5f}")
print(f"   with x as it was                            {weights[0].astype(np.float64) @ x[0]:9.5f}")
print(f"Numba was {'imported' if 'numba' in sys.modules else 'not even imported'}.")
