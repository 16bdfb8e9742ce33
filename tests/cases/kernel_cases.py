"""The small kernels with random arguments, to be run in many ways; as a script, in a process of its own.

python kernel_cases.py guard        every operand ends at an unreadable page
python kernel_cases.py overrun      proves that the guard works: dies of a signal
python kernel_cases.py save FILE    outputs of small cases, as .npz (NUMBA_DISABLE_JIT=1: of plain Python)
"""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from guard import guarded
from numpy.typing import NDArray

from nybble.kernels.attention.cache_type import CACHE_F16, CacheArray, CacheType
from nybble.kernels.attention.kv_cache import CACHE_BLOCK, allocate_kv_cache, bind_cache_write, n_pages_for
from nybble.kernels.attention.plain import bind_attend
from nybble.kernels.attention.plain_scratch import AttentionScratch, attention_scratch
from nybble.kernels.attention.reference import attention_reference
from nybble.kernels.elementwise.add import add_reference, bind_add
from nybble.kernels.elementwise.gated import (
    bind_gelu_mul,
    bind_silu_mul,
    gelu_mul_reference,
    silu_mul_reference,
)
from nybble.kernels.jit.kernel import Call
from nybble.kernels.language.rows import padded_width
from nybble.kernels.language.spans import set_spans, span_table
from nybble.kernels.norm.rms_norm import bind_rms_norm, rms_norm_reference
from nybble.kernels.position.rope import bind_rope, rope_angles, rope_reference

Array = NDArray[np.float32]
Place = Callable[[NDArray], NDArray]
SEATS = 2, 0, 3
N_SEATS = 4


class Case:
    """n rows of inputs; `run` takes them through the kernel in chunks, `expected` through the reference.

    `rows_mix`: a row depends on others, which come before it if `is_causal`; `tolerance` is relative to the
    largest expected value.
    """

    rows_mix, is_causal = False, True
    tolerance = 2e-6

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.n = n
        self.inputs = self.make(rng)

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        raise NotImplementedError

    def expected(self) -> Array:
        raise NotImplementedError

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        """The calls of a step, on the buffers b: the inputs by name, out, n_tokens, positions, and for what
        sequences have of their own spans, pages and slots."""
        raise NotImplementedError

    @property
    def out_width(self) -> int:
        return next(iter(self.inputs.values())).shape[1]

    def run(self, chunk: int = 0, n_threads: int = 1, place: Place = np.copy, n_sequences: int = 1) -> Array:
        """(n_sequences * n, out_width) by steps of up to `chunk` rows (0: all) of each sequence, all threads
        in turn. The sequences are the same, but if there are several steps, each is one behind the one
        before."""
        chunk = chunk or self.n
        widths = {name: x.shape[1] for name, x in self.inputs.items()} | {"out": self.out_width}
        n_rows, n_pages = chunk * n_sequences, n_pages_for(self.n)
        b = {name: place(np.zeros((n_rows, padded_width(w)), np.float32)) for name, w in widths.items()}
        b["n_tokens"], b["spans"] = place(np.zeros(1, np.int64)), place(span_table(n_sequences))
        b["positions"], b["slots"] = (place(np.zeros(n_rows, np.int64)) for _ in range(2))
        pages = np.random.default_rng(n_pages).permutation(N_SEATS * n_pages)
        b["pages"] = place(pages.reshape(N_SEATS, n_pages))
        self.before_bind(b, n_rows, place)
        calls = self.bind(b, place, n_threads)
        out = np.empty((n_sequences, self.n, self.out_width), np.float32)
        lag = int(chunk < self.n)
        for step in range(-(-self.n // chunk) + lag * (n_sequences - 1)):
            parts, m = [], 0
            for sequence in range(n_sequences):
                first = (step - lag * sequence) * chunk
                rows = slice(first, min(first + chunk, self.n))
                if first >= 0 and first < self.n:
                    at = slice(m, m + rows.stop - first)
                    self._fill(b, at, rows, SEATS[sequence])
                    parts.append((sequence, at, rows))
                    m = at.stop
            b["n_tokens"][0] = m
            set_spans(b["spans"], [(at.start, at.stop, SEATS[sequence]) for sequence, at, _ in parts])
            for call in calls:
                for thread_id in range(n_threads):
                    call.run(thread_id, n_threads)
            for sequence, at, rows in parts:
                out[sequence, rows] = b["out"][at, : self.out_width]
            if b["out"][:, self.out_width :].any():
                raise AssertionError("a kernel wrote into the padding")
        return out.reshape(-1, self.out_width)

    def _fill(self, b: dict[str, NDArray], at: slice, rows: slice, seat: int) -> None:
        positions = np.arange(rows.start, rows.stop)
        b["positions"][at] = positions
        b["slots"][at] = b["pages"][seat, positions // CACHE_BLOCK] * CACHE_BLOCK + positions % CACHE_BLOCK
        self.before_step(b, at, rows)
        for name, x in self.inputs.items():
            b[name][at, : x.shape[1]] = x[rows]

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        """Add buffers of another kind."""

    def before_step(self, b: dict[str, NDArray], at: slice, rows: slice) -> None:
        """Fill their rows `at` with `rows` of the sequence."""


class RmsNorm(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_groups = int(rng.choice([1, 1, 2, 3]))
        width = int(rng.integers(1, 150)) * self.n_groups
        self.weight = rng.standard_normal(width // self.n_groups).astype(np.float32)
        return {"x": normal(rng, self.n, width)}

    def expected(self) -> Array:
        x = self.inputs["x"]
        groups = x.reshape(self.n, self.n_groups, -1)
        return rms_norm_reference(groups, self.weight, 1e-5).reshape(x.shape)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weight = place(self.weight)
        return [bind_rms_norm(b["x"], weight, b["out"], b["n_tokens"], self.out_width, 1e-5, self.n_groups)]


class Add(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        width = int(rng.integers(1, 100))
        return {"a": normal(rng, self.n, width), "b": normal(rng, self.n, width)}

    def expected(self) -> Array:
        return add_reference(self.inputs["a"], self.inputs["b"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_add(b["a"], b["b"], b["out"], b["n_tokens"])]


class SiluMul(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        width = int(rng.integers(1, 100))
        return {"gate": 4 * normal(rng, self.n, width), "up": normal(rng, self.n, width)}

    def expected(self) -> Array:
        return silu_mul_reference(self.inputs["gate"], self.inputs["up"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_silu_mul(b["gate"], b["up"], b["out"], b["n_tokens"])]


class GeluMul(SiluMul):
    def expected(self) -> Array:
        return gelu_mul_reference(self.inputs["gate"], self.inputs["up"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_gelu_mul(b["gate"], b["up"], b["out"], b["n_tokens"])]


class Rope(Case):
    tolerance = 0.0  # the same three roundings as NumPy's
    pairing = "norm"

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_heads = int(rng.integers(1, 5))
        half = int(rng.integers(1, 40))
        self.head_dim = 2 * half + int(rng.choice([0, 0, 1, 6, 24]))
        self.cos, self.sin = rope_angles(np.arange(self.n), rng.random(half))
        return {"x": normal(rng, self.n, self.n_heads * self.head_dim)}

    def expected(self) -> Array:
        x = self.inputs["x"].reshape(self.n, self.n_heads, self.head_dim)
        return rope_reference(x, self.cos, self.sin, self.pairing).reshape(self.n, -1)  # type: ignore[arg-type]

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        b["cos"], b["sin"] = (place(np.zeros((n_rows, t.shape[1]), np.float32)) for t in (self.cos, self.sin))

    def before_step(self, b: dict[str, NDArray], at: slice, rows: slice) -> None:
        b["cos"][at], b["sin"][at] = self.cos[rows], self.sin[rows]

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        shape = (self.n_heads, self.head_dim, self.pairing)
        return [bind_rope(b["x"], b["cos"], b["sin"], b["out"], b["n_tokens"], *shape)]  # type: ignore[arg-type]


class RopeNeox(Rope):
    pairing = "neox"


def rounded(x: Array, kind: CacheType) -> Array:
    """x (…, width) as a cache of a type holds it."""
    with np.errstate(all="ignore"):
        if kind.name == "f32":
            return x
        if kind.name == "f16":
            return x.astype(np.float16).astype(np.float32)
        width, format = x.shape[-1], GGMLQuantizationType[kind.name.upper()]
        filled = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -width % 32)])
        return dequantize(quantize(filled, format), format)[..., :width]


def full_of_nan(cache: tuple[CacheArray, CacheArray], place: Place) -> tuple[CacheArray, CacheArray]:
    """A cache of which nothing has been written."""
    for part in cache:
        part.array.view(np.uint8)[:] = 255
    keys, values = (CacheArray(place(part.array), part.kind, part.width) for part in cache)
    return keys, values


class Attention(Case):
    """Keys and values are compared after rounding as the cache does, which starts full of NaN."""

    kind = CACHE_F16
    rows_mix = True
    tolerance = 1e-5
    windows = (0,)
    chunks = (0,)

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_kv_heads, self.head_dim = int(rng.integers(1, 4)), int(rng.choice([5, 8, 24, 32, 64, 80, 100]))
        self.n_heads = self.n_kv_heads * int(rng.integers(1, 6))
        self.window, self.chunk = int(rng.choice(self.windows)), int(rng.choice(self.chunks))
        self.scale = float(self.head_dim**-0.5)
        kv_width = self.n_kv_heads * self.head_dim
        return {
            "q": 2 * normal(rng, self.n, self.n_heads * self.head_dim),
            "k": normal(rng, self.n, kv_width),
            "v": normal(rng, self.n, kv_width),
        }

    def expected(self) -> Array:
        q, k, v = (x.reshape(self.n, -1, self.head_dim) for x in self.inputs.values())
        k, v = (rounded(x, self.kind) for x in (k, v))
        at = np.arange(self.n)
        limits: dict[str, Any] = {"window": self.window, "chunk": self.chunk, "is_causal": self.is_causal}
        return attention_reference(q, k, v, at, at, self.scale, **limits).reshape(self.n, -1)

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        n_slots = b["pages"].size * CACHE_BLOCK
        self.cache = full_of_nan(allocate_kv_cache(self.n_kv_heads, self.head_dim, n_slots, self.kind), place)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        cache, at = self.cache, (b["pages"], b["positions"])
        n_seen = b["pages"].shape[1] * CACHE_BLOCK
        memory = attention_scratch(self.n_heads, self.n_kv_heads, self.head_dim, n_seen, n_threads)
        scratch = AttentionScratch(place(memory.per_thread), place(memory.partials))
        write = bind_cache_write(b["k"], b["v"], *cache, b["slots"], b["n_tokens"])
        numbers = self.n_heads, self.scale, self.window, self.chunk, self.is_causal
        return [write, *bind_attend(b["q"], *cache, *at, b["out"], b["spans"], scratch, *numbers)]


class WindowAttention(Attention):
    windows = (1, 5, 64, 100, 300)


class ChunkAttention(Attention):
    windows = (0, 0, 70)
    chunks = (1, 5, 64, 100, 300)


class WholeAttention(Attention):
    """Tokens see those after them, so that all must go in one step."""

    windows = (0, 1, 5, 64, 100, 300)
    is_causal = False

    def run(self, chunk: int = 0, n_threads: int = 1, place: Place = np.copy, n_sequences: int = 1) -> Array:
        return super().run(0, n_threads, place, n_sequences)


CASES: tuple[type[Case], ...] = (
    RmsNorm,
    Add,
    SiluMul,
    GeluMul,
    Rope,
    RopeNeox,
    Attention,
    WindowAttention,
    ChunkAttention,
    WholeAttention,
)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Standard normal float32."""
    return rng.standard_normal(shape).astype(np.float32)


def make(kind: type[Case], seed: int, n: int = 0) -> Case:
    """A case of n rows (0: a random number of them, for attention more than a few blocks)."""
    rng = np.random.default_rng(seed)
    return kind(rng, n or int(rng.integers(1, 400 if kind.rows_mix else 30)))


def main(mode: str, *paths: str) -> None:
    if mode == "guard":
        for kind, seed in itertools.product(CASES, range(12)):
            for chunk in (0, 7):
                make(kind, seed).run(chunk, place=guarded)
    elif mode == "overrun":
        a = guarded(np.zeros((1, 16), np.float32))
        call = bind_add(a, a, a, np.ones(1, np.int64))
        call.values["ld"] = 32
        call.run()
    else:
        sizes = ((0, 5), (1, 5), (2, 66))
        small = {f"{kind.__name__}-{seed}": make(kind, seed, n) for kind in CASES for seed, n in sizes}
        # in steps of many, and of few: attention has a way for each
        found = {f"{name}-{n}": case.run(n, 2) for name, case in small.items() for n in (33, 11)}
        np.savez(paths[0], **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
