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
from guard import guarded
from numpy.typing import NDArray

from nybble.kernels.attention.kv_cache import CACHE_LANES, allocate_kv_cache, bind_cache_write, n_slots_for
from nybble.kernels.attention.plain import bind_attend
from nybble.kernels.attention.plain_scratch import AttentionScratch, attention_scratch
from nybble.kernels.attention.prefetch import bind_cache_prefetch
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
from nybble.kernels.norm.rms_norm import bind_rms_norm, rms_norm_reference
from nybble.kernels.position.rope import bind_rope, rope_angles, rope_reference

Array = NDArray[np.float32]
Place = Callable[[NDArray], NDArray]


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
        """The calls of a step, on the buffers b: the inputs by name, out, n_tokens, and positions."""
        raise NotImplementedError

    @property
    def out_width(self) -> int:
        return next(iter(self.inputs.values())).shape[1]

    def run(self, chunk: int = 0, n_threads: int = 1, place: Place = np.copy) -> Array:
        """(n, out_width) by steps of `chunk` rows (0: all), all threads in turn."""
        chunk = chunk or self.n
        widths = {name: x.shape[1] for name, x in self.inputs.items()} | {"out": self.out_width}
        b = {name: place(np.zeros((chunk, padded_width(w)), np.float32)) for name, w in widths.items()}
        b["n_tokens"], b["positions"] = place(np.zeros(1, np.int64)), place(np.zeros(chunk, np.int64))
        self.before_bind(b, chunk, place)
        calls = self.bind(b, place, n_threads)
        out = np.empty((self.n, self.out_width), np.float32)
        for first in range(0, self.n, chunk):
            rows = slice(first, min(first + chunk, self.n))
            m = rows.stop - rows.start
            b["n_tokens"][0] = m
            b["positions"][:m] = np.arange(rows.start, rows.stop)
            self.before_step(b, rows)
            for name, x in self.inputs.items():
                b[name][:m, : x.shape[1]] = x[rows]
            for call in calls:
                for thread_id in range(n_threads):
                    call.run(thread_id, n_threads)
            out[rows] = b["out"][:m, : self.out_width]
            if b["out"][:, self.out_width :].any():
                raise AssertionError("a kernel wrote into the padding")
        return out

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
        """Add buffers of another kind."""

    def before_step(self, b: dict[str, NDArray], rows: slice) -> None:
        """Fill them."""


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

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
        b["cos"], b["sin"] = (place(np.zeros((chunk, t.shape[1]), np.float32)) for t in (self.cos, self.sin))

    def before_step(self, b: dict[str, NDArray], rows: slice) -> None:
        m = rows.stop - rows.start
        b["cos"][:m], b["sin"][:m] = self.cos[rows], self.sin[rows]

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        shape = (self.n_heads, self.head_dim, self.pairing)
        return [bind_rope(b["x"], b["cos"], b["sin"], b["out"], b["n_tokens"], *shape)]  # type: ignore[arg-type]


class RopeNeox(Rope):
    pairing = "neox"


class Attention(Case):
    """Keys and values are compared after rounding to float16, as the cache holds them; it starts full of
    NaN."""

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
        with np.errstate(over="ignore"):
            k, v = (x.astype(np.float16).astype(np.float32) for x in (k, v))
        at = np.arange(self.n)
        limits: dict[str, Any] = {"window": self.window, "chunk": self.chunk, "is_causal": self.is_causal}
        return attention_reference(q, k, v, at, at, self.scale, **limits).reshape(self.n, -1)

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
        limit = min(self.window or self.chunk, self.chunk or self.window)
        n_slots = n_slots_for(limit + chunk - 1 if limit else self.n)
        keys, values = allocate_kv_cache(self.n_kv_heads, self.head_dim, n_slots)
        b["keys"], b["values"] = place(np.full_like(keys, np.nan)), place(np.full_like(values, np.nan))

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        cache, at = (b["keys"], b["values"]), (b["positions"], b["out"], b["n_tokens"])
        n_slots = cache[0].shape[1] * CACHE_LANES
        memory = attention_scratch(self.n_heads, self.n_kv_heads, self.head_dim, n_slots, n_threads)
        scratch = AttentionScratch(place(memory.per_thread), place(memory.partials))
        write = bind_cache_write(b["k"], b["v"], *cache, b["positions"], b["n_tokens"])
        window = min(self.window, n_slots)
        numbers = self.n_heads, self.scale, window, self.chunk, self.is_causal
        ask = bind_cache_prefetch(*cache, b["positions"], b["n_tokens"])
        return [ask, write, *bind_attend(b["q"], *cache, *at, scratch, *numbers)]


class WindowAttention(Attention):
    windows = (1, 5, 64, 100, 300)


class ChunkAttention(Attention):
    windows = (0, 0, 70)
    chunks = (1, 5, 64, 100, 300)


class WholeAttention(Attention):
    """Tokens see those after them, so that all must go in one step."""

    windows = (0, 1, 5, 64, 100, 300)
    is_causal = False

    def run(self, chunk: int = 0, n_threads: int = 1, place: Place = np.copy) -> Array:
        return super().run(0, n_threads, place)


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
