"""The seats of an executor, and who has them."""

from __future__ import annotations

from ..executors.base import Executor
from .pages import PagePool
from .sequence import Sequence


class Seats:
    """Gives sequences a seat and the pages that they need."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.pools = [PagePool(pages) for pages in executor.pages]
        self._free = list(reversed(range(executor.n_seq_max)))

    def sequence(self) -> Sequence:
        """A new one, empty. ValueError if all seats are taken."""
        if not self._free:
            raise ValueError(f"all {self.executor.n_seq_max} seats are taken")
        new = Sequence(self.executor, self._free.pop(), self.pools)
        new.reset()
        return new

    def fork(self, sequence: Sequence) -> Sequence:
        """A new one that holds what `sequence` holds. ValueError if all seats are taken."""
        new = self.sequence()
        new.follow(sequence)
        return new

    def give_back(self, sequence: Sequence) -> None:
        """Takes the seat and pages of a sequence, which cannot be used afterwards."""
        sequence.reset()
        self._free.append(sequence.seat)


def single_sequence(executor: Executor) -> Sequence:
    """The only sequence of an executor for one."""
    return Seats(executor).sequence()
