"""Conversations that outgrow the context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from ...errors import ContextLengthError, RequestError
from ..chat.conversation import Conversation, turns
from ..chat.template import RenderedChat

Overflow = Literal["error", "drop_middle"]


def fitting(
    conversation: Conversation,
    render: Callable[[Conversation], RenderedChat],
    n_ctx: int,
    max_tokens: int,
    overflow: Overflow,
) -> tuple[RenderedChat, int]:
    """The conversation as a prompt that fits into a context of n_ctx tokens, and how many messages were left
    out for that.

    "drop_middle" leaves out the oldest turns, whole, but for the messages before the first user's and the
    last turn; as few as make room for an answer of `max_tokens`, of a quarter of the context at most. Raises
    RequestError for "error", and where the last turn alone does not fit.
    """
    if overflow not in ("error", "drop_middle"):
        raise RequestError(f'overflow must be "error" or "drop_middle", not {overflow!r:.100}')
    prompt = render(conversation)
    if len(prompt.token_ids) <= n_ctx and overflow == "error":
        return prompt, 0
    n_free = min(max_tokens, n_ctx // 4)
    n_first, starts = turns(conversation.messages)
    if overflow == "error" or (len(prompt.token_ids) > n_ctx - n_free and len(starts) < 2):
        if len(prompt.token_ids) <= n_ctx:
            return prompt, 0
        raise _too_long(len(prompt.token_ids), n_ctx, overflow)
    if len(prompt.token_ids) <= n_ctx - n_free:
        return prompt, 0

    def shortened(n_turns: int) -> RenderedChat:
        messages = conversation.messages
        return render(replace(conversation, messages=messages[:n_first] + messages[starts[n_turns] :]))

    low, high = 1, len(starts) - 1  # how many turns go: the fewest that are enough, found by halving
    while low < high:
        middle = (low + high) // 2
        if len(shortened(middle).token_ids) <= n_ctx - n_free:
            high = middle
        else:
            low = middle + 1
    prompt = shortened(low)
    if len(prompt.token_ids) > n_ctx:
        raise _too_long(len(prompt.token_ids), n_ctx, overflow)
    return prompt, starts[low] - n_first


def _too_long(n_tokens: int, n_ctx: int, overflow: Overflow) -> ContextLengthError:
    if overflow == "error":
        return ContextLengthError(
            f"the conversation has {n_tokens} tokens, but the context holds only n_ctx={n_ctx}; choose a"
            ' larger one, shorten the conversation, or leave out its oldest turns with overflow="drop_middle"'
        )
    return ContextLengthError(
        f"the last turn of the conversation, with the system's message, has {n_tokens} tokens, but the"
        f" context holds only n_ctx={n_ctx}; choose a larger one, or shorten the turn"
    )
