"""The index of prefixes: what has been computed of sequences, by their tokens.

A tree: a node holds a page of tokens, and is reached through the nodes of the tokens before it. Sequences of
the same first tokens share its pages, since these depend on nothing else. A node that is not full holds the
end of a sequence; whoever takes it over goes on in a copy of its page.

Of windowed layers a node may have no page any more, and the states of recurrent layers are kept for few
nodes: a prefix can be taken over where all is there that its next token needs.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..executors.base import Executor, Ids, States
from .pages import PagePool
from .prefix import PAGE_SIZE, Node, Prefix, first_block
from .seat import Seat

STATE_BYTES = 256 << 20
"""What the states of recurrent layers may take that are kept for later."""


class PrefixIndex:
    """Nodes for the sequences of an executor. It is a user of every page that it holds, and lets go of those
    that were not used for the longest time when a pool runs out; and of states beyond `state_bytes`."""

    def __init__(self, executor: Executor, pools: Sequence[PagePool], state_bytes: int = STATE_BYTES) -> None:
        self._executor = executor
        self._pools = pools
        self._has_states = executor.n_state_bytes > 0
        self._n_states_left = state_bytes // max(1, executor.n_state_bytes)
        self._roots: dict[bytes, Node] = {}
        self._nodes: OrderedDict[Node, None] = OrderedDict()  # those used longest ago first
        # Of each pool, how many nodes have a page: several if a seat has left before it wrote to it.
        self._n_holders: list[Counter[int]] = [Counter() for _ in pools]
        for i, pool in enumerate(pools):
            pool.reclaim = partial(self._reclaim, i)

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, ids: Ids, salt: bytes) -> Prefix:
        """The longest prefix of `ids` (n,), without the last of them, that can be taken over."""
        return self.longest(ids[:-1], salt)

    def longest(self, ids: Ids, salt: bytes) -> Prefix:
        """The longest prefix of `ids` (n,) after which a sequence can go on. Sequences with another salt have
        nothing in common."""
        root = self._root(salt)
        node = self._walk(root, ids)
        ends = [(_n_common(child.ids, ids[node.end :]), child) for child in node.children.values()]
        for n, child in sorted(ends, key=lambda end: -end[0]):
            if n and self._is_usable(prefix := Prefix(node, child, node.end + n)):
                return prefix
        while node is not root and not self._is_usable(Prefix(node, None, node.end)):
            node = node.parent or root
        return Prefix(node, None, node.end)

    def continuation(self, ids: Ids, salt: bytes) -> tuple[int, Ids]:
        """How many of `ids` are those of a sequence in the index, at most, and how that one goes on."""
        node = self._walk(self._root(salt), ids)
        ends = [(_n_common(child.ids, ids[node.end :]), child) for child in node.children.values()]
        n, child = max(ends, key=lambda end: end[0], default=(0, None))
        return node.end + n, ids[:0] if child is None else child.ids[n:]

    def enter(self, prefix: Prefix, seat: Seat) -> Node:
        """Gives an empty seat a prefix; -> the node after which it will fill pages."""
        n, tip, nodes = prefix.n_tokens, prefix.tip, prefix.nodes
        pages = []
        for i, pool in enumerate(self._pools):
            seen = nodes[first_block(n, pool.pages.window) :]
            pages.append([(node.start // PAGE_SIZE, node.pages[i]) for node in seen])
        seat.adopt(pages, n, nodes[-1].states if nodes and self._has_states else None)  # type: ignore[arg-type]
        tip.n_seats += 1
        for node in reversed(nodes):
            self._nodes.move_to_end(node)
        return tip

    def keep(self, tip: Node, ids: Sequence[int], seat: Seat) -> Node:
        """Takes in the pages after `tip` that a seat with these `ids` has filled; -> the last of them."""
        old = tip
        while (end := tip.end + PAGE_SIZE) <= seat.n_positions:
            tip = self._move(tip, self._add(tip, ids[tip.end : end], seat.pages_of(tip.end // PAGE_SIZE)))
        if tip is not old:
            self._let_windows_slide(tip, seat)
        if tip.parent and seat.n_positions == tip.end:
            self._keep_states(tip, partial(self._executor.states_of, seat.number))
        return tip

    def leave(self, tip: Node, ids: Sequence[int], seat: Seat) -> None:
        """Takes in what a seat holds after `tip`, where it is given back."""
        end = tip
        if seat.n_positions > tip.end:
            end = self._add(tip, ids[tip.end : seat.n_positions], seat.pages_of(tip.end // PAGE_SIZE))
        if end.parent:
            self._keep_states(end, partial(self._executor.states_of, seat.number))
            self.pin(end)
        self.abandon(tip)

    def pin(self, tip: Node) -> None:
        """Lets windowed layers keep what a token after `tip` sees, as long as there are pages."""
        widest = max((pool.pages.window for pool in self._pools), default=0)
        node = tip
        while node.parent is not None and node.end > tip.end - widest:
            node.is_pinned = True
            node = node.parent

    def begin(self, salt: bytes) -> Node:
        """Where sequences with this salt begin, for `append`; `abandon` what the last one gives."""
        root = self._root(salt)
        root.n_seats += 1
        return root

    def append(
        self, tip: Node, ids: Sequence[int], pages: Sequence[int | None], states: States | None
    ) -> Node:
        """Takes in the tokens `ids` after `tip`, a page of them or fewer, whose pages have been filled by the
        caller and are in use, and the states after them; -> their node."""
        new = self._move(tip, self._add(tip, ids, pages))
        if states is not None:
            self._keep_states(new, lambda: states)
        self.pin(new)
        return new

    def retreat(self, tip: Node, n_tokens: int) -> Node:
        """The last node before position n_tokens, from which a seat goes on instead."""
        new = tip
        while new.end > n_tokens and new.parent is not None:
            new = new.parent
        new.n_seats += 1
        self.abandon(tip)
        return new

    def abandon(self, tip: Node) -> None:
        """A seat does not go on after `tip`."""
        tip.n_seats -= 1
        self._prune(tip)

    def n_reclaimable(self, pool: PagePool) -> int:
        """How many pages of a pool nobody uses but the index."""
        holders = self._n_holders[self._pools.index(pool)]
        return sum(pool.n_users(page) == n for page, n in tuple(holders.items()))

    def clear(self) -> None:
        """Lets go of everything that no seat goes on from."""
        while leaves := [node for node in self._nodes if node.is_leaf]:
            for node in leaves:
                self._remove(node, prunes=False)

    def _move(self, tip: Node, new: Node) -> Node:
        """Who goes on after `tip` goes on after another node instead."""
        tip.n_seats -= 1
        new.n_seats += 1
        return new

    def _root(self, salt: bytes) -> Node:
        if salt not in self._roots:
            key = hashlib.sha256(salt).digest()
            self._roots[salt] = Node(key, None, 0, np.empty(0, np.int32), [None] * len(self._pools))
        return self._roots[salt]

    def _walk(self, node: Node, ids: Ids) -> Node:
        """The last full node of those that hold `ids`."""
        while node.end + PAGE_SIZE <= len(ids):
            own = ids[node.end : node.end + PAGE_SIZE]
            child = node.children.get(_key(node, own))
            if child is None or not np.array_equal(child.ids, own):
                break
            node = child
        return node

    def _is_usable(self, prefix: Prefix) -> bool:
        """Is all there for the token that comes next?"""
        n, last = prefix.n_tokens, prefix.rest or prefix.tip
        if self._has_states and (last.end != n or last.states is None):
            return False
        nodes = prefix.nodes
        return all(
            node.pages[i] is not None
            for i, pool in enumerate(self._pools)
            for node in nodes[first_block(n, pool.pages.window) :]
        )

    def _add(self, parent: Node, ids: Sequence[int], pages: Sequence[int | None]) -> Node:
        """The node of `ids` after `parent`, with pages that somebody else uses, too."""
        own = np.array(ids, np.int32)
        key = _key(parent, own)
        node = parent.children.get(key)
        if node is None:
            node = Node(key, parent, parent.end, own, [None] * len(self._pools))
            if not self._has_states:  # then an end that `own` goes beyond is of no more use
                for sibling in list(parent.children.values()):
                    if sibling.is_leaf and len(sibling.ids) == _n_common(sibling.ids, own):
                        self._remove(sibling, prunes=False)
            parent.children[key] = node
            self._nodes[node] = None
        for i, page in enumerate(pages):
            if node.pages[i] is None and page is not None:
                node.pages[i] = page
                self._pools[i].join(page)
                self._n_holders[i][page] += 1
        self._nodes.move_to_end(node)
        return node

    def _let_windows_slide(self, tip: Node, seat: Seat) -> None:
        """Lets go of the pages of windowed layers that the seat has given back and that nobody else needs."""
        for i, pool in enumerate(self._pools):
            for node in tip.path() if pool.pages.window else ():
                page, is_behind = node.pages[i], node.start // PAGE_SIZE < seat.first_block(i)
                if page is not None and is_behind and not node.is_pinned and pool.n_users(page) == 1:
                    self._let_go(node, i)

    def _keep_states(self, node: Node, states: Callable[[], States]) -> None:
        """Keeps the states after `node`, if they are not kept yet."""
        if not self._has_states or node.states is not None:
            return
        if self._n_states_left == 0:
            oldest = next((one for one in self._nodes if one.states is not None), None)
            if oldest is None:
                return
            self._drop_states(oldest)
            self._prune(oldest)
        node.states = states()
        self._n_states_left -= 1

    def _drop_states(self, node: Node) -> None:
        if node.states is not None:
            node.states = None
            self._n_states_left += 1

    def _reclaim(self, i: int) -> bool:
        """Lets go of the page of a pool that was not used for the longest time, or of one of the nodes that
        have it; False if there is none."""
        pool = self._pools[i]
        for node in self._nodes:
            page = node.pages[i]
            if page is None or pool.n_users(page) > self._n_holders[i][page]:
                continue
            if pool.pages.window:
                self._let_go(node, i)
                self._prune(node)
                return True
            if node.is_leaf:
                self._remove(node)
                return True
        return False

    def _let_go(self, node: Node, i: int) -> None:
        """Takes a node's page of a pool from it, if it has one."""
        page = node.pages[i]
        if page is not None:
            node.pages[i] = None
            self._pools[i].leave(page)
            self._n_holders[i][page] -= 1
            if not self._n_holders[i][page]:
                del self._n_holders[i][page]

    def _remove(self, node: Node, prunes: bool = True) -> None:
        """Lets go of a leaf and, where it was all that they were kept for, of the nodes before it."""
        for i in range(len(self._pools)):
            self._let_go(node, i)
        self._drop_states(node)
        del self._nodes[node]
        if node.parent is not None:
            del node.parent.children[node.key]
            if prunes:
                self._prune(node.parent)

    def _prune(self, node: Node) -> None:
        """Removes a leaf that holds nothing."""
        is_empty = node.states is None and all(page is None for page in node.pages)
        if node.parent is not None and node.is_leaf and is_empty:
            self._remove(node)


def _key(parent: Node, ids: Ids) -> bytes:
    """SHA-256 over the ids and the key of the node before, and so over all ids and the salt."""
    return hashlib.sha256(parent.key + ids.astype("<i4").tobytes()).digest()


def _n_common(a: Ids, b: Ids) -> int:
    """How many first ids two arrays have in common."""
    n = min(len(a), len(b))
    differing = np.flatnonzero(a[:n] != b[:n])
    return int(differing[0]) if len(differing) else n
