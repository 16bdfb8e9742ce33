"""Drafts by a second, smaller model of the same vocabulary.

Source: Leviathan et al. 2023, "Fast inference from Transformers via speculative decoding", arXiv:2211.17192;
the verification is another one (draft.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the scheduler, which has seats, also uses drafts
    from ..scheduler.seat import Seat


class ModelDraft:
    """Proposes what a smaller model finds most probable (a `Draft`).

    `seat`, of the smaller model's executor, is its own, and empty. Ids from `n_vocab` on, which the
    larger model does not have, are not proposed. When the seat is full, it proposes nothing any more.
    """

    def __init__(self, seat: Seat, n_vocab: int) -> None:
        self._seat = seat
        self._n_vocab = min(n_vocab, seat.executor.n_outputs)
        self._ids: list[int] = []
        self._n_held = 0  # so many of them the seat holds, and after them these drafted ones:
        self._drafted: list[int] = []

    def extend(self, ids: Sequence[int]) -> None:
        """Adds the ids that come next in the text; they are run when something is to be proposed."""
        self._ids += map(int, ids)

    def propose(self, n: int) -> list[int]:
        """Up to `n` ids. Runs what the seat does not hold yet, and then a step for each id but the last;
        raises what `Seat.forward` raises."""
        n = min(n, self._seat.executor.n_ctx - len(self._ids) + 1)
        n_held = self._agreed()
        new = self._ids[n_held:]
        if n < 1 or not new or max(new) >= self._seat.executor.n_outputs:
            return []
        self._n_held, self._drafted = 0, []  # until this succeeds, nothing is known of the state
        n_held = self._go_back(n_held)
        proposed = [self._run(self._ids[n_held:])]
        while len(proposed) < n:
            proposed.append(self._run(proposed[-1:]))
        self._n_held, self._drafted = len(self._ids), proposed[:-1]
        return proposed

    def _agreed(self) -> int:
        """How many of the ids the seat holds; one is left to be run, whose logits are wanted."""
        n = self._n_held
        for drafted, id_ in zip(self._drafted, self._ids[n:], strict=False):
            if drafted != id_:
                break
            n += 1
        return max(0, min(n, len(self._ids) - 1))

    def _go_back(self, n_positions: int) -> int:
        """Leaves the first positions in the seat, or none if its state cannot go back; -> how many."""
        try:
            self._seat.truncate(n_positions)
        except ValueError:
            self._seat.reset()
        return self._seat.n_positions

    def _run(self, ids: list[int]) -> int:
        """Runs the ids that come next; -> the most probable id after them."""
        last = np.array([len(ids) - 1])
        (logits,) = self._seat.forward(np.array(ids, np.int32), self._seat.n_positions, last)
        return int(logits[: self._n_vocab].argmax())
