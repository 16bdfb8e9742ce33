"""Plan -> program: each operation becomes one or more kernel calls on memory that is fixed once.

Two things are decided here. *Memory*: which array each buffer gets, and that a linear layer's input is
rounded to 8 bits once, however many matrices read it. *Meeting points*: the threads of a team wait for each
other after a call only if a later call reads or overwrites what has been written since they last met; so the
q, k and v products run without a pause in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import GGUFUnsupportedError
from ..gguf_io.tensor import Tensor
from ..kernels.decode_row import ROW_DECODERS
from ..kernels.embedding import bind_embedding
from ..kernels.float_linear import bind_float_linear
from ..kernels.kernel import Call
from ..kernels.linear import bind_add_bias
from ..kernels.quantize import bind_quantize
from ..kernels.quantized_linear import bind_quantized_linear
from . import ops
from .lowering import Place, is_lowered, lower
from .memory import Memory, aligned_zeros
from .packed_matrix import PackedMatrix, pack_tensor, row_vector
from .plan import Plan


def require_lowered(plan: Plan) -> None:
    """Raises GGUFUnsupportedError if the plan has an operation that this executor has no kernel for."""
    for op in plan.ops:
        is_known = is_lowered(op) or isinstance(op, ops.Embed | ops.SelectRows | ops.Linear)
        if isinstance(op, ops.Attention):
            is_known = op.is_plain
        if not is_known:
            raise GGUFUnsupportedError(
                f"the numba executor does not know the operation {type(op).__name__} that {op.out} needs yet;"
                ' use executor="reference"'
            )


@dataclass(frozen=True)
class Step:
    """One kernel call, the memory that it reads and writes, and its multiplications for one token."""

    call: Call
    reads: tuple[NDArray, ...]
    writes: tuple[NDArray, ...]
    macs_per_token: int = 0


def meeting_points(steps: list[Step]) -> list[bool]:
    """For each step, whether all threads must have finished it before any goes on to the next."""
    meet = [False] * len(steps)
    read: list[NDArray] = []
    written: list[NDArray] = []
    for i, step in enumerate(steps):
        if _overlap(step.reads, written) or _overlap(step.writes, read + written):
            meet[i - 1] = True
            read, written = [], []
        read.extend(step.reads)
        written.extend(step.writes)
    return meet


def _overlap(some: Iterable[NDArray], others: Iterable[NDArray]) -> bool:
    return any(np.may_share_memory(a, b) for a in some for b in others)


@dataclass
class Quantized:
    """Memory for the 8-bit form of a buffer, and which buffer it holds now."""

    q: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int32]
    half: NDArray[np.int32]
    holds: str = ""

    @classmethod
    def make(cls, n_rows: int, n_in: int) -> Quantized:
        scale, sums, half = (
            aligned_zeros((n_rows, n_in // 32), dtype) for dtype in (np.float32, np.int32, np.int32)
        )
        return cls(aligned_zeros((n_rows, n_in), np.int8), scale, sums, half)


@dataclass
class Rows:
    """A range of the plan whose buffers have the same number of rows: all tokens of a step, or those with
    logits."""

    n_max: int
    count: NDArray[np.int64] = field(default_factory=lambda: aligned_zeros((8,), np.int64))
    quantized: dict[int, Quantized] = field(default_factory=dict)


class ProgramBuilder:
    """Turns a plan into steps. `attention` makes the steps of an `Attention` operation from its q, k, v and
    out buffers."""

    def __init__(
        self,
        plan: Plan,
        n_batch: int,
        n_head_rows: int,
        n_threads: int,
        attention: Callable[[ops.Attention, NDArray, NDArray, NDArray, NDArray, Rows], list[Step]],
        matrices: dict[str, PackedMatrix],
        positions: NDArray[np.int64],
    ) -> None:
        self.plan = plan
        self.positions = positions
        self.tokens, self.wanted = Rows(n_batch), Rows(n_head_rows)
        self.buffers: dict[str, NDArray[np.float32]] = {}
        self.matrices = matrices
        self.ids = aligned_zeros((n_batch,), np.int64)
        self.angles = {
            name: tuple(aligned_zeros((n_batch, len(table.inv_freq)), np.float32) for _ in range(2))
            for name, table in plan.rope_tables.items()
        }
        self.query_scales = {
            (op.strength, op.step): aligned_zeros((n_batch,), np.float32)
            for op in plan.ops
            if isinstance(op, ops.QueryScale)
        }
        self._attention = attention
        self._rows = self.tokens
        self._memory = Memory()
        self._last_read = {name: i for i, op in enumerate(plan.ops) for name in op.inputs}
        self.steps: list[Step] = []
        self.n_body = 0
        """How many steps come before `SelectRows`."""
        self._n_threads = n_threads
        with ThreadPoolExecutor(n_threads) as self._threads:
            for i, op in enumerate(plan.ops):
                self.steps.extend(self._lower(op))
                for name in set(op.inputs):
                    if self._last_read[name] == i:
                        self._memory.give_back(self.buffers[name], plan.buffers[name])

    @property
    def n_buffer_bytes(self) -> int:
        """Memory of all buffers."""
        return self._memory.n_bytes

    def _lower(self, op: ops.Op) -> Iterator[Step]:
        if isinstance(op, ops.SelectRows):
            self._rows = self.wanted
            self.n_body = len(self.steps)
        out = self._memory.take(self._rows.n_max, self.plan.buffers[op.out])
        self.buffers[op.out] = out
        inputs = [self.buffers[name] for name in op.inputs]
        count = self._rows.count
        match op:
            case ops.SelectRows():
                return  # written by the runner
            case ops.Embed():
                if op.weight.format in ROW_DECODERS:  # else written by the runner
                    yield self._embed(op, out)
                return
            case ops.Linear():
                yield from self._linear(op, out)
                return
            case ops.Attention():
                yield from self._attention(op, inputs[0], inputs[1], inputs[2], out, self._rows)
                return
            case _:
                place = Place(self.plan, inputs, out, count, self.positions, self.angles, self.query_scales)
                for call in lower(op, place):
                    yield Step(call, tuple(inputs), (out,))

    def _embed(self, op: ops.Embed, out: NDArray[np.float32]) -> Step:
        table = op.weight
        n_vocab, width = table.shape
        call = bind_embedding(
            table.format, table.data, self.ids, out, self._rows.count, n_vocab, width, op.scale
        )
        return Step(call, (self.ids,), (out,))

    def _linear(self, op: ops.Linear, out: NDArray[np.float32]) -> Iterator[Step]:
        matrix = self.pack(op.weight)
        x, count = self.buffers[op.x], self._rows.count
        n_out, n_in = op.weight.shape
        if matrix.layout is None:
            call = bind_float_linear(matrix.format, matrix.data, x, out, count)
            yield Step(call, (x,), (out,), n_out * n_in)
        else:
            if n_in not in self._rows.quantized:
                self._rows.quantized[n_in] = Quantized.make(self._rows.n_max, n_in)
            quantized = self._rows.quantized[n_in]
            xs = (quantized.q, quantized.scale, quantized.sums, quantized.half)
            if quantized.holds != op.x:
                quantized.holds = op.x
                yield Step(bind_quantize(x, *xs, count, n_in), (x,), xs)
            call = bind_quantized_linear(matrix.layout, matrix.data.reshape(-1), *xs, out, count)
            yield Step(call, xs, (out,), n_out * n_in)
        if op.bias is not None:
            bias = row_vector(op.bias, out.shape[1])
            yield Step(bind_add_bias(out, bias, count), (out,), (out,))

    def pack(self, tensor: Tensor) -> PackedMatrix:
        """The packed form of a tensor, made once."""
        if tensor.name not in self.matrices:
            self.matrices[tensor.name] = pack_tensor(tensor, self._threads, self._n_threads)
        return self.matrices[tensor.name]
