"""Grouping of tokens by expert: (token, slot) pairs sorted by expert, their inputs side by side.

    pair i    token[i], slot[i]; those of expert e have first[e] <= i < first[e + 1], in their old order
    cost[e]   what the experts before e cost, for sharing the work among threads

    ids    (n, n_used) float32, numbers of experts        token, slot  (n * n_used,) int64
    first, cost  (n_experts + 2,) int64

An expert's matrix is then unpacked once for several tokens. Ids of no expert, NaN too, count as n_experts:
their pairs come last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64, U8
from ..language.record import PointerTo, Record
from ..language.rows import check_n_tokens, share
from ..language.simd import load, store
from ..language.source import inlined

COST_OF_READING = 2
"""The cost of reading an expert's weights, as a number of tokens that could be multiplied in that time."""
BYTES_AT_ONCE = 32


@dataclass(frozen=True)
class Groups:
    """Memory for the pairs of up to n_max tokens, and the numbers of experts: of all, and of those that a
    token uses."""

    token: NDArray[np.int64]
    slot: NDArray[np.int64]
    first: NDArray[np.int64]
    cost: NDArray[np.int64]
    n_used: int

    @classmethod
    def make(cls, n_max: int, n_used: int, n_experts: int) -> Groups:
        token, slot = np.zeros((2, n_max * n_used), np.int64)
        first, cost = np.zeros((2, n_experts + 2), np.int64)
        return cls(token, slot, first, cost, n_used)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """All of its memory."""
        return self.token, self.slot, self.first, self.cost

    @property
    def n_experts(self) -> int:
        """How many experts there are to choose from."""
        return len(self.first) - 2


def group_reference(ids: Array, n_experts: int) -> tuple[NDArray, NDArray, NDArray]:
    """ids (n, n_used) -> token, slot (n * n_used,) and first (n_experts + 2,)."""
    check_array("ids", ids, (None, None))
    expert = np.where((ids >= 0) & (ids < n_experts), ids, n_experts).astype(np.int64).reshape(-1)
    order = np.argsort(expert, kind="stable")
    first = np.searchsorted(expert[order], np.arange(n_experts + 2))
    return order // ids.shape[1], order % ids.shape[1], first


def bind_group(ids: Array, groups: Groups, n_tokens: Count) -> Call:
    """Group the pairs of all tokens by expert. ids is a buffer, or (1, at least n_used): the same for all
    tokens.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    check_n_tokens(n_tokens)
    n_pairs, n_used = len(groups.token), groups.n_used
    check_array("ids", ids, (1 if len(ids) == 1 else n_pairs // n_used, None))
    if ids.shape[1] < n_used:
        raise ValueError(f"ids has {ids.shape[1]} columns for {n_used} experts")
    for name, size in (("token", n_pairs), ("slot", n_pairs), ("first", None), ("cost", len(groups.first))):
        check_array(name, getattr(groups, name), (size,), np.int64)
    return _group.bind(
        ids=ids,
        token=groups.token,
        slot=groups.slot,
        first=groups.first,
        cost=groups.cost,
        n_tokens=n_tokens,
        n_used=n_used,
        n_experts=groups.n_experts,
        ld_ids=0 if len(ids) == 1 else ids.shape[1],
    )


def bind_gather(x: NDArray, out: NDArray, groups: Groups, slot_width: int) -> Call:
    """out[i] = x[token[i], slot[i] * slot_width :][:n] for all pairs.

    x (n_max, ld); out (n_max * n_used, n) of the same dtype. With slot_width 0 a token's slots have the same
    input. Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("x", x, (len(groups.token) // groups.n_used, None), x.dtype)
    check_array("out", out, (len(groups.token), None), x.dtype)
    last = (groups.n_used - 1) * slot_width + out.shape[1]
    if slot_width < 0 or last > x.shape[1]:
        raise ValueError(f"x has {x.shape[1]} columns; {groups.n_used} slots need {last}")
    size = x.itemsize
    return _gather.bind(
        x=x.view(np.uint8),
        out=out.view(np.uint8),
        token=groups.token,
        slot=groups.slot,
        first=groups.first,
        n_experts=groups.n_experts,
        n_bytes=out.shape[1] * size,
        slot_bytes=slot_width * size,
        ld=x.shape[1] * size,
    )


@inlined
def _expert(number: float, n_experts: int) -> int:
    """The id as an integer; n_experts if it is that of no expert."""
    if number >= 0.0 and number < n_experts:
        return np.int64(number)  # type: ignore[return-value]
    return n_experts


@kernel(
    Record(
        ids=PointerTo(F32),
        token=PointerTo(I64),
        slot=PointerTo(I64),
        first=PointerTo(I64),
        cost=PointerTo(I64),
        n_tokens=PointerTo(I64),
        n_used=I64,
        n_experts=I64,
        ld_ids=I64,
    )
)
def _group(args, thread_id, n_threads):
    """A counting sort, by one thread: a thousandth of the work of the products."""
    if thread_id == 0:
        first, n_used, n_experts = args.first, args.n_used, args.n_experts
        for expert in range(n_experts + 2):
            first[expert] = 0
        for t in range(args.n_tokens[0]):
            for s in range(n_used):
                first[_expert(args.ids[t * args.ld_ids + s], n_experts)] += 1
        end, cost = 0, 0
        for expert in range(n_experts + 1):
            n = first[expert]
            args.cost[expert] = cost
            if n > 0:
                cost += n + COST_OF_READING
            end += n
            first[expert] = end
        first[n_experts + 1] = end
        args.cost[n_experts + 1] = cost
        # Backwards, so that `first` is in the end where each expert begins.
        for from_last in range(args.n_tokens[0]):
            t = args.n_tokens[0] - 1 - from_last
            for s_from_last in range(n_used):
                s = n_used - 1 - s_from_last
                expert = _expert(args.ids[t * args.ld_ids + s], n_experts)
                i = first[expert] - 1
                first[expert] = i
                args.token[i] = t
                args.slot[i] = s


@kernel(
    Record(
        x=PointerTo(U8),
        out=PointerTo(U8),
        token=PointerTo(I64),
        slot=PointerTo(I64),
        first=PointerTo(I64),
        n_experts=I64,
        n_bytes=I64,
        slot_bytes=I64,
        ld=I64,
    )
)
def _gather(args, thread_id, n_threads):
    whole = args.n_bytes - args.n_bytes % BYTES_AT_ONCE
    begin, end = share(args.first[args.n_experts + 1], thread_id, n_threads)
    for i in range(begin, end):
        x = args.x + (args.token[i] * args.ld + args.slot[i] * args.slot_bytes)
        out = args.out + i * args.n_bytes
        for j in range(0, whole, BYTES_AT_ONCE):
            store(out + j, load(x + j, BYTES_AT_ONCE))
        for j in range(whole, args.n_bytes):
            out[j] = x[j]
