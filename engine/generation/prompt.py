"""Prompts: a text or token ids -> ids that are checked."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ContextLengthError, RequestError

Prompt = str | Sequence[int] | NDArray[np.integer[Any]]


def prompt_ids(
    prompt: Prompt, encode: Callable[[str], list[int]], n_vocab: int, n_ctx: int, n_ctx_train: int = 0
) -> NDArray[np.int32]:
    """The ids of `prompt`, (n,) int32, 1 <= n <= n_ctx, every id below n_vocab; else `RequestError`,
    of the kind `ContextLengthError` if they are too many.

    `n_ctx_train`: the context that the model was trained for, for the message."""
    ids = _text_ids(prompt, encode) if isinstance(prompt, str) else checked_ids(prompt, n_vocab)
    if len(ids) == 0:
        raise RequestError("the prompt is empty")
    if len(ids) > n_ctx:
        longer = f"choose a larger one (n_ctx={n_ctx_train} is what the model was trained for), or "
        raise ContextLengthError(
            f"the prompt has {len(ids)} tokens, but the context holds only n_ctx={n_ctx};"
            f" {longer if n_ctx_train > n_ctx else ''}shorten the prompt"
        )
    return ids


def _text_ids(text: str, encode: Callable[[str], list[int]]) -> NDArray[np.int32]:
    if not text:
        raise RequestError("the prompt is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"the prompt is not valid text: a lone surrogate, {text[error.start]!r}, at index {error.start}"
        ) from error
    return np.asarray(encode(text), np.int32)


def checked_ids(prompt: Any, n_vocab: int) -> NDArray[np.int32]:
    """Token ids (n,) int32, of any n; RequestError unless they are integers below n_vocab in a flat list."""
    is_number = isinstance(prompt, np.ndarray) and prompt.ndim == 0
    if not isinstance(prompt, Sequence | np.ndarray) or isinstance(prompt, bytes) or is_number:
        raise RequestError(f"a prompt is a text or a list of token ids, not {prompt!r:.100}")
    ids = prompt.tolist() if isinstance(prompt, np.ndarray) else prompt
    if ids and set(map(type, ids)) == {int} and min(ids) >= 0 and max(ids) < n_vocab:
        return np.asarray(ids, np.int32)  # as nearly always, and 20 times as fast as the loop
    for index, token_id in enumerate(ids):
        if not isinstance(token_id, int | np.integer) or isinstance(token_id, bool):
            raise RequestError(
                f"token ids are integers in one flat list, not {token_id!r:.100} at index {index}"
            )
        if not 0 <= token_id < n_vocab:
            raise RequestError(
                f"token id {token_id} at index {index} is outside the vocabulary, 0 to {n_vocab - 1}"
            )
    return np.asarray(ids, np.int32)
