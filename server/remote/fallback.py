"""How a model is loaded where memory is short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.executors.choose import ExecutorOptions
from ...engine.executors.numba.footprint import footprint
from ...engine.model import Model
from ...errors import ModelError
from ...kernels.attention.cache_type import CacheTypeName
from ...system.free_memory import free_memory

_BY_SIZE: tuple[CacheTypeName, ...] = ("f32", "f16", "q8_0", "q4_0")
_N_SEQUENCES = 32


def affordable(path: str, given: Mapping[str, Any], falls_back: bool) -> tuple[dict[str, Any], str]:
    """The arguments of `LLM` for a model that is about to be loaded, and what is to be said of them; nothing
    is said, and nothing is changed, where memory is enough.

    Otherwise weights stay in the file, and if that is not enough, keys and values take less. ModelError if
    even that does not fit, or must not be, unless it `falls_back`; and what loading the model raises.
    """
    options, free = dict(given), free_memory()
    checked = ExecutorOptions.among(options)
    if free is None or checked.executor != "numba":
        return options, ""
    model = Model.load(path)
    try:
        n_ctx = checked.n_ctx or model.default_n_ctx
        plan = model.plan.for_context(n_ctx)
        problem = ""
        for weights, cache_type in _choices(checked):
            need = footprint(plan, n_ctx, checked.n_batch, cache_type)
            n_further = (checked.n_seq_max or min(_N_SEQUENCES, checked.n_batch)) - 1
            states = need.states + n_further * need.sequence + need.pool(checked.n_pool_tokens)
            n_weights = need.weights if weights == "packed" else 0
            if n_weights + states + need.buffers <= free:
                break
            problem = problem or (
                f"{path}: needs {(n_weights + states + need.buffers) / 1e6:,.0f} MB of memory,"
                f" {n_weights / 1e6:,.0f} of them for weights and {states / 1e6:,.0f} for keys and values,"
                f" but {free / 1e6:,.0f} MB are free"
            )
            if not falls_back:
                raise ModelError(f"{problem}; {_REMEDY}, or let it fall back on mapped weights")
        else:
            raise ModelError(
                f"{problem}, too few even with mapped weights and keys and values of q4_0; {_REMEDY}"
            )
        if not problem:
            return options, ""
        changes = {"weights": weights, "cache_type": cache_type}
        smaller = f" and keys and values are {cache_type}" if cache_type != _cache_type(checked) else ""
        return options | changes, f"{problem}; so its weights stay in the file, which is slower{smaller}"
    finally:
        model.close()


_REMEDY = "a smaller quantization, a smaller `n_ctx` or `n_seq_max` takes less"


def _cache_type(options: ExecutorOptions) -> CacheTypeName:
    return options.cache_type or "f16"


def _choices(options: ExecutorOptions) -> Iterator[tuple[str, CacheTypeName]]:
    """Weights and types of keys and values: what was asked for, then what takes less and less."""
    asked = _cache_type(options)
    yield options.weights, asked
    if options.mlock:  # then they are to be in memory
        return
    if options.weights == "packed":
        yield "mapped", asked
    for smaller in _BY_SIZE[_BY_SIZE.index(asked) + 1 :]:
        yield "mapped", smaller
