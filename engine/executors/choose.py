"""Which of the two executors runs a model, with how many threads, tokens and sequences, which weights and
cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self

from ...errors import RequestError
from ...kernels.attention.cache_type import CACHE_TYPES, CacheTypeName
from ...system.placement import NumaStrategy, Placement, on_cpus, place_threads
from ..model import Model
from .base import Executor

ExecutorName = Literal["numba", "reference"]
WeightsName = Literal["packed", "mapped"]

_MAX_N_CTX = 2**31 - 1
_MAX_THREADS = 256
_MAX_SEQUENCES = 1024
_N_SEQUENCES = 32


@dataclass(frozen=True)
class ExecutorOptions:
    """The arguments of `LLM` that say how a model runs, checked: RequestError unless they are in range and go
    together. None: whatever suits."""

    n_ctx: int | None = None
    n_threads: int | None = None
    executor: ExecutorName = "numba"
    n_batch: int = 512
    n_seq_max: int | None = None
    n_pool_tokens: int | None = None
    weights: WeightsName = "packed"
    cache_type: CacheTypeName | None = None
    mlock: bool = False
    numa: NumaStrategy = "disabled"
    cpu_affinity: Sequence[int] | None = None
    n_gpu_layers: int = 0

    @classmethod
    def among(cls, options: Mapping[str, Any]) -> Self:
        """Those that are among other arguments of `LLM`."""
        return cls(**{field.name: options[field.name] for field in fields(cls) if field.name in options})

    def __post_init__(self) -> None:
        _check_range("n_ctx", self.n_ctx, _MAX_N_CTX)
        _check_range("n_threads", self.n_threads, _MAX_THREADS)
        _check_range("n_batch", self.n_batch, _MAX_N_CTX)
        _check_range("n_seq_max", self.n_seq_max, _MAX_SEQUENCES)
        _check_range("n_pool_tokens", self.n_pool_tokens, 2**40)
        if self.n_seq_max is not None and self.n_seq_max > self.n_batch:
            raise RequestError(
                f"n_seq_max={self.n_seq_max} sequences do not fit in a step of n_batch={self.n_batch} tokens:"
                " choose fewer, or larger steps"
            )
        if self.executor not in ("numba", "reference"):
            raise RequestError(f'executor must be "numba" or "reference", not {self.executor!r}')
        if self.weights not in ("packed", "mapped"):
            raise RequestError(f'weights must be "packed" or "mapped", not {self.weights!r}')
        if self.weights == "mapped" and self.executor == "reference":
            raise RequestError('weights="mapped" goes with executor="numba" only')
        check_cache_type(self.cache_type)
        if self.executor == "reference" and self.cache_type not in (None, "f32"):
            raise RequestError(
                f'cache_type="{self.cache_type}" goes with executor="numba" only; the reference keeps'
                ' float32, which is cache_type="f32"'
            )
        if not isinstance(self.mlock, bool):
            raise RequestError(f"mlock must be True or False, not {self.mlock!r:.100}")
        if not isinstance(self.n_gpu_layers, int) or self.n_gpu_layers != 0:
            raise RequestError(
                f"n_gpu_layers must be 0, not {self.n_gpu_layers!r:.100}: nybble runs on the CPU alone, by"
                ' executor="numba" or executor="reference"'
            )
        if self.executor == "reference" and (
            self.mlock or self.numa != "disabled" or self.cpu_affinity is not None
        ):
            raise RequestError('`mlock`, `numa` and `cpu_affinity` go with executor="numba" only')
        _ = self.placement  # it is checked with the rest

    @cached_property
    def placement(self) -> Placement:
        """How many threads there are, and on which CPUs."""
        return place_threads(self.n_threads, self.numa, self.cpu_affinity)


def check_cache_type(cache_type: CacheTypeName | None) -> None:
    """RequestError unless `cache_type` is one, or None."""
    if cache_type is not None and (not isinstance(cache_type, str) or cache_type not in CACHE_TYPES):
        *names, last = (f'"{name}"' for name in CACHE_TYPES)
        raise RequestError(f"cache_type must be {', '.join(names)} or {last}, not {cache_type!r:.100}")


def _check_range(name: str, value: Any, high: int) -> None:
    if value is None and name != "n_batch":
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise RequestError(f"{name} must be an integer from 1 to {high}, not {value!r:.100}")


def make_executor(model: Model, options: ExecutorOptions) -> Executor:
    """Each is imported only when it is wanted, so that the reference never waits for Numba."""
    made: Executor
    n_ctx, n_batch = options.n_ctx or model.default_n_ctx, options.n_batch
    n_seq_max = options.n_seq_max or min(_N_SEQUENCES, n_batch)
    n_pool_tokens = options.n_pool_tokens or n_ctx
    if n_pool_tokens < n_ctx:
        raise RequestError(
            f"n_pool_tokens={n_pool_tokens} has no room for a sequence of n_ctx={n_ctx} tokens: choose a"
            " larger pool, or a smaller context"
        )
    if options.executor == "reference":
        from .reference.executor import ReferenceExecutor

        made = ReferenceExecutor(model.plan, n_ctx, n_batch, n_seq_max=n_seq_max)
    else:
        from .numba.compile_notice import announce_compiling
        from .numba.executor import NumbaExecutor
        from .numba.storage.packed_matrix import map_tensor

        announce_compiling()
        is_mapped = options.weights == "mapped"
        placement = options.placement
        with on_cpus(placement.all_cpus):  # where weights are packed, there their pages lie
            made = NumbaExecutor(
                model.plan,
                n_ctx,
                placement.n_threads,
                n_batch,
                {tensor.name: map_tensor(tensor) for tensor in model.plan.matrices} if is_mapped else None,
                n_seq_max=n_seq_max,
                n_pool_tokens=n_pool_tokens,
                cache_type=options.cache_type or "f16",
                is_locked=options.mlock,
                cpus=placement.cpus,
            )
    made.before_step = model.file.check_unchanged
    return made
