"""What has been computed of a sequence of tokens, copied out of an executor, and put into another."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ...errors import NybbleError
from ..executors.base import Ids
from .prefix import PAGE_SIZE, first_block
from .prefix_index import PrefixIndex
from .seating import Seating

Arrays = list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Block:
    """What there is of a page of tokens: the arrays of each pool, and the states after the last token. None:
    they were not kept."""

    pages: list[Arrays | None]
    states: Arrays | None


@dataclass(frozen=True, eq=False)
class State:
    """The tokens `ids` (n,), and a block for each page of them. `salt`: who may share it, as of a job."""

    ids: Ids
    salt: bytes
    blocks: list[Block]

    @classmethod
    def of(cls, seating: Seating, ids: Ids, salt: bytes) -> State:
        """A copy of what the index of prefixes has of the first tokens of `ids`; perhaps of none."""
        executor, pools = seating.seats.executor, seating.seats.pools
        prefix = _index(seating).longest(ids, salt)
        blocks = [
            Block(
                [
                    None if page is None else executor.read_page(pool.pages, page)
                    for pool, page in zip(pools, node.pages, strict=True)
                ],
                None if node.states is None else list(node.states),
            )
            for node in prefix.nodes
        ]
        return cls(ids[: prefix.n_tokens], salt, blocks)

    def is_whole(self, windows: tuple[int, ...], has_states: bool) -> bool:
        """Is all there that the next token needs, in layers with these windows?"""
        return (not has_states or self.blocks[-1].states is not None) and all(
            block.pages[i] is not None
            for i, window in enumerate(windows)
            for block in self.blocks[first_block(len(self.ids), window) :]
        )

    def enter(self, seating: Seating) -> None:
        """Puts it into pages, which the index of prefixes keeps. NybbleError if there is no room: then what
        has found room is kept."""
        index, pools = _index(seating), seating.seats.pools
        first = [self._first_block(pool.pages.window, pool.n_free) for pool in pools]
        tip = index.begin(self.salt)
        try:
            for number, block in enumerate(self.blocks):
                with ExitStack() as users:
                    pages: list[int | None] = [None] * len(pools)
                    for i, (pool, arrays) in enumerate(zip(pools, block.pages, strict=True)):
                        if arrays is not None and number >= first[i]:
                            pages[i] = page = seating.take_page(pool)
                            users.callback(pool.leave, page)  # then the index is its only user
                            seating.seats.executor.write_page(pool.pages, page, arrays)
                    ids = self.ids[number * PAGE_SIZE :][:PAGE_SIZE].tolist()
                    states = None if block.states is None else [array.copy() for array in block.states]
                    tip = index.append(tip, ids, pages, states)
        finally:
            index.abandon(tip)
        if index.longest(self.ids, self.salt).n_tokens < len(self.ids):
            raise NybbleError("the index of prefixes keeps less")

    def _first_block(self, window: int, n_free: int) -> int:
        """The first block whose page is worth having: of windows those that the last token sees, and before
        them as many as pages are free."""
        seen = first_block(len(self.ids) - 1, window)
        return max(0, seen - max(0, n_free - (len(self.blocks) - seen)))


def _index(seating: Seating) -> PrefixIndex:
    if seating.index is None:
        raise ValueError("this executor has no pages")
    return seating.index
