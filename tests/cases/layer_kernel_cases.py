"""More cases in the manner of `kernel_cases.py`: experts, and attention with additions.

python layer_kernel_cases.py        every operand ends at an unreadable page; so do other new cases
"""

import itertools

import numpy as np
from graph_kernel_cases import CASES as GRAPH_CASES, width
from guard import guarded
from kernel_cases import Array, Case, Place, full_of_nan, make, normal, rounded
from numpy.typing import NDArray
from recurrent_kernel_cases import CASES as RECURRENT_CASES
from stream_kernel_cases import CASES as STREAM_CASES

from nybble.gguf_io.formats import F32
from nybble.kernels.attention.cache_type import CACHE_F16
from nybble.kernels.attention.general import bind_general_attend, general_scratch
from nybble.kernels.attention.general_cache import allocate_general_cache, bind_general_write
from nybble.kernels.attention.kv_cache import CACHE_BLOCK
from nybble.kernels.attention.reference import alibi_slopes, attention_reference
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.elementwise.scale import bind_mul
from nybble.kernels.experts.groups import Groups, bind_gather, bind_group
from nybble.kernels.experts.linear import (
    bind_expert_linear,
    expert_linear_reference,
    expert_scratch,
    head_linear_reference,
)
from nybble.kernels.experts.route import bind_route, route_reference, route_scratch
from nybble.kernels.experts.sum import bind_expert_sum, expert_sum_reference
from nybble.kernels.jit.kernel import Call
from nybble.kernels.linear.packed_product import working_memory
from nybble.kernels.weights.floats import pack_floats


class GeneralAttention(Case):
    """Keys and values are compared after rounding as the cache does, which starts full of NaN."""

    kind = CACHE_F16
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_kv_heads = int(rng.integers(1, 4))
        self.head_dim, self.value_dim = (int(n) for n in rng.choice([3, 8, 16, 20, 24], 2))
        self.n_heads = self.n_kv_heads * int(rng.integers(1, 5))
        self.window, self.chunk = (int(rng.choice([0, 1, 5, 100])) for _ in range(2))
        self.soft_cap = float(rng.choice([0, 2]))
        self.slopes = alibi_slopes(self.n_heads, 8.0) if rng.random() < 0.5 else None
        self.sinks = normal(rng, self.n_heads) if rng.random() < 0.5 else None
        return {
            "q": 2 * normal(rng, self.n, self.n_heads * self.head_dim),
            "k": normal(rng, self.n, self.n_kv_heads * self.head_dim),
            "v": normal(rng, self.n, self.n_kv_heads * self.value_dim),
        }

    @property
    def out_width(self) -> int:
        return self.n_heads * self.value_dim

    def expected(self) -> Array:
        q, k, v = (x.reshape(self.n, -1, w) for x, w in zip(self.inputs.values(), self.widths, strict=True))
        k, v = (rounded(x, self.kind) for x in (k, v))
        at = np.arange(self.n)
        more = {"soft_cap": self.soft_cap, "slopes": self.slopes, "sinks": self.sinks, "chunk": self.chunk}
        more["is_causal"] = self.is_causal
        return attention_reference(q, k, v, at, at, 0.3, self.window, **more).reshape(self.n, -1)

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.head_dim, self.head_dim, self.value_dim

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        n_slots = b["pages"].size * CACHE_BLOCK
        cache = allocate_general_cache(self.n_kv_heads, self.head_dim, self.value_dim, n_slots, self.kind)
        self.cache = full_of_nan(cache, place)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        at = b["slots"], b["n_tokens"]
        scratch = place(general_scratch(b["pages"].shape[1] * CACHE_BLOCK, n_threads))
        slopes, sinks = (None if part is None else place(part) for part in (self.slopes, self.sinks))
        attend = bind_general_attend(
            b["q"],
            *self.cache,
            b["pages"],
            b["positions"],
            b["out"],
            b["spans"],
            scratch,
            self.n_heads,
            0.3,
            self.window,
            self.soft_cap,
            slopes,
            sinks,
            self.chunk,
            self.is_causal,
        )
        write = [bind_general_write(b[rows], part, *at) for rows, part in zip("kv", self.cache, strict=True)]
        return [*write, attend]


class WholeAttention(GeneralAttention):
    """Tokens see those after them, so that all must go in one step."""

    is_causal = False

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        inputs = super().make(rng)
        self.chunk = 0
        return inputs

    def run(self, chunk: int = 0, n_threads: int = 1, place: Place = np.copy, n_sequences: int = 1) -> Array:
        return super().run(0, n_threads, place, n_sequences)


class Route(Case):
    """`out` gets the weights, with the numbers of the experts after them."""

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_groups, per_group = (int(n) for n in rng.integers(1, 6, 2))
        n_experts, used_groups = n_groups * per_group, int(rng.integers(1, n_groups + 1))
        self.n_used = int(rng.integers(1, per_group * used_groups + 1))
        gating = str(rng.choice(["softmax", "sigmoid", "softmax of chosen", "sqrt softplus"]))
        self.bias = normal(rng, n_experts) if rng.random() < 0.5 else None
        self.rest = bool(rng.random() < 0.5), 1.5, n_groups, used_groups, int(rng.integers(1, 3))
        self.gating = gating
        return {"x": normal(rng, self.n, n_experts)}

    @property
    def out_width(self) -> int:
        return self.n_used

    def expected(self) -> Array:
        ids, weights = route_reference(self.inputs["x"], self.n_used, self.gating, self.bias, *self.rest)
        return weights * (1 + ids)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        n_experts = self.inputs["x"].shape[1]
        ids, weights = (place(np.zeros_like(b["out"])) for _ in range(2))
        scratch = place(route_scratch(n_experts, n_threads))
        bias = None if self.bias is None else place(self.bias)
        at = b["x"], ids, weights, b["n_tokens"], scratch, n_experts, self.n_used
        route = bind_route(*at, self.gating, bias, *self.rest)
        product = bind_mul(weights, ids, b["out"], b["n_tokens"], self.n_used, self.n_used)
        return [route, product, bind_add(b["out"], weights, b["out"], b["n_tokens"])]


class ExpertLinear(Case):
    is_shared = True

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_experts, self.n_used, n_in = int(rng.integers(1, 6)), int(rng.integers(1, 4)), width(rng)
        self.weight = normal(rng, self.n_experts, int(rng.integers(1, 50)), n_in)
        self.bias = normal(rng, *self.weight.shape[:2]) if rng.random() < 0.5 else None
        self.scale = normal(rng, self.n_experts) if rng.random() < 0.5 else None
        ids = rng.integers(0, self.n_experts, (self.n, self.n_used)).astype(np.float32)
        return {"x": normal(rng, self.n, n_in * (1 if self.is_shared else self.n_used)), "ids": ids}

    @property
    def out_width(self) -> int:
        return self.n_used * self.weight.shape[1]

    def expected(self) -> Array:
        ids, n_out = self.inputs["ids"].astype(np.int64), self.weight.shape[1]
        rest = n_out, self.bias, self.is_shared, self.scale
        return expert_linear_reference(self.inputs["x"], ids, self.weight.__getitem__, *rest)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        n_experts, n_out, n_in = self.weight.shape
        packed = place(
            np.concatenate([pack_floats(F32, w.view(np.uint8).reshape(-1), w.shape) for w in self.weight])
        )
        groups = placed_groups(len(b["x"]), self.n_used, n_experts, place)
        xs = place(np.zeros((len(groups.token), n_in), np.float32))
        bias, scale = (None if part is None else place(part) for part in (self.bias, self.scale))
        memory = place(expert_scratch(n_threads)), working_memory(n_in, n_threads)
        return [
            bind_group(b["ids"], groups, b["n_tokens"]),
            bind_gather(b["x"], xs, groups, 0 if self.is_shared else n_in),
            bind_expert_linear(F32, packed, (xs,), groups, b["out"], *memory, n_out, bias, scale),
        ]


def placed_groups(n: int, n_used: int, n_experts: int, place: Place) -> Groups:
    """Memory for groups, each part of it where `place` puts it."""
    groups = Groups.make(n, n_used, n_experts)
    return Groups(*(place(array) for array in groups.arrays), n_used)


class ExpertLinearOfEach(ExpertLinear):
    is_shared = False


class HeadLinear(ExpertLinear):
    is_shared = False

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        super().make(rng)
        self.n_used, self.bias, self.scale = self.n_experts, None, None
        return {"x": normal(rng, self.n, self.n_experts * self.weight.shape[2])}

    def expected(self) -> Array:
        return head_linear_reference(self.inputs["x"], self.weight)

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        b["ids"] = place(np.arange(self.n_experts, dtype=np.float32)[None])


class ExpertSum(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_used, self.width = int(rng.integers(1, 5)), width(rng)
        return {"x": normal(rng, self.n, self.n_used * self.width), "w": normal(rng, self.n, self.n_used)}

    @property
    def out_width(self) -> int:
        return self.width

    def expected(self) -> Array:
        return expert_sum_reference(self.inputs["x"], self.inputs["w"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_expert_sum(b["x"], b["w"], b["out"], b["n_tokens"], self.n_used, self.width)]


CASES: tuple[type[Case], ...] = (
    GeneralAttention,
    WholeAttention,
    Route,
    ExpertLinear,
    ExpertLinearOfEach,
    HeadLinear,
    ExpertSum,
)


def main() -> None:
    for kind, seed in itertools.product(GRAPH_CASES + RECURRENT_CASES + STREAM_CASES + CASES, range(8)):
        for chunk in (0, 7):
            make(kind, seed).run(chunk, place=guarded)


if __name__ == "__main__":
    main()
