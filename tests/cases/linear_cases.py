"""Linear layers on random blocks of every format, to be run in many ways; also as a script:

python linear_cases.py guard        every operand ends at an unreadable page
python linear_cases.py save FILE [FORMAT ...]   the outputs of small cases, as an .npz
python linear_cases.py table        NMSE of a linear layer against the same weights in float64, per format
"""

import sys
from collections.abc import Callable

import numpy as np
from format_oracle import oracle
from guard import guarded
from numpy.typing import NDArray

from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.jit.kernel import Call
from nybble.kernels.linear.floats import bind_float_linear
from nybble.kernels.linear.mapped import MAPPABLE, bind_mapped_linear, tile_bytes
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.linear.packed_tokens import packed_shape
from nybble.kernels.linear.quantize_activations import bind_quantize
from nybble.kernels.linear.quantized import bind_quantized_linear
from nybble.kernels.target.target import host_target
from nybble.kernels.weights.floats import ELEMENT_OF, pack_floats
from nybble.kernels.weights.pack import PACKERS, pack
from nybble.kernels.weights.pack_kernel import bind_pack
from nybble.kernels.weights.pack_spans import SPANS

Place = Callable[[NDArray], NDArray]

QUANTIZED = (*PACKERS,)
FORMATS: tuple[BlockFormat, ...] = (*QUANTIZED, *ELEMENT_OF)


def half_fields(format: BlockFormat) -> list[str]:
    """The float16 scales and minima of a block."""
    fields = format.dtype.fields if format.dtype is not None else None
    return [name for name, (dtype, *_) in (fields or {}).items() if dtype.base == np.float16]


def random_weights(rng: np.random.Generator, format: BlockFormat, n_out: int, n_in: int) -> NDArray[np.uint8]:
    """The bytes of a matrix: any levels and sub-scales, block scales of either sign within a factor of 10."""
    n_blocks = n_out * n_in // format.block_size
    if format in ELEMENT_OF:
        values = rng.standard_normal(n_blocks).astype(np.float32)
        if format is formats.BF16:
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return values.astype(np.float16 if format is formats.F16 else np.float32).view(np.uint8)
    data = rng.integers(0, 256, (n_blocks, format.block_bytes)).astype(np.uint8)
    blocks = data.reshape(-1).view(format.dtype)
    for name in half_fields(format):
        size = 10.0 ** rng.uniform(-3, -2, blocks[name].shape) * rng.choice([-1, 1], blocks[name].shape)
        blocks[name] = size.astype(np.float16)
    if "e" in (blocks.dtype.names or ()):  # a power of two, of any size
        blocks["e"] = rng.integers(115, 125, n_blocks)
    if format is formats.IQ1_M:  # a float16 in the upper bits of four numbers: 2**-8 to 2**-7, of either sign
        upper = blocks["scales"][:, 3:]
        upper[:] = (upper & 0x8FFF) | 0x1000
        blocks["scales"][:, 2:3] = (blocks["scales"][:, 2:3] & 0x0FFF) | 0xC000
    return data.reshape(-1)


def true_weights(format: BlockFormat, data: NDArray[np.uint8], n_out: int, n_in: int) -> NDArray[np.float64]:
    """What the bytes mean to others: (n_out, n_in)."""
    return oracle(format, data).astype(np.float64).reshape(n_out, n_in)


class Layer:
    """A linear layer: `run` takes x (n, n_in) through the kernels -> (n, n_out rounded up to 16s)."""

    def __init__(self, format: BlockFormat, n_out: int, n_in: int, data: NDArray[np.uint8]) -> None:
        self.format, self.n_out, self.n_in, self.data = format, n_out, n_in, data
        self.n_padded = -(-n_out // 16) * 16

    def run(
        self,
        x: NDArray[np.float32],
        n_threads: int = 1,
        place: Place = np.copy,
        is_mapped: bool = False,
        packs_once: bool = True,
    ) -> NDArray[np.float32]:
        """`is_mapped`: the weights are packed on the way. `packs_once`: tokens are put side by side when they
        become 8 bits, where the machine multiplies them so, and not by each thread."""
        n = len(x)
        n_tokens, out = place(np.array([n])), place(np.full((n, self.n_padded), 7, np.float32))
        shape, data = (self.n_out, self.n_in), place(self.data)
        x = place(x)
        xs: tuple[NDArray, ...] = (x,)
        calls = []
        if self.format not in ELEMENT_OF:
            self.q = place(np.full((n, self.n_in), 99, np.int8))
            self.scale = place(np.full((n, self.n_in // 32), 99, np.float32))
            sums, half = (place(np.full((n, self.n_in // 32), 99, np.int32)) for _ in range(2))
            xs = (self.q, self.scale, sums, half)
            factor = PACKERS[self.format][0].sum_factor
            tokens = []
            if packs_once and host_target().has_matrix_unit:
                tokens = [place(np.full(packed_shape(n, self.n_in), 99, np.int8))]
            calls.append(bind_quantize(x, *xs, n_tokens, self.n_in, factor, *tokens))
            if is_mapped:
                xs = (*xs, *tokens)
        if is_mapped:
            tiles = place(np.full((n_threads, tile_bytes(self.format, self.n_in)), 99, np.uint8))
            working = place(working_memory(self.n_in, n_threads))
            calls.append(bind_mapped_linear(self.format, data, shape, xs, out, n_tokens, tiles, working))
        elif self.format in ELEMENT_OF:
            packed = place(pack_floats(self.format, data, shape))
            calls.append(bind_float_linear(self.format, packed, x, out, n_tokens))
        else:
            layout, packed = pack(self.format, data, shape)
            weights, working = place(packed.reshape(-1)), place(working_memory(self.n_in, n_threads))
            calls.append(bind_quantized_linear(layout, weights, *xs, out, n_tokens, working, *tokens))
        run_all(calls, n_threads)
        return out


def run_all(calls: list[Call], n_threads: int) -> None:
    """Each call by all threads in turn."""
    for call in calls:
        for thread_id in range(n_threads):
            call.run(thread_id, n_threads)


def random_layer(seed: int, format: BlockFormat, n_out: int, n_blocks: int, n: int) -> tuple[Layer, NDArray]:
    """A layer of n_blocks (super-)blocks of columns, and x for n tokens, some blocks of it zero."""
    rng = np.random.default_rng(seed)
    n_in = n_blocks * max(format.block_size, 1 if format in ELEMENT_OF else 32)
    x = rng.standard_normal((n, n_in)).astype(np.float32) * np.float32(10.0 ** rng.uniform(-3, 3))
    x[rng.random((n, n_in)) < 0.1] = 0
    return Layer(format, n_out, n_in, random_weights(rng, format, n_out, n_in)), x


def pack_in_place(layer: Layer, place: Place, n_threads: int = 1) -> NDArray[np.uint8]:
    """The packed bytes as the compiled packer writes them."""
    _, packed, call = bind_pack(layer.format, place(layer.data), (layer.n_out, layer.n_in))
    call.set("packed", place(packed))
    run_all([call], n_threads)
    return call.owners["packed"]


def nmse(format: BlockFormat, outlier: float = 1) -> float:
    """The mean squared error of 32 tokens x 512 outputs of 2048 inputs over the mean square; one activation
    in 256 is `outlier` times as large as the others."""
    layer, _ = random_layer(1, format, 512, 2048 // max(format.block_size, 1), 1)
    x = np.random.default_rng(2).standard_normal((32, layer.n_in)).astype(np.float32)
    x[:, ::256] *= outlier
    true = x.astype(np.float64) @ true_weights(format, layer.data, layer.n_out, layer.n_in).T
    return float(((layer.run(x) - true) ** 2).mean() / (true**2).mean())


def main(mode: str, path: str = "", *names: str) -> None:
    if mode == "guard":
        for i, format in enumerate(FORMATS):
            many = [(17, 1, 273)] if format.name in ("Q4_1", "Q4_K", "Q6_K") else []  # two passes of AMX
            for n_out, n_blocks, n in ((1, 1, 1), (16, 2, 4), (17, 3, 18), (40, 1, 5), *many):
                layer, x = random_layer(i, format, n_out, n_blocks, n)
                layer.run(x, 2, guarded)
                if format in MAPPABLE:
                    layer.run(x, 2, guarded, is_mapped=True)
                if format in SPANS:
                    pack_in_place(layer, guarded, 2)
    elif mode == "save":
        outputs = {}
        for i, format in enumerate(format for format in FORMATS if not names or format.name in names):
            layer, x = random_layer(i, format, 17, 2, 5)
            outputs[format.name] = layer.run(x, 2)
            if format in MAPPABLE:
                outputs[f"{format.name} mapped"] = layer.run(x, 2, is_mapped=True)
            if format.name in ("Q4_0", "Q4_K", "Q6_K", "Q2_K", "IQ4_XS"):
                layer, x = random_layer(i, format, 17, 2, 17)
                outputs[f"{format.name} many"] = layer.run(x)
            if format in SPANS:
                outputs[f"{format.name} packed"] = pack_in_place(layer, np.copy)
        np.savez(path, **outputs)
    else:
        for format in FORMATS:
            print(f"| {format.name} | {nmse(format):.1e} | {nmse(format, 30):.1e} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
