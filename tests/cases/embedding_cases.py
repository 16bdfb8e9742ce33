"""Embedding lookups in tables of every format, in the manner of `kernel_cases.py`; also as a script:

python embedding_cases.py guard        every operand ends at an unreadable page
python embedding_cases.py reference    the kernels agree with the reference (for NUMBA_DISABLE_JIT=1)
"""

import itertools
import sys

import numpy as np
from guard import guarded
from kernel_cases import Array, Case, Place, make
from linear_cases import random_weights
from numpy.typing import NDArray

from nybble.gguf_io import formats
from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.jit.kernel import Call
from nybble.kernels.position.embedding import bind_embedding, embedding_reference
from nybble.kernels.weights.decode_row import ROW_DECODERS


class Embedding(Case):
    """Ids outside the vocabulary count as the nearest inside."""

    format: BlockFormat = formats.F32

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_blocks = int(rng.integers(1, 150 if self.format.block_size == 1 else 4))
        self.width, self.n_vocab = n_blocks * self.format.block_size, int(rng.integers(1, 40))
        self.scale = float(rng.choice([1.0, 25.3]))
        self.table = random_weights(rng, self.format, self.n_vocab, self.width)
        self.ids = rng.integers(-2, self.n_vocab + 2, self.n)
        self.ids[rng.random(self.n) < 0.1] = rng.choice([-(2**63), 2**63 - 1])
        return {}

    def expected(self) -> Array:
        values = dequantize(self.format, self.table, self.n_vocab * self.width)
        ids = self.ids.clip(0, self.n_vocab - 1)
        return embedding_reference(values.reshape(self.n_vocab, self.width), ids, self.scale)

    @property
    def out_width(self) -> int:
        return self.width

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        b["ids"] = place(np.zeros(n_rows, np.int64))

    def before_step(self, b: dict[str, NDArray], at: slice, rows: slice) -> None:
        b["ids"][at] = self.ids[rows]

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        table, shape = place(self.table), (self.n_vocab, self.width)
        return [bind_embedding(self.format, table, b["ids"], b["out"], b["n_tokens"], *shape, self.scale)]


CASES = tuple(type(format.name, (Embedding,), {"format": format}) for format in ROW_DECODERS)


def main(mode: str) -> None:
    for kind, seed in itertools.product(CASES, range(8)):
        case = make(kind, seed, n=10)
        if mode == "guard":
            case.run(place=guarded)
            case.run(chunk=7, place=guarded)
        elif case.run(chunk=7, n_threads=2).tobytes() != case.expected().tobytes():
            raise AssertionError(f"{kind.__name__}, seed {seed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
