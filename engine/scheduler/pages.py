"""Which pages of an executor are free, and who uses the others."""

from __future__ import annotations

from ...errors import NybbleError
from ..executors.base import Pages


class PagePool:
    """The pages of the layers with one window. A page may be in use by several sequences; then none of them
    writes to it."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
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

    def hold(self, seat: int, held: range, wanted: range) -> range:
        """Gives a seat a page for each block of `wanted`, and takes back those of `held` that are not among
        them; -> wanted. NybbleError if too few are free: then nothing is changed."""
        table = self.pages.table[seat]
        old = [int(table[block]) for block in held if block not in wanted]
        new = [block for block in wanted if block not in held]
        n_free = len(self._free) + sum(self._n_users[page] == 1 for page in old)
        if len(new) > n_free:
            raise NybbleError(f"{len(new)} more pages are needed, and {n_free} of {self.pages.n} are free")
        for page in reversed(old):  # so that pages are given again in ascending order
            self._leave(page)
        for block in new:
            table[block] = self._take()
        return wanted

    def share(self, source: int, seat: int, blocks: range) -> None:
        """Lets a seat, which has none of these blocks, use the pages of another."""
        for block in blocks:
            page = self.pages.table[source, block]
            self.pages.table[seat, block] = page
            self._n_users[page] += 1

    def separate(self, seat: int, block: int) -> tuple[int, int] | None:
        """Gives a seat a page of its own for a block whose page others use, too: -> that page and the new
        one, to which it must be copied; None if nobody else does. NybbleError if none is free."""
        page = int(self.pages.table[seat, block])
        if self._n_users[page] == 1:
            return None
        if not self._free:
            raise NybbleError(f"another page is needed, and none of {self.pages.n} is free")
        self._leave(page)
        new = self.pages.table[seat, block] = self._take()
        return page, new

    def _take(self) -> int:
        page = self._free.pop()
        self._n_users[page] = 1
        return page

    def _leave(self, page: int) -> None:
        self._n_users[page] -= 1
        if self._n_users[page] == 0:
            self._free.append(page)
