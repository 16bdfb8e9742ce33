"""What drafts for a model, by the argument `draft` of `LLM`."""

from __future__ import annotations

import os
from collections.abc import Callable

from ...errors import RequestError
from ...hub.models import resolve
from ..executors.base import Executor
from ..model import Model
from ..scheduler.seats import Seats
from ..speculation.draft_model import ModelDraft
from ..speculation.drafter import Drafter, DraftSource, NgramSource
from ..speculation.same_vocabulary import require_same_vocabulary


class ModelSource(DraftSource):
    """The model in the file `path`; `make` makes its executor. Raises what loading it raises, and
    RequestError if its vocabulary is not that of `model`."""

    def __init__(self, path: str | os.PathLike[str], model: Model, make: Callable[[Model], Executor]) -> None:
        self._model = Model.load(path)
        try:
            require_same_vocabulary(self._model, model)
            self._executor = make(self._model)
        except BaseException:
            self._model.close()
            raise
        self._n_vocab = model.config.n_vocab
        self._seats = Seats(self._executor)

    def drafter(self) -> Drafter | None:
        if not self._seats.n_free:
            return None
        seat = self._seats.take()
        return Drafter(ModelDraft(seat, self._n_vocab), lambda: self._seats.give_back(seat))

    def close(self) -> None:
        self._executor.close()
        self._model.close()


def draft_source(
    draft: str | os.PathLike[str] | None, model: Model, make: Callable[[Model], Executor]
) -> DraftSource | None:
    """For "ngram", or the name or path of a smaller model, whose executor `make` makes; None for none.
    RequestError for anything else, or if it does not suit `model`."""
    if draft is None:
        return None
    if not isinstance(draft, str | os.PathLike):
        raise RequestError(f'draft must be "ngram", a name or path of a model, or None, not {draft!r:.100}')
    model.require_generation()
    return NgramSource() if draft == "ngram" else ModelSource(resolve(draft), model, make)
