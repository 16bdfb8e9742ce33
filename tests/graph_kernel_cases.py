"""More cases in the manner of `kernel_cases.py`: the kernels of operations that only some architectures have.

python graph_kernel_cases.py        every operand ends at an unreadable page
"""

import itertools

import numpy as np
from guard import guarded
from kernel_cases import Array, Case, Place, make, normal
from numpy.typing import NDArray

from nybble.gguf_io.formats import F32
from nybble.kernels.activation import Activation, activation_reference, bind_activation
from nybble.kernels.add import bind_add
from nybble.kernels.attention_reference import alibi_slopes, attention_reference
from nybble.kernels.columns import bind_copy_columns, join_columns_reference, take_columns_reference
from nybble.kernels.expert_linear import (
    bind_expert_linear,
    bind_expert_sum,
    expert_linear_reference,
    expert_sum_reference,
    head_linear_reference,
)
from nybble.kernels.float_linear import pack_floats
from nybble.kernels.general_attention import (
    allocate_general_cache,
    bind_general_attend,
    bind_general_write,
    general_scratch,
)
from nybble.kernels.kernel import Call
from nybble.kernels.layer_norm import bind_layer_norm, layer_norm_reference
from nybble.kernels.position import bind_position_embedding, position_embedding_reference
from nybble.kernels.rms_norm import bind_rms_norm, rms_norm_reference
from nybble.kernels.route import bind_route, route_reference, route_scratch
from nybble.kernels.scale import (
    bind_clamp,
    bind_mul,
    bind_multiply_columns,
    bind_scale,
    bind_scale_rows,
    bind_soft_cap,
    clamp_reference,
    mul_reference,
    scale_reference,
    soft_cap_reference,
)
from nybble.kernels.swiglu_oai import bind_swiglu_oai, swiglu_oai_reference


def width(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 100))


class Silu(Case):
    function: Activation = "silu"

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        return {"x": 4 * normal(rng, self.n, width(rng))}

    def expected(self) -> Array:
        return activation_reference(self.inputs["x"], self.function)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_activation(b["x"], b["out"], b["step"], self.out_width, self.function)]


class Gelu(Silu):
    function = "gelu"


class Relu2(Silu):
    function = "relu2"


class Sigmoid(Silu):
    function = "sigmoid"


class Softplus(Silu):
    function = "softplus"


class Scale(Silu):
    tolerance = 0.0

    def expected(self) -> Array:
        return scale_reference(self.inputs["x"], 0.3)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_scale(b["x"], b["out"], b["step"], 0.3)]


class Clamp(Scale):
    def expected(self) -> Array:
        return clamp_reference(self.inputs["x"], 2.5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_clamp(b["x"], b["out"], b["step"], 2.5)]


class SoftCap(Silu):
    def expected(self) -> Array:
        return soft_cap_reference(self.inputs["x"], 1.5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_soft_cap(b["x"], b["out"], b["step"], 1.5)]


class SwigluOai(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        w = width(rng)
        return {"gate": 6 * normal(rng, self.n, w), "up": 6 * normal(rng, self.n, w)}

    def expected(self) -> Array:
        return swiglu_oai_reference(self.inputs["gate"], self.inputs["up"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_swiglu_oai(b["gate"], b["up"], b["out"], b["step"])]


class Mul(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        w = width(rng)
        return {"a": normal(rng, self.n, w), "b": normal(rng, self.n, int(rng.choice([1, w])))}

    def expected(self) -> Array:
        return mul_reference(self.inputs["a"], self.inputs["b"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        widths = self.inputs["a"].shape[1], self.inputs["b"].shape[1]
        return [bind_mul(b["a"], b["b"], b["out"], b["step"], *widths)]


class MultiplyColumns(Scale):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        inputs = super().make(rng)
        self.factors = normal(rng, inputs["x"].shape[1])
        return inputs

    def expected(self) -> Array:
        return self.inputs["x"] * self.factors

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        factors = np.zeros(b["x"].shape[1], np.float32)
        factors[: len(self.factors)] = self.factors
        return [bind_multiply_columns(b["x"], place(factors), b["out"], b["step"])]


class ScaleRows(Scale):
    def expected(self) -> Array:
        return self.inputs["x"] * (1 + np.arange(self.n, dtype=np.float32))[:, None]

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
        b["factors"] = place(np.zeros(chunk, np.float32))

    def before_step(self, b: dict[str, NDArray], rows: slice) -> None:
        b["factors"][: rows.stop - rows.start] = 1 + np.arange(rows.start, rows.stop)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_scale_rows(b["x"], b["factors"], b["out"], b["step"])]


class LayerNorm(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_groups = int(rng.choice([1, 1, 2, 3]))
        group = int(rng.integers(1, 150))
        shape = (group,) if rng.random() < 0.5 else (self.n_groups, group)
        self.weight, self.bias = normal(rng, *shape), normal(rng, *shape)
        return {"x": 3 + normal(rng, self.n, group * self.n_groups)}

    def expected(self) -> Array:
        groups = self.inputs["x"].reshape(self.n, self.n_groups, -1)
        return layer_norm_reference(groups, self.weight, self.bias, 1e-5).reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weights = place(self.weight), place(self.bias)
        return [bind_layer_norm(b["x"], *weights, b["out"], b["step"], self.out_width, 1e-5, self.n_groups)]


class RmsNormOfHeads(LayerNorm):
    def expected(self) -> Array:
        groups = self.inputs["x"].reshape(self.n, self.n_groups, -1)
        return rms_norm_reference(groups, self.weight, 1e-5).reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weight = place(self.weight)
        return [bind_rms_norm(b["x"], weight, b["out"], b["step"], self.out_width, 1e-5, self.n_groups)]


class TakeColumns(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_groups, self.width = int(rng.integers(1, 5)), width(rng)
        self.start = int(rng.integers(0, self.width))
        self.count = int(rng.integers(1, self.width - self.start + 1))
        return {"x": normal(rng, self.n, self.n_groups * self.width)}

    @property
    def out_width(self) -> int:
        return self.n_groups * self.count

    def expected(self) -> Array:
        return take_columns_reference(self.inputs["x"], self.n_groups, self.start, self.count)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        columns = (self.width, self.start), (self.count, 0)
        return [bind_copy_columns(b["x"], b["out"], b["step"], self.n_groups, self.count, *columns)]


class JoinColumns(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_groups, self.i, self.j = int(rng.integers(1, 5)), width(rng), width(rng)
        return {
            "a": normal(rng, self.n, self.n_groups * self.i),
            "b": normal(rng, self.n, self.n_groups * self.j),
        }

    @property
    def out_width(self) -> int:
        return self.n_groups * (self.i + self.j)

    def expected(self) -> Array:
        return join_columns_reference(self.inputs["a"], self.inputs["b"], self.n_groups)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        whole = self.i + self.j
        at = b["out"], b["step"], self.n_groups
        return [
            bind_copy_columns(b["a"], *at, self.i, (self.i, 0), (whole, 0)),
            bind_copy_columns(b["b"], *at, self.j, (self.j, 0), (whole, self.i)),
        ]


class PositionEmbedding(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.table = normal(rng, self.n, width(rng))
        return {"x": np.zeros_like(self.table)}

    def expected(self) -> Array:
        return position_embedding_reference(self.table, np.arange(self.n))

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_position_embedding(place(self.table), b["positions"], b["out"], b["step"])]


class GeneralAttention(Case):
    """The cache starts full of NaN, and is compared after rounding to float16, as `kernel_cases.py` has it."""

    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_kv_heads, self.head_dim, self.value_dim = (
            int(n) for n in rng.choice([1, 2, 3], 3) * (1, 8, 8)
        )
        self.n_heads = self.n_kv_heads * int(rng.integers(1, 5))
        self.window = int(rng.choice([0, 1, 5, 100]))
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
        with np.errstate(over="ignore"):
            k, v = (x.astype(np.float16).astype(np.float32) for x in (k, v))
        at = np.arange(self.n)
        more = {"soft_cap": self.soft_cap, "slopes": self.slopes, "sinks": self.sinks}
        return attention_reference(q, k, v, at, at, 0.3, self.window, **more).reshape(self.n, -1)

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.head_dim, self.head_dim, self.value_dim

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
        n_slots = self.window + chunk - 1 if self.window else self.n
        cache = allocate_general_cache(self.n_kv_heads, self.head_dim, self.value_dim, max(n_slots, 1))
        b["keys"], b["values"] = (place(np.full_like(part, np.nan)) for part in cache)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        at = b["positions"], b["step"]
        scratch = place(general_scratch(b["keys"].shape[1], n_threads))
        slopes, sinks = (None if part is None else place(part) for part in (self.slopes, self.sinks))
        attend = bind_general_attend(
            b["q"],
            b["keys"],
            b["values"],
            b["positions"],
            b["out"],
            b["step"],
            scratch,
            self.n_heads,
            0.3,
            self.window,
            self.soft_cap,
            slopes,
            sinks,
        )
        write = [
            bind_general_write(b[rows], b[cache], *at) for rows, cache in (("k", "keys"), ("v", "values"))
        ]
        return [*write, attend]


class Route(Case):
    """`out` gets the weights, with the numbers of the experts behind them."""

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_groups, per_group = (int(n) for n in rng.integers(1, 6, 2))
        n_experts, used_groups = n_groups * per_group, int(rng.integers(1, n_groups + 1))
        self.n_used = int(rng.integers(1, per_group * used_groups + 1))
        gating = str(rng.choice(["softmax", "sigmoid", "softmax of chosen", "sqrt softplus"]))
        self.bias = normal(rng, n_experts) if rng.random() < 0.5 else None
        self.rest = bool(rng.random() < 0.5), 1.5, n_groups, used_groups
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
        at = b["x"], ids, weights, b["step"], scratch, n_experts, self.n_used
        route = bind_route(*at, self.gating, bias, *self.rest)
        product = bind_mul(weights, ids, b["out"], b["step"], self.n_used, self.n_used)
        return [route, product, bind_add(b["out"], weights, b["out"], b["step"])]


class ExpertLinear(Case):
    is_shared = True

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_experts, self.n_used, n_in = int(rng.integers(1, 6)), int(rng.integers(1, 4)), width(rng)
        self.weight = normal(rng, self.n_experts, 16 * int(rng.integers(1, 4)), n_in)
        self.bias = normal(rng, *self.weight.shape[:2])
        ids = rng.integers(0, self.n_experts, (self.n, self.n_used)).astype(np.float32)
        return {"x": normal(rng, self.n, n_in * (1 if self.is_shared else self.n_used)), "ids": ids}

    @property
    def out_width(self) -> int:
        return self.n_used * self.weight.shape[1]

    def expected(self) -> Array:
        ids = self.inputs["ids"].astype(np.int64)
        n_out = self.weight.shape[1]
        return expert_linear_reference(
            self.inputs["x"], ids, self.weight.__getitem__, n_out, self.bias, self.is_shared
        )

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        n_in = self.weight.shape[2]
        values = self.weight.view(np.uint8).reshape(-1)
        packed = place(pack_floats(F32, values, (self.weight.size // n_in, n_in)))
        at = b["x"], b["ids"], b["out"], b["step"], self.n_experts, self.n_used, self.is_shared
        return [bind_expert_linear(F32, packed, *at, place(self.bias))]


class ExpertLinearOfEach(ExpertLinear):
    is_shared = False


class HeadLinear(ExpertLinear):
    is_shared = False

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        super().make(rng)
        self.n_used = self.n_experts
        self.bias[:] = 0
        return {"x": normal(rng, self.n, self.n_experts * self.weight.shape[2])}

    def expected(self) -> Array:
        return head_linear_reference(self.inputs["x"], self.weight)

    def before_bind(self, b: dict[str, NDArray], chunk: int, place: Place) -> None:
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
        return [bind_expert_sum(b["x"], b["w"], b["out"], b["step"], self.n_used, self.width)]


CASES: tuple[type[Case], ...] = (
    Silu,
    Gelu,
    Relu2,
    Sigmoid,
    Softplus,
    Scale,
    Clamp,
    SoftCap,
    SwigluOai,
    Mul,
    MultiplyColumns,
    ScaleRows,
    LayerNorm,
    RmsNormOfHeads,
    TakeColumns,
    JoinColumns,
    PositionEmbedding,
    GeneralAttention,
    Route,
    ExpertLinear,
    ExpertLinearOfEach,
    HeadLinear,
    ExpertSum,
)


def main() -> None:
    for kind, seed in itertools.product(CASES, range(8)):
        for chunk in (0, 7):
            make(kind, seed).run(chunk, place=guarded)


if __name__ == "__main__":
    main()
