"""Who listens to what is computed for a sequence, and which rows of the buffers are theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...hooks.taps import Taps
from ..base import Ids, Piece, Positions, RowNumbers


@dataclass(frozen=True)
class Listener:
    """`taps` are shown `rows`: the tokens `ids` (n,) at `positions` (n,) of the sequence in `seat`."""

    taps: Taps
    seat: int
    rows: slice
    ids: Ids
    positions: Positions

    @classmethod
    def of(cls, piece: Piece, first: int) -> list[Listener]:
        """None or one: of a piece whose rows begin at `first`."""
        if piece.taps is None:
            return []
        rows = slice(first, first + len(piece.ids))
        return [cls(piece.taps, piece.seat, rows, piece.ids, piece.positions)]

    def among(self, rows: RowNumbers) -> list[Listener]:
        """None or one: where some rows, ascending, have been copied to be the first ones."""
        first, last = np.searchsorted(rows, (self.rows.start, self.rows.stop))
        own = rows[first:last] - self.rows.start
        if not len(own):
            return []
        return [Listener(self.taps, self.seat, slice(first, last), self.ids[own], self.positions[own])]

    def others(self, rows: RowNumbers) -> RowNumbers:
        """Those of the listener's rows that are not among `rows`."""
        return np.setdiff1d(np.arange(self.rows.start, self.rows.stop), rows)
