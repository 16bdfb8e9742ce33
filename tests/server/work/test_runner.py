"""What comes of texts is handed over once, in order, whenever it is asked for."""

import asyncio
from types import SimpleNamespace

from nybble.server.work.runner import Running


def test_what_comes_before_it_is_read_is_one_entry_for_each_text():
    """A reader may be slower than the steps."""
    texts = [SimpleNamespace(is_done=False, new=[], take=None) for _ in range(2)]
    for text in texts:
        text.take = lambda text=text: [text.new.pop(0) for _ in range(len(text.new))]
    running = Running([SimpleNamespace(choices=texts, result=lambda seconds: None)])

    def step(*pieces, last=False):
        for text, piece in zip(texts, pieces, strict=True):
            text.new.append(piece)
            text.is_done = last
        running.collect()

    async def read():
        found = []
        step("a", "x")
        step("b", "y")
        async for news in running:
            found.append(news)
            if len(found) == 1:
                step("c", "z")
                step("d", "w", last=True)
        return found

    assert asyncio.run(read()) == [
        [(0, ["a", "b"], False), (1, ["x", "y"], False)],
        [(0, ["c", "d"], True), (1, ["z", "w"], True)],
    ]
