"""What drafts for a model, by the argument `draft` of `LLM`."""

from __future__ import annotations

import os
from collections.abc import Callable

from ...errors import RequestError
from ...hub.models import resolve
from ..executors.base import Executor
from ..model import Model
from .drafter import DraftSource, NgramSource
from .model_source import ModelSource


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
