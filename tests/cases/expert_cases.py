"""Experts in random blocks of any format, to be run in many ways; also as a script:

python expert_cases.py guard        every operand ends at an unreadable page
python expert_cases.py all          every format against float64 (quick with NUMBA_DISABLE_JIT=1)
"""

import sys
from dataclasses import dataclass, field

import numpy as np
from guard import guarded
from linear_cases import FORMATS, Place, random_weights, run_all, true_weights
from numpy.typing import NDArray

from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.experts.groups import Groups, bind_gather, bind_group
from nybble.kernels.experts.linear import Mapped, bind_expert_linear, expert_scratch
from nybble.kernels.linear.mapped import tile_bytes
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.linear.quantize_activations import bind_quantize
from nybble.kernels.linear.tile_product import Weights
from nybble.kernels.weights.floats import ELEMENT_OF, pack_floats
from nybble.kernels.weights.pack import PACKERS, pack

Array = NDArray[np.float32]
SEVERAL = (
    formats.Q4_0, formats.Q4_K, formats.Q6_K, formats.Q8_0, formats.IQ4_NL, formats.MXFP4, formats.NVFP4,
    formats.TQ1_0, formats.F32, formats.BF16,
)  # fmt: skip


@dataclass
class Experts:
    """Matrices (n_experts, n_out, n_in) of a mixture, and what some tokens bring: x (n, n_in), or with the
    slots' inputs side by side, and ids (n, n_used)."""

    format: BlockFormat
    shape: tuple[int, int, int]
    data: NDArray[np.uint8]  # (n_experts, bytes of a matrix)
    x: Array
    ids: Array
    is_shared: bool
    bias: Array | None
    scale: Array | None
    inputs: tuple[NDArray, ...] = field(default=(), init=False)  # of the last run: x, or its 8-bit form

    def run(
        self,
        n_threads: int = 1,
        place: Place = np.copy,
        first: int = 0,
        last: int | None = None,
        is_mapped: bool = False,
    ) -> Array:
        """Tokens first .. last - 1 through the kernels -> (n, n_used * n_out); `is_mapped`: the weights are
        packed on the way."""
        x, ids = place(self.x[first:last]), place(self.ids[first:last])
        n_experts, n_out, n_in = self.shape
        n, n_used = ids.shape
        n_tokens, groups = place(np.array([n])), Groups.make(n, n_used, n_experts)
        groups = Groups(*(place(array) for array in groups.arrays), n_used)
        out = place(np.full((n, n_used * n_out), 7, np.float32))
        calls = [bind_group(ids, groups, n_tokens)]
        widths, self.inputs = (n_in,), (x,)
        if self.format not in ELEMENT_OF:
            dtypes = np.float32, np.int32, np.int32
            rest = (place(np.zeros((n, x.shape[1] // 32), dtype)) for dtype in dtypes)
            self.inputs, widths = (place(np.zeros(x.shape, np.int8)), *rest), (n_in, *[n_in // 32] * 3)
            factor = PACKERS[self.format][0].sum_factor
            calls.append(bind_quantize(x, *self.inputs, n_tokens, x.shape[1], factor))
        gathered = []
        for array, width in zip(self.inputs, widths, strict=True):
            gathered.append(place(np.zeros((n * n_used, width), array.dtype)))
            calls.append(bind_gather(array, gathered[-1], groups, 0 if self.is_shared else width))
        memory = place(expert_scratch(n_threads)), place(working_memory(n_in, n_threads))
        rest = tuple(gathered), groups, out, *memory, n_out, self.bias, self.scale
        if is_mapped:
            tiles = place(np.full((n_threads, tile_bytes(self.format, n_in)), 99, np.uint8))
            data = place(self.data.reshape(-1))
            calls.append(bind_expert_linear(Mapped(self.format, tiles), data, *rest))
        else:
            weights, packed = self._packed(place)
            calls.append(bind_expert_linear(weights, packed, *rest))
        run_all(calls, n_threads)
        return out

    def _packed(self, place: Place) -> tuple[Weights, NDArray]:
        shape = self.shape[1:]
        if self.format in ELEMENT_OF:
            parts = [pack_floats(self.format, place(part), shape) for part in self.data]
            return self.format, place(np.concatenate(parts))
        parts = [pack(self.format, part, shape)[1] for part in self.data]
        return PACKERS[self.format][0], place(np.concatenate(parts))

    def error(self) -> float:
        """The largest difference from float64 over what rounding may do (see `test_linear.py`), for
        the 8-bit form of x where weights are in blocks."""
        found = self.run().reshape(*self.ids.shape, -1)
        n_experts, n_out, n_in = self.shape
        levels, block = self.inputs[0].astype(np.float64), 1
        if self.format not in ELEMENT_OF:
            block = 32
            levels *= np.repeat(self.inputs[1].astype(np.float64), block, axis=1)
        worst = 0.0
        for expert in range(n_experts):
            matrix = true_weights(self.format, self.data[expert], n_out, n_in)
            token, slot = np.nonzero(self.ids == expert)
            x = levels[token] if self.is_shared else levels.reshape(*self.ids.shape, n_in)[token, slot]
            scale = 1.0 if self.scale is None else float(self.scale[expert])
            bias = np.zeros(n_out) if self.bias is None else self.bias[expert].astype(np.float64)
            largest = np.abs(matrix).reshape(n_out, -1, block).max(axis=2)
            products = np.abs(x).reshape(len(x), n_in // block, block).sum(axis=2) @ largest.T
            bound = (3 * n_in // block + 10) * 2.0**-24 * (4 * scale * products + np.abs(bias))
            difference = np.abs(found[token, slot] - scale * (x @ matrix.T) - bias)
            worst = max(worst, float((difference / (bound + 1e-30)).max(initial=0)))
        return worst


def random_experts(
    seed: int, format: BlockFormat, n_out: int, n_blocks: int, n: int, n_used: int = 2, n_experts: int = 5
) -> Experts:
    """With shared or separate inputs, with or without bias and scale."""
    rng = np.random.default_rng(seed)
    n_in = n_blocks * max(format.block_size, 1 if format in ELEMENT_OF else 32)
    data = np.stack([random_weights(rng, format, n_out, n_in) for _ in range(n_experts)])
    is_shared, has_bias, has_scale = (bool(rng.integers(2)) for _ in range(3))
    x = rng.standard_normal((n, n_in * (1 if is_shared else n_used))).astype(np.float32)
    ids = np.stack([rng.permutation(n_experts)[:n_used] for _ in range(n)]).astype(np.float32)
    bias = rng.standard_normal((n_experts, n_out)).astype(np.float32) if has_bias else None
    scale = rng.uniform(0.1, 3, n_experts).astype(np.float32) if has_scale else None
    return Experts(format, (n_experts, n_out, n_in), data, x, ids, is_shared, bias, scale)


def main(mode: str) -> None:
    for i, format in enumerate(SEVERAL if mode == "guard" else FORMATS):
        if mode == "all":
            error = random_experts(i, format, 17, 1, 4).error()
            if error > 1:
                sys.exit(f"{format.name}: the error is {error} times what rounding may do")
        else:
            for n_out, n_blocks, n in ((1, 1, 1), (16, 2, 4), (17, 3, 9), (40, 1, 5)):
                made = random_experts(i, format, n_out, n_blocks, n)
                made.run(2, guarded)
                if format in (formats.Q4_0, formats.BF16):
                    made.run(2, guarded, is_mapped=True)


if __name__ == "__main__":
    main(sys.argv[1])
