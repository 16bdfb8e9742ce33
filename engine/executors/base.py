"""What an executor is: the part that runs a plan.  There are two, `reference` (NumPy) and `numba`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...kernels.attention.cache_type import CACHE_F32
from ...kernels.elementwise.row_max import row_max_reference
from ..hooks.taps import Taps
from ..plan.plan import Plan

Array = NDArray[np.float32]
Ids = NDArray[np.int32]
Positions = NDArray[np.int64]
N_BACK = 64
"""How many positions layers with windows keep beyond them, for sequences that go back to before a token."""
RowNumbers = NDArray[np.intp]
"""Numbers of some tokens of a piece or step."""
States = Sequence[Any]
"""What the layers of an executor hold of a sequence outside of pages, copied at some moment."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some tokens of a sequence that come next: `ids` (n,) at the positions start, start + 1 …

    `seat` is the sequence's own. `rows` are indices into `ids`, ascending, whose logits are wanted; if there
    are none in a step, the head is skipped. `taps` are shown what they listen to.
    """

    seat: int
    start: int
    ids: Ids
    rows: RowNumbers
    taps: Taps | None = None

    @property
    def positions(self) -> Positions:
        """(n,)"""
        return np.arange(self.start, self.start + len(self.ids))


class StepRows(NamedTuple):
    """What a step gives a sequence: `values`, the logits of the wanted rows (m, n_vocab), or of a model
    without logits the embeddings (m, n_embd), which the next step may overwrite; and of each its largest
    value (m,), NaN if one is NaN."""

    values: Array
    largest: Array

    @classmethod
    def of(cls, values: Array) -> Self:
        """Rows whose largest values are still to be found."""
        return cls(values, row_max_reference(values))

    @property
    def are_sound(self) -> NDArray[np.bool_]:
        """Which rows can be sampled from (m,): no NaN, no +inf, and not all -inf, which masks a token."""
        return np.isfinite(self.largest)


@dataclass(frozen=True, eq=False)
class Pages:
    """Where the keys and values of the layers with one window lie (0: those without): in `n` pages of `size`
    positions each.

    `table[seat, b]` is the page of the positions from b * size on; who gives pages to sequences writes it.
    """

    window: int
    size: int
    n: int
    table: NDArray[np.int64]

    def slots(self, seats: Sequence[int], positions: Positions) -> Positions:
        """(n,): page * size + place in it, of positions (n,) of the sequences in seats (n,)."""
        blocks, places = np.divmod(positions, self.size)
        found: Positions = self.table[seats, blocks] * self.size + places
        return found


class Executor(ABC):
    """Runs tokens of up to `n_seq_max` sequences through a plan, and keeps their states between steps.

    A sequence has a seat, a number below n_seq_max. `pages` are empty where each seat has memory for n_ctx
    positions of its own. A subclass runs single steps, of up to `n_batch` tokens.
    """

    compile_seconds = 0.0
    """What making this executor spent on compiling kernels, or reading them from the cache."""
    cache_type = CACHE_F32
    """What keys and values are stored as."""
    pages: Sequence[Pages] = ()
    turn: AbstractContextManager[object] = nullcontext()
    """What a step is computed in: a lock, say, that keeps out the steps of other processes."""
    waited_seconds = 0.0
    """How long the last step has waited for its turn."""
    n_state_bytes = 0
    """Bytes of the `States` of a seat."""
    can_share = False
    """Can sequences have pages in common, and go on from copied states?"""

    def __init__(self, plan: Plan, n_ctx: int, n_batch: int, n_seq_max: int) -> None:
        self.plan = plan.for_context(n_ctx)
        self.n_ctx = n_ctx
        self.n_batch = plan.tokens_at_once(n_ctx, n_batch)
        self.n_seq_max = n_seq_max
        self.n_outputs = plan.buffers[plan.output]
        self.before_step: Callable[[], None] = lambda: None
        """Called before each step; may raise, for example if the weights have changed."""

    @property
    @abstractmethod
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that must be read to decode one token, as this executor has packed them: each
        matrix once, of experts the chosen."""

    def step(self, pieces: Sequence[Piece]) -> list[StepRows | Exception]:
        """Runs pieces of different sequences side by side; -> for each its rows, or what its taps have
        raised, which leaves the state of this seat undefined until `reset`.

        The bits do not depend on the company. Raises ValueError for more than n_batch tokens, and for an id
        outside the vocabulary. Whatever else ends it early leaves the states of all these seats undefined.
        """
        n = sum(len(piece.ids) for piece in pieces)
        if n > self.n_batch:
            raise ValueError(f"{n} tokens are more than the {self.n_batch} of a step")
        asked, self.waited_seconds = time.perf_counter(), 0.0
        with self.turn:
            self.waited_seconds = time.perf_counter() - asked
            self.before_step()
            found, errors = self._run_step(pieces)
        ends = accumulate(len(piece.rows) for piece in pieces)
        parts = [slice(end - len(piece.rows), end) for piece, end in zip(pieces, ends, strict=True)]
        return [
            errors.get(piece.seat, StepRows(found.values[part], found.largest[part]))
            for piece, part in zip(pieces, parts, strict=True)
        ]

    @abstractmethod
    def _run_step(self, pieces: Sequence[Piece]) -> tuple[StepRows, Mapping[int, Exception]]:
        """Runs the pieces; -> their rows, one after the other, and what taps have raised, by the seats of
        their pieces."""

    @abstractmethod
    def reset(self, seat: int) -> None:
        """Forgets all positions of a seat, also those of a step that was left halfway."""

    @abstractmethod
    def can_go_back(self, seat: int, n_before: int, n_after: int) -> bool:
        """Can a seat's state, but for what lies in pages, go back from n_before positions to n_after, which
        are fewer and at least one?"""

    @abstractmethod
    def states_of(self, seat: int) -> States:
        """A copy of what a seat holds, but for what lies in pages."""

    @abstractmethod
    def set_states(self, seat: int, states: States) -> None:
        """Writes what `states_of` a seat has given, to any seat, as often as one likes."""

    def copy_page(self, pages: Pages, source: int, target: int) -> None:
        """Copies a page of `pages`, one of `self.pages`, to another."""
        raise ValueError("this executor has no pages")

    def read_page(self, pages: Pages, page: int) -> list[NDArray[Any]]:
        """A copy of what a page of `pages` holds: some arrays, for every page of the same dtypes and
        shapes."""
        raise ValueError("this executor has no pages")

    def write_page(self, pages: Pages, page: int, arrays: Sequence[NDArray[Any]]) -> None:
        """Writes what `read_page` has given to a page of `pages`."""
        raise ValueError("this executor has no pages")

    def go_back(self, seat: int, n_before: int, n_after: int) -> None:  # noqa: B027 (often nothing needs to be done)
        """Forgets a seat's positions from n_after on, which `can_go_back` allows."""

    @abstractmethod
    def close(self) -> None:
        """Frees memory and ends threads; the executor is not usable afterwards."""
