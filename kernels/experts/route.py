"""The router of a mixture of experts: which experts each token goes to, and how much each counts.

    p      = softmax(logits), sigmoid(logits), sqrt(softplus(logits)), or for "softmax of chosen" the logits
    s      = p + bias                                 the bias only helps to choose (DeepSeek V3)
    groups: only experts in the n_groups_used (of n_groups) groups with the highest sum of their two best s
    ids    = the n_used experts with the highest s, highest first; of equals the first
    ids    = ids // n_sharing                         n_sharing neighbours are one expert (GroveMoE)
    w      = p[ids], for "softmax of chosen" its softmax (gpt-oss)
    w      = w / max(sum w, 2^-14)                    where `is_normalized`
    w      = w * scale

    logits  (n, n_experts) float32      bias  (n_experts,) float32 or None
    ids     (n, n_used) int64           w     (n, n_used) float32

Sources: Shazeer et al. 2017 (arXiv:1701.06538); Jiang et al. 2024, "Mixtral" (arXiv:2401.04088); DeepSeek-AI
2024, "DeepSeek-V3" (arXiv:2412.19437), section 2.1.2; Wu et al. 2025, "GroveMoE" (arXiv:2508.07785).
"""

import numpy as np
from numpy.typing import NDArray

from ..choices import Gating
from ..elementwise.activation import sigmoid, sigmoid_lanes, softplus, softplus_lanes
from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64, Pointer
from ..language.record import PointerTo, Record
from ..language.rows import LANES, check_rows, padded_width, share
from ..language.simd import load, reduce_max, splat, sqrt, store
from ..language.source import inlined

_LEAST_SUM = np.float32(2.0**-14)  # the smallest normal float16


def _softmax(x: Array) -> Array:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def route_reference(
    logits: Array,
    n_used: int,
    gating: Gating = "softmax",
    bias: Array | None = None,
    is_normalized: bool = True,
    scale: float = 1.0,
    n_groups: int = 1,
    n_groups_used: int = 1,
    n_sharing: int = 1,
) -> tuple[NDArray[np.int64], Array]:
    """logits (n, n_experts) -> ids (n, n_used), weights (n, n_used)."""
    check_array("logits", logits, (None, None))
    n, n_experts = logits.shape
    if not 0 < n_used <= n_experts:
        raise ValueError(f"cannot choose {n_used} of {n_experts} experts")
    if gating == "softmax":
        p = _softmax(logits)
    elif gating == "sigmoid":
        p = sigmoid(logits)
    elif gating == "sqrt softplus":
        p = np.sqrt(softplus(logits))
    else:
        p = logits
    score = p if bias is None else p + bias
    if n_groups > 1:
        grouped = score.reshape(n, n_groups, -1)
        best_two = np.sort(grouped, axis=2)[:, :, -2:].sum(axis=2)
        is_out = np.argsort(-best_two, axis=1, kind="stable")[:, n_groups_used:]
        grouped = grouped.copy()
        np.put_along_axis(grouped, is_out[:, :, None], np.float32(-np.inf), axis=1)
        score = grouped.reshape(n, n_experts)
    ids = np.argsort(-score, axis=1, kind="stable")[:, :n_used] // n_sharing
    weights = np.take_along_axis(p, ids, axis=1)
    if gating == "softmax of chosen":
        weights = _softmax(weights)
    if is_normalized:
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_SUM)
    return ids, weights * np.float32(scale)


_GATINGS = ("softmax", "sigmoid", "softmax of chosen", "sqrt softplus")


def route_scratch(n_experts: int, n_threads: int) -> Array:
    """Working memory of the threads: for each expert its p, its score, and whether it is taken."""
    return np.zeros((n_threads, 3 * padded_width(n_experts)), np.float32)


def bind_route(
    logits: Array,
    ids: Array,
    weights: Array,
    n_tokens: Count,
    scratch: Array,
    n_experts: int,
    n_used: int,
    gating: Gating,
    bias: Array | None,
    is_normalized: bool,
    scale: float,
    n_groups: int = 1,
    n_groups_used: int = 1,
    n_sharing: int = 1,
) -> Call:
    """Route the rows of a buffer. The ids are written as float32 numbers; bias is (n_experts,).

    Raises TypeError or ValueError for what does not fit.
    """
    n_max_tokens, ld = check_rows(n_tokens, n_experts, logits=logits)
    _, ld_out = check_rows(n_tokens, n_used, ids=ids, weights=weights)
    check_array("ids", ids, (n_max_tokens, None))
    check_array("scratch", scratch, (None, 3 * ld))
    if not 0 < n_used <= n_experts:
        raise ValueError(f"cannot choose {n_used} of {n_experts} experts")
    if n_groups < 1 or n_experts % n_groups or not 0 < n_groups_used <= n_groups:
        raise ValueError(f"cannot choose {n_groups_used} of {n_groups} groups of {n_experts} experts")
    if n_sharing < 1:
        raise ValueError(f"{n_sharing} neighbours cannot share an expert")
    bias = np.zeros(n_experts, np.float32) if bias is None else bias
    check_array("bias", bias, (n_experts,))
    return _route.bind(
        logits=logits,
        ids=ids,
        weights=weights,
        n_tokens=n_tokens,
        scratch=scratch,
        bias=bias,
        ld=ld,
        ld_out=ld_out,
        n_experts=n_experts,
        n_used=n_used,
        gating=_GATINGS.index(gating),
        is_normalized=int(is_normalized),
        n_groups=n_groups,
        n_groups_used=n_groups_used,
        n_sharing=n_sharing,
        scale=scale,
    )


@inlined
def _softmax_in_place(p: Pointer, n: int) -> None:
    highest = p[0]
    for i in range(1, n):
        highest = max(highest, p[i])
    total = np.float32(0.0)
    for i in range(n):
        p[i] = reduce_max(exp(splat(p[i] - highest, F32, LANES)))
        total += p[i]
    for i in range(n):
        p[i] = p[i] / total


@inlined
def _best(score: Pointer, is_taken: Pointer, n: int) -> int:
    """The highest score that is not taken, of equals the first."""
    best = -1
    for i in range(n):
        if is_taken[i] == 0.0 and (best < 0 or score[i] > score[best]):
            best = i
    return best


@inlined
def _two_best(score: Pointer, n: int) -> np.float32:
    """The sum of the two highest scores; of one, if there are no more."""
    first = score[0]
    second = np.float32(-np.inf) if n > 1 else np.float32(0.0)
    for i in range(1, n):
        if score[i] > first:
            second = first
            first = score[i]
        elif score[i] > second:
            second = score[i]
    return first + second


@kernel(
    Record(
        logits=PointerTo(F32),
        ids=PointerTo(F32),
        weights=PointerTo(F32),
        n_tokens=PointerTo(I64),
        scratch=PointerTo(F32),
        bias=PointerTo(F32),
        ld=I64,
        ld_out=I64,
        n_experts=I64,
        n_used=I64,
        gating=I64,
        is_normalized=I64,
        n_groups=I64,
        n_groups_used=I64,
        n_sharing=I64,
        scale=F32,
    )
)
def _route(args, thread_id, n_threads):
    n, n_used, n_groups = args.n_experts, args.n_used, args.n_groups
    p = args.scratch + thread_id * 3 * args.ld
    score, is_taken = p + args.ld, p + 2 * args.ld
    per_group = n // n_groups
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        logits = args.logits + token * args.ld
        ids, weights = args.ids + token * args.ld_out, args.weights + token * args.ld_out
        for i in range(0, args.ld, LANES):
            value = load(logits + i, LANES)
            if args.gating == 1:
                store(p + i, sigmoid_lanes(value))
            elif args.gating == 3:
                store(p + i, softplus_lanes(value))
            else:
                store(p + i, value)
        if args.gating == 0:
            _softmax_in_place(p, n)
        if args.gating == 3:
            for i in range(n):
                p[i] = sqrt(p[i])
        for i in range(n):
            score[i] = p[i] + args.bias[i]

        if n_groups > 1:  # all are taken but those of the best groups
            for i in range(n):
                is_taken[i] = 1.0
            for _ in range(args.n_groups_used):
                best, highest = -1, np.float32(0.0)
                for group in range(n_groups):
                    sum_of_two = _two_best(score + group * per_group, per_group)
                    is_free = is_taken[group * per_group] == 1.0
                    if is_free and (best < 0 or sum_of_two > highest):
                        best, highest = group, sum_of_two
                for i in range(best * per_group, (best + 1) * per_group):
                    is_taken[i] = 0.0
        else:
            for i in range(n):
                is_taken[i] = 0.0

        for slot in range(n_used):
            best = _best(score, is_taken, n)
            is_taken[best] = 1.0
            best = best // args.n_sharing
            ids[slot] = np.float32(best)
            weights[slot] = p[best]
        if args.gating == 2:
            _softmax_in_place(weights, n_used)
        if args.is_normalized == 1:
            total = np.float32(0.0)
            for slot in range(n_used):
                total += weights[slot]
            for slot in range(n_used):
                weights[slot] = weights[slot] / max(total, _LEAST_SUM)
        for slot in range(n_used):
            weights[slot] = weights[slot] * args.scale
