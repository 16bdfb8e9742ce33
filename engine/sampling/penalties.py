"""Samplers that change the logits of tokens by what is in the text so far, and by their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from .logits import Logits

_MAX_TAIL = 160  # bytes of the longest breaker, and so tokens at most


class LogitBias:
    """Adds a number to the logits of some tokens; `bias`: token id -> number."""

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._ids = np.fromiter(bias.keys(), np.intp, len(bias))
        self._bias = np.fromiter(bias.values(), np.float32, len(bias))

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        logits[self._ids] += self._bias


class Penalties:
    """Lowers the logits of the tokens among the last `last_n`: a positive one is divided by `repeat`, another
    multiplied (Keskar et al. 2019, arXiv:1909.05858); then `presence` is subtracted, and `frequency` for each
    time that the token is there."""

    def __init__(
        self, last_n: int = 64, repeat: float = 1.0, frequency: float = 0.0, presence: float = 0.0
    ) -> None:
        self.last_n, self.repeat, self.frequency, self.presence = last_n, repeat, frequency, presence

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        if self.last_n == 0:
            return
        counts = Counter(ids[-self.last_n :])
        seen = np.fromiter(counts.keys(), np.intp, len(counts))
        times = np.fromiter(counts.values(), np.float32, len(counts))
        z = logits[seen]
        z = np.where(z > 0, z / np.float32(self.repeat), z * np.float32(self.repeat))
        logits[seen] = z - (times * np.float32(self.frequency) + np.float32(self.presence))


class Dry:
    """ "Don't repeat yourself" (p-e-w, text-generation-webui, pull request 5677): if the text ends with the n
    tokens that once came before a token, and n is at least `allowed_length`, that token's logit is lowered by
    multiplier * base ** (n - allowed_length).

    The last `last_n` tokens are looked at. `breakers` are sequences of tokens across which nothing counts as
    repeated: first id -> the ids that follow it, for each.
    """

    def __init__(
        self,
        multiplier: float,
        base: float = 1.75,
        allowed_length: int = 2,
        last_n: int = 64,
        breakers: Mapping[int, Sequence[tuple[int, ...]]] | None = None,
    ) -> None:
        self.multiplier, self.base, self.allowed_length, self.last_n = (
            multiplier,
            base,
            allowed_length,
            last_n,
        )
        self._breakers = breakers or {}
        # The power must be finite in float32.
        self._max_exponent = 88.7 / np.log(base) if base > 1.000001 else np.inf

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        if not self.last_n:
            return
        last_first = ids[-self.last_n :][::-1]
        limit = self._unbroken(last_first)
        lengths: dict[int, int] = {}
        if self.allowed_length <= limit:
            for k, length in _repeated(last_first, self.allowed_length):
                token_id = last_first[k - 1]  # came after the tokens from k on
                lengths[token_id] = max(lengths.get(token_id, 0), min(length, limit))
        for token_id, length in lengths.items():
            if () not in self._breakers.get(token_id, ()):
                exponent = min(length - self.allowed_length, self._max_exponent)
                logits[token_id] -= np.float32(self.multiplier * self.base**exponent)

    def _unbroken(self, last_first: Sequence[int]) -> int:
        """How many of the last tokens come after the last breaker."""
        if self._breakers:
            for i, token_id in enumerate(last_first):
                if not (tails := self._breakers.get(token_id)):
                    continue
                after = tuple(last_first[max(0, i - _MAX_TAIL) : i][::-1])
                if fitting := [len(tail) for tail in tails if tail == after[: len(tail)]]:
                    return i - max(fitting)
        return len(last_first)


def _repeated(items: Sequence[int], at_least: int) -> list[tuple[int, int]]:
    """Each k from 1 on, and the n of at least `at_least` for which items[k : k + n] are the first n items.

    By the Z algorithm (Gusfield 1997, Algorithms on Strings, Trees and Sequences, 1.4), in linear time.
    """
    n, found = len(items), []
    lengths = [0] * n
    left = right = 0  # items[left:right] are the first ones, with the largest `right` so far
    for k in range(1, n):
        length = min(lengths[k - left], right - k) if k < right else 0
        if k + length >= right:
            while k + length < n and items[length] == items[k + length]:
                length += 1
            left, right = k, k + length
        lengths[k] = length
        if length >= at_least:
            found.append((k, length))
    return found
