"""An answer as a row of parts: reasoning, words, calls of tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from ...engine.chat.message import ChatDelta


class Segment(NamedTuple):
    """A piece of an answer that is of one kind."""

    kind: Literal["reasoning", "content", "call"]
    text: str = ""
    call: Any = None
    """A call of a tool, which comes whole."""


def segments(deltas: Sequence[ChatDelta]) -> Iterator[Segment]:
    """The segments of pieces, in order; neighbours of a kind are one."""
    texts: list[str] = []
    kind: Literal["reasoning", "content"] = "content"
    for delta in deltas:
        for new, text in (("reasoning", delta.reasoning), ("content", delta.content)):
            if text and new != kind and texts:
                yield Segment(kind, "".join(texts))
                texts = []
            if text:
                kind = new  # type: ignore[assignment]  # it is one of the two
                texts.append(text)
        if delta.tool_calls and texts:
            yield Segment(kind, "".join(texts))
            texts = []
        for call in delta.tool_calls:
            yield Segment("call", call=call)
    if texts:
        yield Segment(kind, "".join(texts))
