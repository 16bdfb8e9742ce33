"""Runs of a model whose activations are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Table
from ...system.free_memory import free_memory
from ..hooks.activations import ActivationSpec, nearest
from ..hooks.taps import Edits, Taps
from ..scheduler.driver import Driver

Array = NDArray[np.float32]
Wanted = Literal["all", "last"] | Sequence[int] | NDArray[np.integer[Any]] | None


class Trace(Mapping[str, Array]):
    """The result of `LLM.trace`: captured activations by their names, in the order of computation.

        trace = llm.trace("The capital of France is", capture="blk.*.resid_post", logits=None)
        trace["blk.3.resid_post"].shape  # (n_tokens, n_embd)

    Each is (n_tokens, width) float32; attention probabilities are (n_tokens, n_heads, n_tokens). The arrays
    stay valid after the LLM is closed; two names of one buffer ("blk.1.resid_pre", "blk.0.resid_post") give
    the same array.
    """

    def __init__(
        self,
        ids: NDArray[np.int32],
        logits: Array | None,
        specs: Mapping[str, ActivationSpec],
        arrays: Mapping[str, Array],
    ) -> None:
        self.ids = ids
        """The ids of the tokens that were run, (n_tokens,) int32."""
        self._logits = logits
        self._specs = specs
        self._arrays = arrays

    @property
    def logits(self) -> Array:
        """(n_positions, n_vocab) float32, at the positions asked for; RequestError if there were none."""
        if self._logits is None:
            raise RequestError('this trace has no logits; ask for them: trace(..., logits="all")')
        return self._logits

    @property
    def names(self) -> list[str]:
        """The names of the captured activations, in the order of computation."""
        return list(self._specs)

    def heads(self, name: str) -> Array:
        """An activation with the dims of `LLM.activations`, heads, experts or groups: (n_tokens, n_heads,
        head_dim), a view; (n_tokens, width) for one without."""
        value, dims = self[name], self._specs[name].dims
        return value if "n_keys" in dims else value.reshape(len(value), *map(int, dims))

    def __getitem__(self, name: str) -> Array:
        if name not in self._specs:
            hint = nearest(self._specs, name) if isinstance(name, str) else ""
            raise KeyError(f"{name!r:.100} was not captured{hint} (of {len(self._specs)} that were)")
        return self._arrays[self._specs[name].buffer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        logits = "no" if self._logits is None else len(self._logits)
        return f"Trace({len(self.ids)} tokens, {len(self)} activations, {logits} rows of logits)"

    def _repr_html_(self) -> str:
        return Table(self, f"activations of {len(self.ids)} tokens")._repr_html_()


def record(
    driver: Driver,
    table: Mapping[str, ActivationSpec],
    ids: NDArray[np.int32],
    capture: str | Sequence[str],
    edits: Edits | None,
    logits: Wanted,
    max_bytes: int | None,
) -> Trace:
    """Runs `ids` and keeps activations; see `LLM.trace`."""
    if not isinstance(capture, str | Sequence):
        raise RequestError(f"capture is a list of names, not {capture!r:.100}")
    taps = Taps(table, len(ids), edits, [capture] if isinstance(capture, str) else capture)
    order = {name: i for i, name in enumerate(table)}
    specs = {spec.name: spec for spec in sorted(taps.captured, key=lambda spec: order[spec.name])}
    wanted = _positions(logits, len(ids))
    shapes = {spec.buffer: _shape(spec, len(ids)) for spec in specs.values()}
    _check_size(shapes, len(wanted) * driver.scheduler.n_outputs, max_bytes)
    taps.kept = {buffer: np.zeros(shape, np.float32) for buffer, shape in shapes.items()}
    found, place = np.unique(wanted, return_inverse=True)
    job = driver.scheduler.logits_job(ids, found, taps if taps.buffers else None)
    driver.run([job])
    result = job.logits
    if not np.array_equal(found, wanted):
        result = result[place]
    return Trace(ids, None if logits is None else result, specs, taps.kept)


def _shape(spec: ActivationSpec, n_tokens: int) -> tuple[int, ...]:
    width = spec.width
    return (n_tokens, int(spec.dims[0]), n_tokens) if width is None else (n_tokens, width)


def _positions(logits: Any, n_tokens: int) -> NDArray[np.intp]:
    """The positions whose logits are wanted; RequestError for one outside the prompt."""
    if logits is None:
        return np.empty(0, np.intp)
    if isinstance(logits, str) and logits in ("all", "last"):
        return np.arange(n_tokens)[-1 if logits == "last" else 0 :]
    try:
        positions = np.asarray(logits)
    except ValueError:
        positions = np.empty(0, object)
    is_integer = positions.dtype.kind in "iu" or (positions.size == 0 and positions.dtype != object)
    if positions.ndim != 1 or not is_integer:
        raise RequestError(f'logits must be "all", "last", None or a list of positions, not {logits!r:.100}')
    outside = positions[(positions < -n_tokens) | (positions >= n_tokens)]
    if len(outside):
        raise RequestError(f"there are no logits at position {outside[0]}: the prompt has {n_tokens} tokens")
    return positions.astype(np.intp) % n_tokens


def _check_size(shapes: Mapping[str, tuple[int, ...]], n_logits: int, max_bytes: int | None) -> None:
    """RequestError if the trace takes more than `max_bytes`, or than the free memory if that is None."""
    if max_bytes is not None and (not isinstance(max_bytes, int) or max_bytes < 0):
        raise RequestError(f"max_bytes must be an integer from 0 on, or None, not {max_bytes!r:.100}")
    sizes = {name: 4 * int(np.prod(shape, dtype=object)) for name, shape in shapes.items()}
    total = sum(sizes.values()) + 4 * n_logits
    limit = free_memory() if max_bytes is None else max_bytes
    if limit is not None and total > limit:
        largest = max([*sizes.items(), ("the logits", 4 * n_logits)], key=lambda item: item[1])
        allowed = f"only {limit:,} are free" if max_bytes is None else f"max_bytes is {limit:,}"
        raise RequestError(
            f"this trace would take {total:,} bytes, {largest[1]:,} of them for {largest[0]}, but {allowed};"
            f" capture less, ask for fewer logits, or trace fewer tokens at a time"
        )
