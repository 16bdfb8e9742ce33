"""A seat of an executor: what it holds of one sequence of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..executors.base import N_BACK, Array, Executor, Ids, Piece, RowNumbers, States
from ..hooks.taps import Taps
from .pages import PagePool


class Seat:
    """The states of an executor's seat `number`, and the pages that it uses. Made by `Seats`.

    `n_positions`: how many tokens have gone in.
    """

    def __init__(self, executor: Executor, number: int, pools: list[PagePool]) -> None:
        self.executor = executor
        self.number = number
        self.n_positions = 0
        self._pools = pools
        self._held = [range(0)] * len(pools)

    def forward(self, ids: Ids, start: int, rows: RowNumbers, taps: Taps | None = None) -> Array:
        """Runs `ids` (n,), which come next, at the positions start, start + 1 …, in as many steps as they
        need, alone; -> the logits of `rows`, indices into `ids`, ascending: (len(rows), n_vocab), or of a
        model without logits the embeddings: (len(rows), n_embd).

        With no rows the head is skipped. `taps` are shown what they listen to. Raises ValueError if the
        tokens cannot come next, and what taps raise. Whatever else ends it early leaves a state that is
        undefined until `reset`.
        """
        self.require_next(start, len(ids))
        logits = np.empty((len(rows), self.executor.n_outputs), np.float32)
        first = n_done = 0
        for last in self._ends_of_steps(start, len(ids), taps):
            here = rows[(rows >= first) & (rows < last)] - first
            piece = Piece(self.number, start + first, ids[first:last], here, taps)
            self.make_room(start + last)
            (found,) = self.executor.step([piece])
            if isinstance(found, Exception):
                raise found
            logits[n_done : n_done + len(here)] = found.values
            self.n_positions = start + last
            first, n_done = last, n_done + len(here)
        return logits

    def require_next(self, start: int, n: int) -> None:
        """ValueError unless n tokens can be run at the positions from `start` on."""
        if n == 0:
            raise ValueError("there are no ids to run")
        if start != self.n_positions:
            raise ValueError(
                f"the state holds {self.n_positions} positions, so position {start} cannot be next"
            )
        self.executor.plan.require_whole(start)
        n_ctx = self.executor.n_ctx
        if start + n > n_ctx:
            raise ValueError(f"{start} + {n} positions are more than the {n_ctx} of the context")

    def make_room(self, end: int) -> None:
        """Makes sure of pages for the positions up to end - 1, of which the new ones can be written to; gives
        back those that no window reaches any more, even from `N_BACK` tokens before. NybbleError if too few
        are free."""
        for i, pool in enumerate(self._pools):
            window, held = pool.pages.window, self._held[i]
            first = self.n_positions - window - N_BACK if window else 0
            wanted = pool.blocks(max(first, held.start * pool.pages.size), end)
            if wanted != held:
                self._held[i] = pool.hold(self.number, held, wanted)
            for block in pool.blocks(self.n_positions, end):
                if block in held and (copied := pool.separate(self.number, block)):
                    self.executor.copy_page(pool.pages, *copied)

    def first_block(self, pool: int) -> int:
        """The first block of which it has a page of the pool of this number."""
        return self._held[pool].start

    def pages_of(self, block: int) -> list[int | None]:
        """The page of a block in each pool; None where it has been given back."""
        return [
            int(pool.pages.table[self.number, block]) if block in held else None
            for pool, held in zip(self._pools, self._held, strict=True)
        ]

    def adopt(
        self, pages: Sequence[Sequence[tuple[int, int]]], n_positions: int, states: States | None
    ) -> None:
        """Holds the first n_positions of a sequence: for each pool (block, page) in a row, which stay shared
        until this seat writes to them, and the states after them. The seat must be empty."""
        for i, (pool, found) in enumerate(zip(self._pools, pages, strict=True)):
            for block, page in found:
                pool.pages.table[self.number, block] = page
                pool.join(page)
            self._held[i] = range(found[0][0], found[-1][0] + 1) if found else range(0)
        if states is not None:
            self.executor.set_states(self.number, states)
        self.n_positions = n_positions

    def follow(self, other: Seat) -> None:
        """Holds what another seat of the executor holds; this one must be empty."""
        tables = [pool.pages.table[other.number] for pool in self._pools]
        pages = [
            [(block, int(table[block])) for block in held]
            for table, held in zip(tables, other._held, strict=True)
        ]
        self.adopt(pages, other.n_positions, self.executor.states_of(other.number))

    def reset(self) -> None:
        """Forgets all positions."""
        self.executor.reset(self.number)  # before pages are given back: a step may be left halfway
        for i, pool in enumerate(self._pools):
            self._held[i] = pool.hold(self.number, self._held[i], range(0))
        self.n_positions = 0

    def truncate(self, n_positions: int) -> None:
        """Forgets all positions from `n_positions` on. ValueError, and nothing forgotten, if a layer's state
        cannot go back that far."""
        n_before = self.n_positions
        if n_positions == 0:
            self.reset()
        elif n_positions != n_before:
            if not self.can_go_back(n_positions):
                raise ValueError(f"the state of {n_before} positions cannot go back to {n_positions}")
            self.executor.go_back(self.number, n_before, n_positions)
            self._forget_from(n_positions)

    def restore(self, n_positions: int, states: States) -> None:
        """Forgets all positions from `n_positions` on, one at least and not more than `N_BACK` ago; `states`
        are those that the executor's `states_of` gave there."""
        self.executor.set_states(self.number, states)
        self._forget_from(n_positions)

    def can_go_back(self, n_positions: int) -> bool:
        """Can `truncate` keep so many positions, at least one and fewer than there are?"""
        if not 0 < n_positions < self.n_positions:
            return False
        for pool, held in zip(self._pools, self._held, strict=True):
            window, oldest = pool.pages.window, held.start * pool.pages.size
            if window and oldest > max(0, n_positions - window + 1):
                return False
        return self.executor.can_go_back(self.number, self.n_positions, n_positions)

    def _forget_from(self, n_positions: int) -> None:
        """Gives back the pages of the positions from `n_positions` on."""
        for i, pool in enumerate(self._pools):
            left = range(self._held[i].start, pool.blocks(0, n_positions).stop)
            self._held[i] = pool.hold(self.number, self._held[i], left)
        self.n_positions = n_positions

    def _ends_of_steps(self, start: int, n: int, taps: Taps | None) -> list[int]:
        """Where the steps end in which n tokens are run, counted from `start`."""
        n_batch = self.executor.n_batch
        ends = {*range(n_batch, n, n_batch), n}
        if taps is not None and start < taps.n_prompt < start + n:
            ends.add(taps.n_prompt - start)  # what an edit gets is all prompt, or none of it
        return sorted(ends)
