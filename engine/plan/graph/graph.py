"""The graph with which an architecture builds its plan."""

import math
from dataclasses import replace

from ....kernels.choices import Activation, Gating, Pairing
from .. import ops
from ..rope import RopeTable
from ..states import KVSpec
from .recurrent import RecurrentGraph
from .residual_streams import StreamGraph


class Graph(RecurrentGraph, StreamGraph):
    """Builds a plan.  Each method adds an operation and returns the name of the buffer that it writes.

    `out` and weights are names within a block: `graph.block(3).linear("attn_out", x, "attn_output")` writes
    "blk.3.attn_out" with "blk.3.attn_output.weight", and "blk.3.attn_output.bias" if the file has it.
    """

    def add_rope_table(self, name: str, table: RopeTable) -> str:
        """Adds the table to which `rope` refers by `name`; returns the name."""
        self._rope_tables[name] = table
        return name

    def embed(self, out: str, weight: str, scale: float = 1.0) -> str:
        table = self.weight(weight)
        return self._add(ops.Embed(self._prefix + out, table, scale), table.shape[1])

    def position_embed(self, out: str, x: str, weight: str) -> str:
        """The learned vector of the position of each row."""
        return self._add(ops.PositionEmbed(self._prefix + out, x, self.weight(weight)), self.width(x))

    def rms_norm(self, out: str, x: str, weight: str, eps: float) -> str:
        """An RMS norm of x, or of each of its groups, which are as wide as the rows of the weight."""
        gain, width = self.weight(weight), self.width(x)
        return self._add(ops.RmsNorm(self._prefix + out, x, gain, eps, width // gain.shape[-1]), width)

    def plain_rms_norm(self, out: str, x: str, eps: float, n_groups: int = 1) -> str:
        """An RMS norm without weight, of each of n_groups equal parts of x."""
        return self._add(ops.RmsNorm(self._prefix + out, x, None, eps, n_groups), self.width(x))

    def layer_norm(self, out: str, x: str, weight: str, eps: float, n_groups: int = 1) -> str:
        """A layer norm of x, or of each of its groups, with a bias if the file has one.

        n_groups: the weight is as wide as x, with a part for each of n_groups groups.
        """
        gain, bias, width = self.weight(weight), self.optional_tensor(f"{weight}.bias"), self.width(x)
        if n_groups > 1:
            shape = n_groups, width // n_groups
            gain, bias = gain.reshaped(shape), bias and bias.reshaped(shape)
        op = ops.LayerNorm(self._prefix + out, x, gain, bias, eps, width // gain.shape[-1])
        return self._add(op, width)

    def plain_layer_norm(self, out: str, x: str, eps: float) -> str:
        """A layer norm without weight."""
        return self._add(ops.LayerNorm(self._prefix + out, x, None, None, eps), self.width(x))

    def linear(
        self, out: str, x: str, weight: str, rows: tuple[int, int] | None = None, has_bias: bool = True
    ) -> str:
        """The product with a matrix, plus its bias and times its scale if the file has them.

        `rows` (first, end): only these rows of a matrix that holds several.
        """
        matrix = self.weight(weight)
        bias = self.optional_tensor(f"{weight}.bias") if has_bias else None
        if len(matrix.shape) == 1:
            matrix = matrix.reshaped((1, matrix.shape[0]))
        if rows is not None:
            matrix, bias = matrix.rows(*rows), bias and bias.rows(*rows)
        scale = self.scale_of(weight)
        return self._add(ops.Linear(self._prefix + out, x, matrix, bias, scale), matrix.shape[0])

    def rope(self, out: str, x: str, head_dim: int, pairing: Pairing, table: str) -> str:
        width = self.width(x)
        n_rot = 2 * len(self._rope_tables[table].inv_freq)
        return self._add(
            ops.Rope(self._prefix + out, x, width // head_dim, head_dim, n_rot, pairing, table), width
        )

    def query_scale(self, out: str, x: str, strength: float, step: int, offset: int = 0) -> str:
        op = ops.QueryScale(self._prefix + out, x, strength, step, offset)
        return self._add(op, self.width(x))

    def attention(
        self,
        out: str,
        q: str,
        k: str,
        v: str,
        head_dim: int,
        scale: float,
        window: int = 0,
        *,
        chunk: int = 0,
        soft_cap: float = 0.0,
        alibi_bias: float = 0.0,
        sinks: str = "",
        is_causal: bool = True,
    ) -> str:
        """Attention with a cache of its own, which is added to the states of the plan."""
        n_heads, n_kv_heads = self.width(q) // head_dim, self.width(k) // head_dim
        value_dim = self.width(v) // n_kv_heads
        op = ops.Attention(
            self._prefix + out,
            q,
            k,
            v,
            len(self._states),
            n_heads,
            n_kv_heads,
            head_dim,
            scale,
            window,
            value_dim if value_dim != head_dim else 0,
            soft_cap,
            alibi_bias,
            self.weight(sinks) if sinks else None,
            chunk,
            is_causal,
        )
        kept = min(window or chunk, chunk or window)
        self._add_state(KVSpec(n_kv_heads, head_dim, kept, op.value_dim))
        return self._add(op, n_heads * value_dim)

    def shared_attention(self, out: str, q: str, like: str) -> str:
        """Attention to the keys and values of the attention that writes the buffer `like`, set up as that."""
        owner = next(op for op in self._ops if op.out == like and isinstance(op, ops.Attention))
        n_heads = self.width(q) // owner.head_dim
        op = replace(owner, out=self._prefix + out, q=q, k="", v="", n_heads=n_heads)
        return self._add(op, n_heads * (owner.value_dim or owner.head_dim))

    def silu_mul(self, out: str, gate: str, up: str) -> str:
        return self._add(ops.SiluMul(self._prefix + out, gate, up), self.width(gate))

    def gelu_mul(self, out: str, gate: str, up: str) -> str:
        return self._add(ops.GeluMul(self._prefix + out, gate, up), self.width(gate))

    def swiglu_oai(self, out: str, gate: str, up: str) -> str:
        return self._add(ops.SwigluOai(self._prefix + out, gate, up), self.width(gate))

    def activate(self, out: str, x: str, function: Activation) -> str:
        return self._add(ops.Activate(self._prefix + out, x, function), self.width(x))

    def xielu(self, out: str, x: str, alpha_n: float, alpha_p: float, beta: float, eps: float) -> str:
        return self._add(ops.Xielu(self._prefix + out, x, alpha_n, alpha_p, beta, eps), self.width(x))

    def scale(self, out: str, x: str, factor: float) -> str:
        """x times a factor; x itself if that is 1."""
        return x if factor == 1 else self._add(ops.Scale(self._prefix + out, x, factor), self.width(x))

    def scale_columns(
        self, out: str, x: str, tensor: str, divides: bool = False, row: int | None = None
    ) -> str:
        """x times (or divided by) the tensor of exactly this name, or a row of it, column by column."""
        weight = self.tensor(tensor) if row is None else self.tensor(tensor).rows(row, row + 1)
        return self._add(ops.ScaleColumns(self._prefix + out, x, weight, divides), self.width(x))

    def clamp(self, out: str, x: str, limit: float) -> str:
        """x within -limit .. limit; x itself if that is 0."""
        op = ops.Clamp(self._prefix + out, x, -limit, limit)
        return x if limit == 0 else self._add(op, self.width(x))

    def cap(self, out: str, x: str, limit: float) -> str:
        """x, at most limit."""
        return self._add(ops.Clamp(self._prefix + out, x, -math.inf, limit), self.width(x))

    def soft_cap(self, out: str, x: str, cap: float) -> str:
        """cap * tanh(x / cap); x itself if the cap is 0."""
        return x if cap == 0 else self._add(ops.SoftCap(self._prefix + out, x, cap), self.width(x))

    def add(self, out: str, a: str, b: str) -> str:
        return self._add(ops.Add(self._prefix + out, a, b), self.width(a))

    def add_vector(self, out: str, x: str, tensor: str, row: int | None = None) -> str:
        """Adds the tensor of exactly this name, in block or model, or one of its rows, to each row."""
        owner, width = self if self.has_tensor(tensor) else self.whole_model, self.width(x)
        vector = owner.tensor(tensor) if row is None else owner.tensor(tensor).rows(row, row + 1)
        return self._add(ops.AddVector(self._prefix + out, x, vector.reshaped((width,))), width)

    def add_row(self, out: str, x: str, weight: str, row: int) -> str:
        """Adds one row of a matrix to every row of x."""
        matrix = self.weight(weight)
        vector = matrix.rows(row, row + 1).reshaped(matrix.shape[1:])
        return self._add(ops.AddVector(self._prefix + out, x, vector), self.width(x))

    def mul(self, out: str, a: str, b: str) -> str:
        return self._add(ops.Mul(self._prefix + out, a, b), self.width(a))

    def take_columns(self, out: str, x: str, start: int, n: int, n_groups: int = 1) -> str:
        """The columns start .. start + n of each of n_groups equal parts of x."""
        return self._add(ops.TakeColumns(self._prefix + out, x, n_groups, start, n), n_groups * n)

    def join_columns(self, out: str, a: str, b: str, n_groups: int = 1) -> str:
        """Each of n_groups equal parts of a, followed by that part of b."""
        width = self.width(a) + self.width(b)
        return self._add(ops.JoinColumns(self._prefix + out, a, b, n_groups), width)

    def repeat_columns(self, out: str, x: str, n: int, n_groups: int = 1) -> str:
        """Each of n_groups equal parts of x, repeated n times."""
        return self._add(ops.RepeatColumns(self._prefix + out, x, n, n_groups), n * self.width(x))

    def head_linear(self, out: str, x: str, weight: str, n_heads: int) -> str:
        """Each head times its own matrix, of a stack or of one matrix whose rows are those of all heads."""
        stack = self.weight(weight)
        if len(stack.shape) == 2:
            stack = stack.reshaped((n_heads, stack.shape[0] // n_heads, stack.shape[1]))
        return self._add(ops.HeadLinear(self._prefix + out, x, stack), n_heads * stack.shape[1])

    def route(
        self,
        ids: str,
        out: str,
        x: str,
        n_used: int,
        gating: Gating,
        *,
        is_normalized: bool,
        scale: float = 1.0,
        n_groups: int = 1,
        n_groups_used: int = 1,
        n_sharing: int = 1,
    ) -> tuple[str, str]:
        """Returns the buffers of the numbers of the chosen experts and of their weights."""
        bias = self.optional_tensor("exp_probs_b.bias") or self.optional_tensor("exp_probs_b")
        ids, out = self._prefix + ids, self._prefix + out
        op = ops.Route(
            out, ids, x, n_used, gating, bias, is_normalized, scale, n_groups, n_groups_used, n_sharing
        )
        self._add(op, n_used)
        return ids, out

    def expert_linear(self, out: str, x: str, ids: str, weight: str) -> str:
        stack, bias = self.weight(weight), self.optional_tensor(f"{weight}.bias")
        op = ops.ExpertLinear(self._prefix + out, x, ids, stack, bias, self.scales_of(weight, stack.shape[0]))
        return self._add(op, self.width(ids) * stack.shape[1])

    def expert_sum(self, out: str, x: str, weights: str) -> str:
        width = self.width(x) // self.width(weights)
        return self._add(ops.ExpertSum(self._prefix + out, x, weights), width)

    def select_rows(self, x: str) -> None:
        """From here on only the rows are computed whose logits are wanted."""
        self.width(x)
        self._ops.append(ops.SelectRows(x, (x,)))

    def embeddings(self, x: str) -> None:
        """Ends the graph of an encoder: x holds the embeddings of the tokens."""
        self.select_rows(x)
        self._output = x
