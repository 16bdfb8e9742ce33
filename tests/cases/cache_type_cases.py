"""Attention on caches of each type but float16, in the manner of `kernel_cases.py`.

python cache_type_cases.py guard        every operand ends at an unreadable page
python cache_type_cases.py save FILE    outputs of small cases, as .npz (NUMBA_DISABLE_JIT=1: of plain Python)
"""

import itertools
import sys

import layer_kernel_cases
import numpy as np
from guard import guarded
from kernel_cases import Array, Attention, Case, make, normal

from nybble.kernels.attention.cache_type import CACHE_F32, CACHE_Q4_0, CACHE_Q8_0, CacheType

KINDS = CACHE_F32, CACHE_Q8_0, CACHE_Q4_0


class PlainAttention(Attention):
    """Heads of all widths, with a window or chunks or neither."""

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_kv_heads, group = (int(n) for n in rng.integers(1, (4, 6)))
        self.head_dim = int(rng.choice([8, 16, 24, 40, 56, 64, 80, 96, 100, 128, 256, rng.integers(1, 257)]))
        self.n_heads, self.scale = self.n_kv_heads * group, float(self.head_dim**-0.5)
        self.window, self.chunk = ((0, 0), (int(rng.choice([1, 5, 64, 100])), 0), (70, 64))[rng.integers(3)]
        kv_width = self.n_kv_heads * self.head_dim
        widths = {"q": self.n_heads * self.head_dim, "k": kv_width, "v": kv_width}
        return {name: normal(rng, self.n, width) for name, width in widths.items()}


class GeneralAttention(layer_kernel_cases.GeneralAttention):
    """Heads that do not fill a block, and latent ones as of MLA."""

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        inputs = super().make(rng)
        self.head_dim, self.value_dim = (int(n) for n in rng.choice([3, 8, 20, 32, 48, 72, 96], 2))
        widths = (self.n_heads * self.head_dim, *(self.n_kv_heads * w for w in self.widths[1:]))
        return {name: normal(rng, self.n, width) for name, width in zip(inputs, widths, strict=True)}


def _of(base: type[Case], kind: CacheType) -> type[Case]:
    return type(f"{base.__name__}-{kind.name}", (base,), {"kind": kind})


CASES = tuple(_of(base, kind) for base in (PlainAttention, GeneralAttention) for kind in KINDS)


def main(mode: str, *paths: str) -> None:
    if mode == "guard":
        for kind, seed in itertools.product(CASES, range(10)):
            for chunk in (0, 7):
                make(kind, seed).run(chunk, place=guarded)
        return
    found = {}
    for kind, (seed, n) in itertools.product(CASES, ((6, 5), (11, 70))):  # small heads: plain Python is slow
        case = make(kind, seed, n)
        found |= {f"{kind.__name__}-{seed}-{chunk}": case.run(chunk, 2) for chunk in (33, 11)}
    np.savez(paths[0], **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
