"""What a sampler of the chain is, and those of the caller."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...errors import RequestError
from .checks import is_integer
from .logits import Logits


class ChainSampler(Protocol):
    """A sampler of the chain: an object of a class with this method, or any callable."""

    def __call__(self, logits: Logits, ids: Sequence[int], /) -> int | None:
        """Changes the `logits` of what may come next, or leaves some tokens out of them. `ids` is the text so
        far, the prompt included, and must not be changed. One that returns an id chooses the token, and the
        samplers after it do not run."""


class OwnSampler:
    """A caller's sampler, whose results are checked; `name` is for messages. Each text has a copy of its own,
    so a sampler may keep in its attributes what it knows of the text."""

    def __init__(self, sampler: ChainSampler, name: str) -> None:
        self._name = name
        try:
            self._sampler = copy.deepcopy(sampler)
        except Exception as error:
            raise RequestError(
                f"{name} cannot be copied, and each text gets a copy of its own: {error}; give its class a"
                " `__deepcopy__`"
            ) from error

    def __call__(self, logits: Logits, ids: Sequence[int]) -> int | None:
        chosen = self._sampler(logits, ids)
        values = logits.values
        if len(values) == 0 or (largest := values.max()) == -np.inf:
            raise RequestError(f"no token is left that may come next: {self._name} has banned the rest")
        if not np.isfinite(largest):
            raise RequestError(f"{self._name} has made logits NaN or infinite")
        if chosen is None:
            return None
        if not is_integer(chosen) or not 0 <= chosen < logits.n_vocab:
            raise RequestError(
                f"{self._name} must give None, or the id of a token, 0 to {logits.n_vocab - 1}, not"
                f" {chosen!r:.100}"
            )
        return int(chosen)
