"""Which of the two executors runs a model, with how many threads and tokens, and which weights."""

from typing import Any, Literal

from ...errors import RequestError
from ..model import Model
from .base import Executor

ExecutorName = Literal["numba", "reference"]
WeightsName = Literal["packed", "mapped"]

_MAX_N_CTX = 2**31 - 1
_MAX_THREADS = 256
_MAX_SEQUENCES = 1024
N_SEQ_MAX = 32
"""How many sequences run side by side unless the user says otherwise."""


def check_options(
    n_ctx: int | None,
    n_threads: int | None,
    executor: ExecutorName,
    n_batch: int,
    weights: WeightsName,
    n_seq_max: int | None,
    n_pool_tokens: int | None,
) -> None:
    """RequestError unless the options of `LLM` are in range and go together; None: whatever suits."""
    if n_ctx is not None:
        _check_range("n_ctx", n_ctx, _MAX_N_CTX)
    if n_threads is not None:
        _check_range("n_threads", n_threads, _MAX_THREADS)
    _check_range("n_batch", n_batch, _MAX_N_CTX)
    if n_seq_max is not None:
        _check_range("n_seq_max", n_seq_max, _MAX_SEQUENCES)
        if n_seq_max > n_batch:
            raise RequestError(
                f"n_seq_max={n_seq_max} sequences do not fit in a step of n_batch={n_batch} tokens: choose"
                " fewer, or larger steps"
            )
    if n_pool_tokens is not None:
        _check_range("n_pool_tokens", n_pool_tokens, 2**40)
    if executor not in ("numba", "reference"):
        raise RequestError(f'executor must be "numba" or "reference", not {executor!r}')
    if weights not in ("packed", "mapped"):
        raise RequestError(f'weights must be "packed" or "mapped", not {weights!r}')
    if weights == "mapped" and executor == "reference":
        raise RequestError('weights="mapped" goes with executor="numba" only')


def _check_range(name: str, value: Any, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise RequestError(f"{name} must be an integer from 1 to {high}, not {value!r:.100}")


def make_executor(
    model: Model,
    executor: ExecutorName,
    weights: WeightsName,
    n_ctx: int,
    n_threads: int,
    n_batch: int,
    n_seq_max: int,
    n_pool_tokens: int | None,
) -> Executor:
    """Each is imported only when it is wanted, so that the reference never waits for Numba."""
    made: Executor
    if n_pool_tokens is not None and n_pool_tokens < n_ctx:
        raise RequestError(
            f"n_pool_tokens={n_pool_tokens} has no room for a sequence of n_ctx={n_ctx} tokens: choose a"
            " larger pool, or a smaller context"
        )
    if executor == "reference":
        from .reference.executor import ReferenceExecutor

        made = ReferenceExecutor(model.plan, n_ctx, n_batch, n_seq_max=n_seq_max)
    else:
        from .numba.compile_notice import announce_compiling
        from .numba.executor import NumbaExecutor
        from .numba.storage.packed_matrix import map_tensor

        announce_compiling()
        matrices = {t.name: map_tensor(t) for t in model.plan.matrices} if weights == "mapped" else None
        made = NumbaExecutor(
            model.plan,
            n_ctx,
            n_threads,
            n_batch,
            matrices,
            n_seq_max=n_seq_max,
            n_pool_tokens=n_pool_tokens or n_ctx,
        )
    made.before_step = model.file.check_unchanged
    return made
