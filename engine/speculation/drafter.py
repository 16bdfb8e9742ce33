"""What drafts tokens for the texts of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from .acceptance import Acceptance
from .draft import Draft
from .ngram import NgramDraft

N_DRAFT = 16
"""How many tokens are drafted for a step at the most, unless the user says otherwise."""


class Drafter:
    """Drafts for one text, and what became of them; `end` is called when the text has come to its end."""

    def __init__(self, draft: Draft, end: Callable[[], None] = lambda: None) -> None:
        self.acceptance = Acceptance()
        self.end = end
        self._draft = draft
        self._n_told = 0

    def propose(self, ids: Sequence[int], n: int) -> list[int]:
        """Up to `n` tokens that may come after `ids`, which are all of the text so far."""
        self._draft.extend(ids[self._n_told :])
        self._n_told = len(ids)
        return self._draft.propose(n)


class DraftSource(ABC):
    """Makes drafters for the texts of a model."""

    @abstractmethod
    def drafter(self) -> Drafter | None:
        """One for a new text; None if there is none left."""

    def close(self) -> None:  # noqa: B027 (not all have something to close)
        """Frees memory and threads."""


class NgramSource(DraftSource):
    """Drafts are looked up in the text itself."""

    def drafter(self) -> Drafter | None:
        return Drafter(NgramDraft())
