"""Records traces: runs prompts side by side, and keeps activations of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...system.free_memory import free_memory
from ..executors.base import Ids, RowNumbers
from ..generation.prompts import Prompts
from ..hooks.activations import ActivationSpec
from ..hooks.taps import Edits, Taps
from ..scheduler.driver import Driver
from ..scheduler.job import LogitsJob
from .trace import Array, Trace

Wanted = Literal["all", "last"] | Sequence[int] | NDArray[np.integer[Any]] | None


class Recorder:
    """Keeps the activations `capture` of `prompts`, each with its own of `edits`, and their logits at some
    positions; `table` has the model's activations. RequestError unless `LLM.trace` takes such arguments."""

    def __init__(
        self,
        table: Mapping[str, ActivationSpec],
        prompts: Prompts,
        capture: str | Sequence[str],
        edits: Sequence[Edits | None],
        logits: Wanted,
    ) -> None:
        if not isinstance(capture, str | Sequence):
            raise RequestError(f"capture is a list of names, not {capture!r:.100}")
        names = [capture] if isinstance(capture, str) else capture
        different = {id(edit): edit for edit in [None, *edits]}
        taps = {key: Taps(table, 0, edit, names) for key, edit in different.items()}
        self._taps = [taps[id(edit)] for edit in edits]
        order = {name: i for i, name in enumerate(table)}
        captured = sorted(taps[id(None)].captured, key=lambda spec: order[spec.name])
        self._specs = {spec.name: spec for spec in captured}
        self._prompts = prompts
        self._has_logits = logits is not None
        self._positions: list[RowNumbers] = []
        wanted = _checked(logits)
        for i, ids in enumerate(prompts.ids):
            with prompts.naming(i):
                self._positions.append(_positions(wanted, len(ids)))

    def require_memory(self, n_outputs: int, max_bytes: int | None) -> None:
        """RequestError if all traces together take more than `max_bytes`, or than the free memory if that is
        None."""
        if max_bytes is not None and (not isinstance(max_bytes, int) or max_bytes < 0):
            raise RequestError(f"max_bytes must be an integer from 0 on, or None, not {max_bytes!r:.100}")
        lengths, n_logits = [len(ids) for ids in self._prompts.ids], sum(map(len, self._positions))
        n_rows, n_pairs = sum(lengths), sum(n * n for n in lengths)
        sizes = {
            spec.buffer: 4 * (int(spec.dims[0]) * n_pairs if spec.width is None else spec.width * n_rows)
            for spec in self._specs.values()
        }
        sizes["the logits"] = 4 * n_outputs * n_logits
        total, limit = sum(sizes.values()), free_memory() if max_bytes is None else max_bytes
        if limit is not None and total > limit:
            largest = max(sizes, key=lambda name: sizes[name])
            what = "this trace" if self._prompts.is_one else f"these {len(self._prompts)} traces"
            allowed = f"only {limit:,} are free" if max_bytes is None else f"max_bytes is {limit:,}"
            raise RequestError(
                f"{what} would take {total:,} bytes, {sizes[largest]:,} of them for {largest}, but {allowed};"
                f" capture less, ask for fewer logits, or trace fewer tokens at a time"
            )

    def run(self, driver: Driver) -> Iterator[Trace]:
        """Runs the prompts; gives their traces, in order. Memory is taken for those that run, and that nobody
        has taken yet."""
        jobs = self._prompts.run(driver, self._jobs(driver))
        for job, ids, wanted in zip(jobs, self._prompts.ids, self._positions, strict=True):
            logits = job.logits
            if not np.array_equal(job.positions, wanted):
                logits = logits[np.searchsorted(job.positions, wanted)]
            kept = {} if job.taps is None else job.taps.kept
            yield Trace(ids, logits if self._has_logits else None, self._specs, kept)

    def _jobs(self, driver: Driver) -> Iterator[LogitsJob]:
        for ids, taps, wanted in zip(self._prompts.ids, self._taps, self._positions, strict=True):
            own = taps.for_prompt(len(ids))
            own.kept = {spec.buffer: _zeros(spec, ids) for spec in self._specs.values()}
            yield driver.scheduler.logits_job(ids, np.unique(wanted), own if own.buffers else None)


def _zeros(spec: ActivationSpec, ids: Ids) -> Array:
    n = len(ids)
    return np.zeros((n, int(spec.dims[0]), n) if spec.width is None else (n, spec.width), np.float32)


def _checked(logits: Any) -> Wanted:
    """RequestError unless it says at which positions logits are wanted."""
    if logits is None or (isinstance(logits, str) and logits in ("all", "last")):
        return logits  # type: ignore[return-value]
    try:
        positions = np.asarray(logits)
    except ValueError:
        positions = np.empty(0, object)
    is_integer = positions.dtype.kind in "iu" or (positions.size == 0 and positions.dtype != object)
    if positions.ndim != 1 or not is_integer:
        raise RequestError(f'logits must be "all", "last", None or a list of positions, not {logits!r:.100}')
    return positions.astype(np.int64)


def _positions(wanted: Wanted, n_tokens: int) -> RowNumbers:
    """The positions that are wanted of a prompt; RequestError for one outside of it."""
    if wanted is None:
        return np.empty(0, np.intp)
    if isinstance(wanted, str):
        return np.arange(n_tokens)[-1 if wanted == "last" else 0 :]
    positions = np.asarray(wanted)
    outside = positions[(positions < -n_tokens) | (positions >= n_tokens)]
    if len(outside):
        raise RequestError(f"there are no logits at position {outside[0]}: the prompt has {n_tokens} tokens")
    return positions.astype(np.intp) % n_tokens
