"""A long text in windows that a model's context holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt, prompt_ids
from ..engine.llm import LLM
from ..errors import RequestError
from ..gguf_io.display import Shown

ROWS = 32  # rows of logits that are processed together: for large vocabularies all take hundreds of megabytes
_ANY_LENGTH = 2**31 - 1
_DEFAULT_SIZE = 512  # as llama-perplexity has it


@dataclass(frozen=True, repr=False)
class Window(Shown):
    """Tokens that are run together, of which the last ones are scored."""

    ids: NDArray[np.int32]
    first_scored: int
    """ids[first_scored:] are predicted, each from all before it in the window."""
    start: int
    """The place of ids[0] in the text."""

    @property
    def rows(self) -> range:
        """The positions whose logits predict the scored tokens."""
        return range(self.first_scored - 1, len(self.ids) - 1)

    @property
    def scored_ids(self) -> NDArray[np.int32]:
        """The scored tokens."""
        return self.ids[self.first_scored :]

    @property
    def places(self) -> NDArray[np.intp]:
        """The positions of the scored tokens in the text."""
        return self.start + np.arange(self.first_scored, len(self.ids))


def text_windows(llm: LLM, text: Prompt, n_ctx: int | None, stride: int | None) -> list[Window]:
    """The windows of `text`, a text or ids without BOS; each begins with BOS if the tokenizer adds it."""
    n_ctx = window_size(n_ctx, llm)
    ids = prompt_ids(text, lambda text: _encode(llm, text), llm.config.n_vocab, _ANY_LENGTH)
    return windows(ids, n_ctx, stride, _bos_id(llm))


def stream_windows(llm: LLM, pieces: Iterable[str], n_ctx: int | None) -> Iterator[NDArray[np.int32]]:
    """Cuts a text that comes in pieces, each of which is encoded by itself, into windows of n_ctx tokens (see
    `window_size`), the last perhaps shorter; each begins with BOS if the tokenizer adds it."""
    n_ctx = window_size(n_ctx, llm)
    bos_id = _bos_id(llm)
    return _cut((_encode(llm, piece) for piece in pieces), n_ctx, [] if bos_id is None else [bos_id])


def _cut(pieces: Iterable[list[int]], n_ctx: int, front: list[int]) -> Iterator[NDArray[np.int32]]:
    waiting: list[int] = []
    size = n_ctx - len(front)
    for piece in pieces:
        waiting += piece
        n_whole = len(waiting) // size * size
        for start in range(0, n_whole, size):
            yield np.array([*front, *waiting[start : start + size]], np.int32)
        waiting = waiting[n_whole:]
    if waiting:
        yield np.array([*front, *waiting], np.int32)


def _encode(llm: LLM, text: str) -> list[int]:
    if llm.tokenizer is None:
        raise RequestError(f"{llm.path} has no tokenizer; give token ids instead of a text")
    return llm.tokenizer.encode(text, add_special=False)


def _bos_id(llm: LLM) -> int | None:
    return llm.tokenizer.bos_id if llm.tokenizer is not None and llm.tokenizer.add_bos else None


def window_size(n_ctx: int | None, *llms: LLM) -> int:
    """The tokens of a window: n_ctx, by default 512, or the size of the smallest context if that is less.
    RequestError for more than a context holds."""
    largest = min(llm.n_ctx for llm in llms)
    if n_ctx is None:
        return min(_DEFAULT_SIZE, largest)
    if n_ctx < 2:
        raise RequestError(f"a window must have at least 2 tokens, not {n_ctx}")
    if n_ctx > largest:
        raise RequestError(f"a window of {n_ctx} tokens is more than the context holds, n_ctx={largest}")
    return n_ctx


def windows(
    ids: NDArray[np.int32], n_ctx: int, stride: int | None = None, bos_id: int | None = None
) -> list[Window]:
    """Cuts ids (n,) into windows of n_ctx tokens, the last perhaps shorter.

    Without a stride windows follow each other and the second half of each is scored, as in llama.cpp; an
    incomplete last one is left out. With a stride of s each window begins s tokens after the one before, and
    every token is scored once, with at least n_ctx - s tokens before it. `bos_id` replaces each window's
    first token. Raises RequestError for fewer than two tokens, and for wrong sizes.
    """
    if n_ctx < 4:
        raise RequestError(f"a window must have at least 4 tokens, not {n_ctx}")
    if stride is not None and not 1 <= stride < n_ctx:
        raise RequestError(f"stride must be from 1 to {n_ctx - 1}, one less than a window, not {stride}")
    if len(ids) < 2:
        raise RequestError(f"the text has {len(ids)} tokens; at least two are needed to predict one")
    found = list(_strided(ids, n_ctx, stride) if stride else _halves(ids, n_ctx))
    if bos_id is not None:
        for window in found:
            window.ids[0] = bos_id
    return found


def together(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Groups of windows in a row whose `rows` are the same, of 512 tokens at most, or of one window."""
    group: list[Window] = []
    for window in windows:
        is_full = (len(group) + 1) * len(window.ids) > _DEFAULT_SIZE
        if group and (is_full or window.rows != group[0].rows):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _halves(ids: NDArray[np.int32], n_ctx: int) -> Iterator[Window]:
    n_ctx = min(n_ctx, len(ids))
    for start in range(0, len(ids) - n_ctx + 1, n_ctx):
        yield Window(ids[start : start + n_ctx].copy(), max(1, n_ctx // 2 + 1), start)


def _strided(ids: NDArray[np.int32], n_ctx: int, stride: int) -> Iterator[Window]:
    n_scored = 1
    for start in range(0, len(ids), stride):
        stop = min(start + n_ctx, len(ids))
        if stop > n_scored:
            yield Window(ids[start:stop].copy(), n_scored - start, start)
        n_scored = stop
