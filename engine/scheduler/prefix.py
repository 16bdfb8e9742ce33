"""Prefixes: the first tokens of a sequence, a page of them in each node of a tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...kernels.attention.kv_cache import CACHE_BLOCK
from ..executors.base import Ids, States

PAGE_SIZE = CACHE_BLOCK


@dataclass(eq=False)
class Node:
    """The tokens `ids` (n,) from position `start`, a multiple of `PAGE_SIZE`, on.

    `pages`: of each pool. `states`: after the last of the tokens. `n_seats`: how many seats are to fill what
    comes next. `is_pinned`: windowed layers keep its pages when the seat that has filled them goes on.
    """

    key: bytes
    parent: Node | None
    start: int
    ids: Ids
    pages: list[int | None]
    states: States | None = None
    n_seats: int = 0
    is_pinned: bool = False
    children: dict[bytes, Node] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The position after its last token."""
        return self.start + len(self.ids)

    @property
    def is_leaf(self) -> bool:
        """Does nothing go on from here?"""
        return not self.children and not self.n_seats

    def path(self) -> list[Node]:
        """The nodes from the first tokens to this one, without the root."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]


@dataclass(frozen=True)
class Prefix:
    """The first `n_tokens` tokens of a sequence: those up to the full node `tip`, and some of `rest`'s."""

    tip: Node
    rest: Node | None
    n_tokens: int

    @property
    def nodes(self) -> list[Node]:
        """Those of its tokens."""
        return self.tip.path() + ([self.rest] if self.rest else [])


def first_block(n: int, window: int) -> int:
    """The first page that a token at position n sees something of."""
    return max(0, n - window + 1) // PAGE_SIZE if window else 0
