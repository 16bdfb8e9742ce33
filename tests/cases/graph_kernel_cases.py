"""More cases in the manner of `kernel_cases.py`: norms, activations and the like."""

import numpy as np
from kernel_cases import Array, Case, Place, normal
from numpy.typing import NDArray

from nybble.kernels.choices import Activation
from nybble.kernels.elementwise.activation import activation_reference, bind_activation
from nybble.kernels.elementwise.add import add_vector_reference, bind_add_vector
from nybble.kernels.elementwise.columns import (
    bind_copy_columns,
    join_columns_reference,
    repeat_columns_reference,
    take_columns_reference,
)
from nybble.kernels.elementwise.scale import (
    bind_clamp,
    bind_mul,
    bind_multiply_columns,
    bind_scale,
    bind_scale_rows,
    bind_shift,
    bind_soft_cap,
    clamp_reference,
    mul_reference,
    scale_reference,
    shift_reference,
    soft_cap_reference,
)
from nybble.kernels.elementwise.swiglu_oai import bind_swiglu_oai, swiglu_oai_reference
from nybble.kernels.elementwise.take_rows import bind_take_rows, take_rows_reference
from nybble.kernels.elementwise.xielu import bind_xielu, xielu_reference
from nybble.kernels.jit.kernel import Call
from nybble.kernels.norm.layer_norm import bind_layer_norm, layer_norm_reference
from nybble.kernels.norm.rms_norm import bind_rms_norm, rms_norm_reference


def width(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 100))


class Silu(Case):
    function: Activation = "silu"

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        return {"x": 4 * normal(rng, self.n, width(rng))}

    def expected(self) -> Array:
        return activation_reference(self.inputs["x"], self.function)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_activation(b["x"], b["out"], b["n_tokens"], self.out_width, self.function)]


class Gelu(Silu):
    function = "gelu"


class Relu(Silu):
    function = "relu"


class Relu2(Silu):
    function = "relu2"


class Sigmoid(Silu):
    function = "sigmoid"


class Softplus(Silu):
    function = "softplus"


class Exp(Silu):
    function = "exp"


class Scale(Silu):
    tolerance = 0.0

    def expected(self) -> Array:
        return scale_reference(self.inputs["x"], 0.3)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_scale(b["x"], b["out"], b["n_tokens"], 0.3)]


class Shift(Scale):
    def expected(self) -> Array:
        return shift_reference(self.inputs["x"], 0.3)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_shift(b["x"], b["out"], b["n_tokens"], self.out_width, 0.3)]


class Clamp(Scale):
    def expected(self) -> Array:
        return clamp_reference(self.inputs["x"], -0.3, 2.5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_clamp(b["x"], b["out"], b["n_tokens"], -0.3, 2.5)]


class SoftCap(Silu):
    def expected(self) -> Array:
        return soft_cap_reference(self.inputs["x"], 1.5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_soft_cap(b["x"], b["out"], b["n_tokens"], 1.5)]


class SwigluOai(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        w = width(rng)
        return {"gate": 6 * normal(rng, self.n, w), "up": 6 * normal(rng, self.n, w)}

    def expected(self) -> Array:
        return swiglu_oai_reference(self.inputs["gate"], self.inputs["up"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_swiglu_oai(b["gate"], b["up"], b["out"], b["n_tokens"])]


class Mul(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_groups, w = int(rng.integers(1, 5)), width(rng)
        return {
            "a": normal(rng, self.n, n_groups * w),
            "b": normal(rng, self.n, int(rng.choice([1, n_groups, n_groups * w]))),
        }

    def expected(self) -> Array:
        return mul_reference(self.inputs["a"], self.inputs["b"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        widths = self.inputs["a"].shape[1], self.inputs["b"].shape[1]
        return [bind_mul(b["a"], b["b"], b["out"], b["n_tokens"], *widths)]


class AddVector(Scale):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        inputs = super().make(rng)
        self.vector = normal(rng, inputs["x"].shape[1])
        return inputs

    def expected(self) -> Array:
        return add_vector_reference(self.inputs["x"], self.vector)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        vector = np.zeros(b["x"].shape[1], np.float32)
        vector[: len(self.vector)] = self.vector
        return [bind_add_vector(b["x"], place(vector), b["out"], b["n_tokens"])]


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
        return [bind_multiply_columns(b["x"], place(factors), b["out"], b["n_tokens"])]


class ScaleRows(Scale):
    def expected(self) -> Array:
        return self.inputs["x"] * (1 + np.arange(self.n, dtype=np.float32))[:, None]

    def before_bind(self, b: dict[str, NDArray], n_rows: int, place: Place) -> None:
        b["factors"] = place(np.zeros(n_rows, np.float32))

    def before_step(self, b: dict[str, NDArray], at: slice, rows: slice) -> None:
        b["factors"][at] = 1 + np.arange(rows.start, rows.stop)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_scale_rows(b["x"], b["factors"], b["out"], b["n_tokens"])]


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
        return [
            bind_layer_norm(b["x"], *weights, b["out"], b["n_tokens"], self.out_width, 1e-5, self.n_groups)
        ]


class RmsNormOfHeads(LayerNorm):
    def expected(self) -> Array:
        groups = self.inputs["x"].reshape(self.n, self.n_groups, -1)
        return rms_norm_reference(groups, self.weight, 1e-5).reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weight = place(self.weight)
        return [bind_rms_norm(b["x"], weight, b["out"], b["n_tokens"], self.out_width, 1e-5, self.n_groups)]


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
        return [bind_copy_columns(b["x"], b["out"], b["n_tokens"], self.n_groups, self.count, *columns)]


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
        at = b["out"], b["n_tokens"], self.n_groups
        return [
            bind_copy_columns(b["a"], *at, self.i, (self.i, 0), (whole, 0)),
            bind_copy_columns(b["b"], *at, self.j, (self.j, 0), (whole, self.i)),
        ]


class RepeatColumns(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.count, self.n_groups = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        return {"x": normal(rng, self.n, self.n_groups * width(rng))}

    @property
    def out_width(self) -> int:
        return self.count * self.inputs["x"].shape[1]

    def expected(self) -> Array:
        return repeat_columns_reference(self.inputs["x"], self.count, self.n_groups)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        n = self.inputs["x"].shape[1] // self.n_groups
        if self.n_groups == 1:
            return [bind_copy_columns(b["x"], b["out"], b["n_tokens"], self.count, n, (0, 0), (n, 0))]
        columns = [((n, 0), (self.count * n, i * n)) for i in range(self.count)]
        return [bind_copy_columns(b["x"], b["out"], b["n_tokens"], self.n_groups, n, *c) for c in columns]


class Xielu(Silu):
    numbers = 0.8, 0.3, 0.5, -1e-2

    def expected(self) -> Array:
        return xielu_reference(self.inputs["x"], *self.numbers)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_xielu(b["x"], b["out"], b["n_tokens"], self.out_width, *self.numbers)]


class TakeRows(Case):
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.table = normal(rng, self.n, width(rng))
        return {"x": np.zeros_like(self.table)}

    def expected(self) -> Array:
        return take_rows_reference(self.table, np.arange(self.n))

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_take_rows(place(self.table), b["positions"], b["out"], b["n_tokens"])]


CASES: tuple[type[Case], ...] = (
    Silu,
    Gelu,
    Relu,
    Relu2,
    Sigmoid,
    Softplus,
    Exp,
    Scale,
    Shift,
    Clamp,
    SoftCap,
    SwigluOai,
    Mul,
    AddVector,
    MultiplyColumns,
    ScaleRows,
    LayerNorm,
    RmsNormOfHeads,
    TakeColumns,
    JoinColumns,
    RepeatColumns,
    Xielu,
    TakeRows,
)
