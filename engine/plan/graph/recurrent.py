"""The part of a graph that adds recurrent operations."""

from .. import ops
from ..states import RecurrentSpec
from .base import GraphCore


class RecurrentGraph(GraphCore):
    """Adds recurrent operations, most with a state of their own, which is added to the plan; see `Graph`."""

    def l2_norm(self, out: str, x: str, eps: float, n_groups: int) -> str:
        return self._add(ops.L2Norm(self._prefix + out, x, eps, n_groups), self.width(x))

    def causal_conv(self, out: str, x: str, weight: str) -> str:
        kernel, bias, n_channels = self.weight(weight), self.optional_tensor(f"{weight}.bias"), self.width(x)
        kernel = kernel.reshaped((n_channels, kernel.shape[-1]))
        state = self._add_state(RecurrentSpec((kernel.shape[1] - 1, n_channels)))
        return self._add(ops.CausalConv(self._prefix + out, state, x, kernel, bias), n_channels)

    def selective_scan(self, out: str, x: str, dt: str, b: str, c: str, n_heads: int, n_groups: int) -> str:
        """With the weights ssm_a, ssm_d and ssm_dt.bias."""
        width = self.width(x)
        state = self._add_state(RecurrentSpec((n_heads, width // n_heads, self.width(b) // n_groups)))
        weights = [self.tensor(name) for name in ("ssm_a", "ssm_d", "ssm_dt.bias")]
        op = ops.SelectiveScan(self._prefix + out, state, x, dt, b, c, n_heads, n_groups, *weights)
        return self._add(op, width)

    def decay(self, out: str, x: str) -> str:
        """With the weights ssm_a and ssm_dt.bias."""
        weights = [self.tensor(name) for name in ("ssm_a", "ssm_dt.bias")]
        return self._add(ops.Decay(self._prefix + out, x, *weights), self.width(x))

    def delta_rule(
        self,
        out: str,
        q: str,
        k: str,
        v: str,
        decay: str,
        beta: str,
        n_heads: int,
        n_k_heads: int,
        is_grouped: bool = False,
    ) -> str:
        """`decay` has a number per head, or per value of its key."""
        width = self.width(v)
        shape = (n_heads, width // n_heads, self.width(k) // n_k_heads)
        state = self._add_state(RecurrentSpec(shape))
        n_rates = self.width(decay) // n_heads
        op = ops.DeltaRule(
            self._prefix + out, state, q, k, v, decay, beta, n_heads, n_k_heads, is_grouped, n_rates
        )
        return self._add(op, width)

    def lightning_attention(self, out: str, q: str, k: str, v: str, decay: tuple[float, ...]) -> str:
        """Linear attention with a constant decay per head."""
        state = self._state_of_heads(k, v, len(decay))
        return self._add(ops.LightningAttention(self._prefix + out, state, q, k, v, decay), self.width(v))

    def token_shift(self, out: str, x: str) -> str:
        """The row of the token before, minus x."""
        width = self.width(x)
        state = self._add_state(RecurrentSpec((1, width)))
        return self._add(ops.TokenShift(self._prefix + out, state, x), width)

    def gated_linear_attention(
        self, out: str, q: str, k: str, v: str, decay: str, n_heads: int, *, reads_before: bool = False
    ) -> str:
        state, width = self._state_of_heads(k, v, n_heads), self.width(v)
        op = ops.GatedLinearAttention(self._prefix + out, state, q, k, v, decay, n_heads, reads_before)
        return self._add(op, width)

    def bonus(self, out: str, q: str, k: str, v: str, weight: str, n_heads: int) -> str:
        """v of each head times the dot product of its q and k, weighted column by column."""
        return self._add(ops.Bonus(self._prefix + out, q, k, v, self.weight(weight), n_heads), self.width(v))

    def generalized_delta_rule(
        self, out: str, q: str, k: str, v: str, a: str, b: str, decay: str, n_heads: int
    ) -> str:
        state, width = self._state_of_heads(k, v, n_heads), self.width(v)
        op = ops.GeneralizedDeltaRule(self._prefix + out, state, q, k, v, a, b, decay, n_heads)
        return self._add(op, width)

    def _state_of_heads(self, k: str, v: str, n_heads: int) -> int:
        """A state of one matrix per head."""
        return self._add_state(RecurrentSpec((n_heads, self.width(v) // n_heads, self.width(k) // n_heads)))
