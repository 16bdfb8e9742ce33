"""The seats of an executor, and which are free."""

from __future__ import annotations

from ..executors.base import Executor
from .pages import PagePool
from .seat import Seat


class Seats:
    """Gives seats, and takes them back. `pools` have the pages that these use."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.pools = [PagePool(pages) for pages in executor.pages]
        self._free = list(reversed(range(executor.n_seq_max)))

    @property
    def n_free(self) -> int:
        """How many seats nobody has."""
        return len(self._free)

    def take(self) -> Seat:
        """An empty one. ValueError if all are taken."""
        if not self._free:
            raise ValueError(f"all {self.executor.n_seq_max} seats are taken")
        seat = Seat(self.executor, self._free.pop(), self.pools)
        seat.reset()
        return seat

    def fork(self, seat: Seat) -> Seat:
        """Another that holds what this one holds. ValueError if all are taken."""
        new = self.take()
        new.follow(seat)
        return new

    def give_back(self, seat: Seat) -> None:
        """Takes a seat, which cannot be used afterwards, and its pages."""
        seat.reset()
        self._free.append(seat.number)


def single_seat(executor: Executor) -> Seat:
    """A seat of an executor that nothing else uses."""
    return Seats(executor).take()
