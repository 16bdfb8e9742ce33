"""More cases in the manner of `kernel_cases.py`: recurrent layers, whose state starts at zero."""

import numpy as np
from graph_kernel_cases import width
from kernel_cases import N_SEATS, Array, Case, Place, normal
from numpy.typing import NDArray

from nybble.kernels.jit.kernel import Call
from nybble.kernels.language.rows import padded_width
from nybble.kernels.recurrent.causal_conv import (
    bind_causal_conv,
    bind_token_shift,
    causal_conv_reference,
    token_shift_reference,
)
from nybble.kernels.recurrent.delta_rule import bind_delta_rule, delta_rule_reference
from nybble.kernels.recurrent.gated_linear_attention import (
    bind_bonus,
    bind_gated_linear_attention,
    bonus_reference,
    gated_linear_attention_reference,
)
from nybble.kernels.recurrent.generalized_delta_rule import (
    bind_generalized_delta_rule,
    generalized_delta_rule_reference,
)
from nybble.kernels.recurrent.lightning_attention import (
    bind_lightning_attention,
    lightning_attention_reference,
)
from nybble.kernels.recurrent.selective_scan import (
    bind_decay,
    bind_selective_scan,
    decay_reference,
    selective_scan_reference,
)


def for_each_seat(state: Array) -> Array:
    """(N_SEATS, ...)"""
    return np.repeat(state[None], N_SEATS, axis=0)


class CausalConv(Case):
    rows_mix = True

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.weight = normal(rng, width(rng), int(rng.integers(1, 6)))
        self.bias = normal(rng, len(self.weight))
        return {"x": normal(rng, self.n, len(self.weight))}

    def expected(self) -> Array:
        tail = np.zeros((self.weight.shape[1] - 1, len(self.weight)), np.float32)
        return causal_conv_reference(self.inputs["x"], self.weight, self.bias, tail)[0]

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        ld, (n, size) = b["x"].shape[1], self.weight.shape
        weight, bias = np.zeros((size, ld), np.float32), np.zeros(ld, np.float32)
        weight[:, :n], bias[:n] = self.weight.T, self.bias
        tail = place(np.zeros((N_SEATS, size - 1, ld), np.float32))
        return [bind_causal_conv(b["x"], place(weight), place(bias), tail, b["out"], b["spans"])]


class SelectiveScan(Case):
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_groups, self.head_dim, n_state = (int(n) for n in rng.integers(1, 20, 3))
        self.n_heads = self.n_groups * int(rng.integers(1, 3))
        self.state = np.zeros((self.n_heads, self.head_dim, n_state), np.float32)
        a = -rng.random((self.n_heads, int(rng.choice([1, n_state])))).astype(np.float32)
        self.weights = a, *normal(rng, 2, self.n_heads)
        widths = {"x": self.n_heads * self.head_dim, "dt": self.n_heads}
        widths |= {"b": self.n_groups * n_state, "c": self.n_groups * n_state}
        return {name: normal(rng, self.n, n) for name, n in widths.items()}

    def expected(self) -> Array:
        x, dt, b, c = self.inputs.values()
        x, b, c = x.reshape(self.n, self.n_heads, -1), *(y.reshape(self.n, self.n_groups, -1) for y in (b, c))
        return selective_scan_reference(x, dt, b, c, *self.weights, self.state)[0].reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weights = [place(np.ascontiguousarray(weight)) for weight in self.weights]
        at = place(for_each_seat(self.state)), b["out"], b["spans"], self.n_groups
        return [bind_selective_scan(b["x"], b["dt"], b["b"], b["c"], *weights, *at)]


class DeltaRule(Case):
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_k_heads, d_v = int(rng.integers(1, 4)), int(rng.integers(1, 20))
        d_k = 8 * int(rng.integers(1, 4))
        self.n_heads, self.is_grouped = self.n_k_heads * int(rng.integers(1, 3)), bool(rng.random() < 0.5)
        self.n_rates = int(rng.choice([1, d_k]))
        self.state = np.zeros((self.n_heads, d_v, d_k), np.float32)
        keys = [normal(rng, self.n, self.n_k_heads, d_k) for _ in range(2)]
        q, k = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in keys)
        return {
            "v": normal(rng, self.n, self.n_heads * d_v),
            "q": q.reshape(self.n, -1),
            "k": k.reshape(self.n, -1),
            "g": -rng.random((self.n, self.n_heads * self.n_rates)).astype(np.float32),
            "beta": rng.random((self.n, self.n_heads)).astype(np.float32),
        }

    def expected(self) -> Array:
        v, q, k, g, beta = self.inputs.values()
        q, k = (x.reshape(self.n, self.n_k_heads, -1) for x in (q, k))
        v, g = (x.reshape(self.n, self.n_heads, -1) for x in (v, g))
        out, _ = delta_rule_reference(q, k, v, g, beta, self.state, self.is_grouped)
        return out.reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        inputs = (b[name] for name in ("q", "k", "v", "g", "beta"))
        at = (
            place(for_each_seat(self.state)),
            b["out"],
            b["spans"],
            self.n_k_heads,
            self.is_grouped,
            self.n_rates,
        )
        return [bind_delta_rule(*inputs, *at)]


class LightningAttention(Case):
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_heads, d_v, d_k = int(rng.integers(1, 4)), int(rng.integers(1, 20)), 8 * int(rng.integers(1, 4))
        self.decay = rng.random(n_heads).astype(np.float32)
        self.state = np.zeros((n_heads, d_v, d_k), np.float32)
        widths = {"v": n_heads * d_v, "q": n_heads * d_k, "k": n_heads * d_k}
        return {name: normal(rng, self.n, n) for name, n in widths.items()}

    def expected(self) -> Array:
        v, q, k = (x.reshape(self.n, len(self.decay), -1) for x in self.inputs.values())
        return lightning_attention_reference(q, k, v, self.decay, self.state)[0].reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        at = place(self.decay), place(for_each_seat(self.state)), b["out"], b["spans"]
        return [bind_lightning_attention(b["q"], b["k"], b["v"], *at)]


class TokenShift(Case):
    rows_mix = True
    tolerance = 0.0

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        return {"x": normal(rng, self.n, width(rng))}

    def expected(self) -> Array:
        return token_shift_reference(self.inputs["x"], np.zeros((1, self.out_width), np.float32))[0]

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        tail = place(np.zeros((N_SEATS, 1, b["x"].shape[1]), np.float32))
        return [bind_token_shift(b["x"], tail, b["out"], b["spans"])]


class GatedLinearAttention(Case):
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_heads, d_v, d_k = (
            int(rng.integers(1, 4)),
            int(rng.integers(1, 20)),
            8 * int(rng.integers(1, 4)),
        )
        self.state = np.zeros((self.n_heads, d_v, d_k), np.float32)
        self.reads_before = bool(rng.random() < 0.5)
        inputs = {name: normal(rng, self.n, self.n_heads * d_k) for name in "qkg"}
        return {"v": normal(rng, self.n, self.n_heads * d_v)} | inputs | {"g": -np.abs(inputs["g"])}

    def expected(self) -> Array:
        v, q, k, g = (x.reshape(self.n, self.n_heads, -1) for x in self.inputs.values())
        out, _ = gated_linear_attention_reference(q, k, v, g, self.state, self.reads_before)
        return out.reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        inputs = (b[name] for name in "qkvg")
        return [
            bind_gated_linear_attention(
                *inputs, place(for_each_seat(self.state)), b["out"], b["spans"], self.reads_before
            )
        ]


class Bonus(Case):
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        n_heads, d_k = int(rng.integers(1, 4)), 8 * int(rng.integers(1, 4))
        self.weight = normal(rng, n_heads, d_k)
        return {name: normal(rng, self.n, n_heads * d_k) for name in "qkv"}

    def expected(self) -> Array:
        q, k, v = (x.reshape(self.n, len(self.weight), -1) for x in self.inputs.values())
        return bonus_reference(q, k, v, self.weight).reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_bonus(b["q"], b["k"], b["v"], place(self.weight), b["out"], b["n_tokens"])]


class GeneralizedDeltaRule(Case):
    rows_mix = True
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_heads, d_v, d_k = (
            int(rng.integers(1, 4)),
            int(rng.integers(1, 20)),
            8 * int(rng.integers(1, 4)),
        )
        self.state = np.zeros((self.n_heads, d_v, d_k), np.float32)
        inputs = {name: normal(rng, self.n, self.n_heads, d_k) for name in "qkabg"}
        length = np.linalg.norm(inputs["a"], axis=-1, keepdims=True)
        inputs |= {"a": inputs["a"] / length, "b": -inputs["a"] / length, "g": -np.abs(inputs["g"])}
        rows = {name: x.reshape(self.n, -1) for name, x in inputs.items()}
        return {"v": normal(rng, self.n, self.n_heads * d_v)} | rows

    def expected(self) -> Array:
        v, q, k, a, b, g = (x.reshape(self.n, self.n_heads, -1) for x in self.inputs.values())
        return generalized_delta_rule_reference(q, k, v, a, b, g, self.state)[0].reshape(self.n, -1)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        inputs = (b[name] for name in "qkvabg")
        return [bind_generalized_delta_rule(*inputs, place(for_each_seat(self.state)), b["out"], b["spans"])]


class Decay(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.weights = normal(rng, 2, width(rng))
        return {"x": normal(rng, self.n, self.weights.shape[1])}

    def expected(self) -> Array:
        return decay_reference(self.inputs["x"], *self.weights)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        weights = np.zeros((2, padded_width(self.out_width)), np.float32)
        weights[:, : self.out_width] = self.weights
        return [bind_decay(b["x"], place(weights[0]), place(weights[1]), b["out"], b["n_tokens"])]


CASES: tuple[type[Case], ...] = (
    CausalConv,
    TokenShift,
    SelectiveScan,
    DeltaRule,
    LightningAttention,
    GatedLinearAttention,
    Bonus,
    GeneralizedDeltaRule,
    Decay,
)
