"""Which pages of an executor are free, and who uses the others."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import NybbleError
from ..executors.base import Pages


class PagePool:
    """The pages of the layers with one window. A page may have several users: seats, and whoever keeps it for
    later; then nobody writes to it.

    `reclaim` is called when pages run out: it lets go of a page that nobody else uses, or gives False.
    """

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.reclaim: Callable[[], bool] = lambda: False
        self._free = list(reversed(range(pages.n)))
        self._n_users = [0] * pages.n

    @property
    def n_free(self) -> int:
        """How many pages nobody uses."""
        return len(self._free)

    def blocks(self, first: int, end: int) -> range:
        """Those that the positions first … end - 1 lie in. A block is as many positions as a page has, from a
        multiple of that on."""
        size = self.pages.size
        return range(first // size, -(-end // size))

    def n_users(self, page: int) -> int:
        """How many use a page."""
        return self._n_users[page]

    def hold(self, seat: int, held: range, wanted: range) -> range:
        """Gives a seat a page for each block of `wanted`, and takes back those of `held` that are not among
        them; -> wanted. NybbleError if too few are free: then nothing is changed."""
        table = self.pages.table[seat]
        old = [int(table[block]) for block in held if block not in wanted]
        new = [block for block in wanted if block not in held]
        while len(new) > (n_free := len(self._free) + sum(self._n_users[page] == 1 for page in old)):
            if not self.reclaim():
                raise NybbleError(
                    f"{len(new)} more pages are needed, and {n_free} of {self.pages.n} are free"
                )
        for page in reversed(old):  # so that pages are given again in ascending order
            self.leave(page)
        for block in new:
            table[block] = self._take()
        return wanted

    def separate(self, seat: int, block: int) -> tuple[int, int] | None:
        """Gives a seat a page of its own for a block whose page others use, too: -> that page and the new
        one, to which it must be copied; None if nobody else does. NybbleError if none is free."""
        page = int(self.pages.table[seat, block])
        if self._n_users[page] == 1:
            return None
        new = self.take()
        self.leave(page)
        self.pages.table[seat, block] = new
        return page, new

    def take(self) -> int:
        """A free page, which has one user now. NybbleError if there is none."""
        while not self._free:
            if not self.reclaim():
                raise NybbleError(f"another page is needed, and none of {self.pages.n} is free")
        return self._take()

    def join(self, page: int) -> None:
        """There is one more user of a page that is in use."""
        self._n_users[page] += 1

    def leave(self, page: int) -> None:
        """There is one user fewer."""
        self._n_users[page] -= 1
        if self._n_users[page] == 0:
            self._free.append(page)

    def _take(self) -> int:
        page = self._free.pop()
        self._n_users[page] = 1
        return page
