"""Taps: reading and replacing activations while tokens go through a plan.

An executor with taps stops after each operation that writes one of `Taps.buffers`, and shows them its output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Shown
from .activations import ActivationSpec, find_activations

Array = NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class EditInfo(Shown):
    """What an edit gets beside the values: they belong to tokens in a row, all of the prompt or none."""

    name: str
    """The activation, as "blk.3.attn_out"."""
    layer: int | None
    """The number of its block; None outside of blocks."""
    positions: NDArray[np.int64]
    """(n,): the position of each row's token; 0 is the first of the prompt."""
    ids: NDArray[np.int32]
    """(n,): the token of each row."""
    is_prefill: bool
    """Are these tokens of the prompt, or generated ones?"""


Edit = Callable[[Array, EditInfo], Array | None]
Edits = Mapping[str, Edit]


def edits_key(edits: Edits | None) -> bytes | None:
    """What tells runs with these edits from others: of functions that have a `cache_key`, a text that says
    all that they depend on; None if one has not. Without edits it is empty."""
    keys = [(pattern, getattr(edit, "cache_key", None)) for pattern, edit in (edits or {}).items()]
    return None if any(key is None for _, key in keys) else repr(keys).encode() if keys else b""


class Taps:
    """Copies the activations of `capture`, and replaces those of `edits`; edited ones are copied afterwards.

    `table` has the model's activations, `n_prompt` is the number of tokens of the prompt. `kept` has an array
    for each captured buffer, whose rows are positions; set it before the run, which fills it.
    """

    def __init__(
        self,
        table: Mapping[str, ActivationSpec],
        n_prompt: int,
        edits: Edits | None = None,
        capture: Iterable[str] = (),
    ) -> None:
        self.n_prompt = n_prompt
        self.captured = [spec for pattern in capture for spec in find_activations(table, pattern)]
        self.kept: dict[str, NDArray[np.float32]] = {}
        self._edits = _edits_of_buffers(table, {} if edits is None else edits)
        self.buffers = frozenset(self._edits) | {spec.buffer for spec in self.captured}
        """The buffers to be shown."""

    def for_prompt(self, n_prompt: int) -> Taps:
        """The same for a prompt of n_prompt tokens, with nothing kept yet."""
        taps = copy(self)
        taps.n_prompt, taps.kept = n_prompt, {}
        return taps

    @property
    def has_edits(self) -> bool:
        return bool(self._edits)

    @property
    def needs_all_rows(self) -> bool:
        """Is an activation captured that is computed only for tokens whose logits are wanted?"""
        return any(spec.is_wanted_only for spec in self.captured)

    def edits(self, buffer: str) -> bool:
        """May `show` change this buffer?"""
        return buffer in self._edits

    def show(
        self, buffer: str, value: Array, positions: NDArray[np.int64], ids: NDArray[np.integer[Any]]
    ) -> None:
        """Captures and edits `value` (n, ...), the output for the tokens `ids` (n,) at `positions` (n,).
        Raises what an edit raises, and RequestError for a wrong replacement."""
        for spec, edit in self._edits.get(buffer, ()):
            is_prefill = bool(positions[0] < self.n_prompt)
            info = EditInfo(spec.name, spec.layer, positions.copy(), ids.astype(np.int32), is_prefill)
            value[...] = _replacement(spec, edit, value, info)
        if buffer in self.kept:
            kept = self.kept[buffer]
            first, last = int(positions[0]), int(positions[-1]) + 1
            rows = slice(first, last) if last - first == len(positions) else positions
            if value.ndim == 3:  # attention probabilities: as many columns as there are positions so far
                kept[rows, :, : value.shape[2]] = value
            else:
                kept[rows] = value


def _edits_of_buffers(
    table: Mapping[str, ActivationSpec], edits: Edits
) -> dict[str, list[tuple[ActivationSpec, Edit]]]:
    """The edits of each buffer, in their order, each once even if its pattern matches two names of a
    buffer."""
    if not isinstance(edits, Mapping):
        raise RequestError(f"edit maps names of activations to functions; it cannot be {edits!r:.100}")
    found: dict[str, list[tuple[ActivationSpec, Edit]]] = defaultdict(list)
    for pattern, edit in edits.items():
        if not callable(edit):
            raise RequestError(f"the edit of {pattern!r:.100} must be a function, not {edit!r:.100}")
        specs = {spec.buffer: spec for spec in find_activations(table, pattern)}
        for buffer, spec in specs.items():
            found[buffer].append((spec, edit))
    return dict(found)


def _replacement(spec: ActivationSpec, edit: Edit, value: Array, info: EditInfo) -> Array:
    """The result of an edit for a copy of `value`; RequestError if it is wrong."""
    given = np.array(value)  # contiguous; the edit may keep it
    result = edit(given, info)
    if result is None:
        result = given
    if not isinstance(result, np.ndarray):
        raise RequestError(
            f"the edit of {spec.name} gave {result!r:.100}; it must give float32 {value.shape}, or None"
        )
    if result.shape != value.shape or result.dtype != np.float32:
        hint = "; use .astype(np.float32)" if result.shape == value.shape else ""
        raise RequestError(
            f"the edit of {spec.name} gave {result.dtype} {result.shape}, not float32 {value.shape}{hint}"
        )
    if not np.isfinite(result).all() and np.isfinite(value).all():
        row = int(info.positions[np.argwhere(~np.isfinite(result))[0, 0]])
        raise RequestError(
            f"the edit of {spec.name} float32 {value.shape} gave NaN or infinity at position {row}"
        )
    n = spec.n_choices
    if n and not np.all((result >= 0) & (result < n) & (result == np.floor(result))):
        raise RequestError(f"the edit of {spec.name} must give integers from 0 to {n - 1}")
    return result
