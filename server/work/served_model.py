"""A model that is served, under the name that requests give."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...engine.backend import Backend
from ...engine.embedding.embedder import Pooling
from ...engine.sampling.params import SamplingParams
from ...errors import did_you_mean
from ..schema.sampling import MANY
from ..wire.errors import APIError, refused
from .engine_status import EngineStatus, HasStatus
from .runner import Runner

_CHARACTERS_PER_TOKEN = 16  # of a text that is longer than n_ctx times this nobody need count the tokens


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A backend and what the server knows of it."""

    name: str
    backend: Backend
    fingerprint: str = ""
    """Says what determines the bits of answers."""
    defaults: SamplingParams = field(default_factory=lambda: SamplingParams(temperature=1.0, max_tokens=MANY))
    """What requests do not say: as the OpenAI API has it, unless the file or the server's options differ."""
    pooling: Pooling | None = None
    """How embeddings are made of those of tokens; None: as the file says."""
    created: int = field(default_factory=lambda: int(time.time()))
    runner: Runner = field(default_factory=Runner)

    @property
    def status(self) -> EngineStatus | None:
        """How its engine is; None for one that runs in this process."""
        return self.backend.status if isinstance(self.backend, HasStatus) else None

    def refused(self, error: Exception) -> APIError:
        """What the backend has refused, in words that do not tell where its file lies."""
        found = refused(error)
        if path := self.backend.info.path:
            found.message = found.message.replace(path, f"the model {self.name}")
        return found

    def check_length(self, *texts: str) -> None:
        """`APIError` for texts that are too long to be worth counting their tokens."""
        n_max, n = _CHARACTERS_PER_TOKEN * self.backend.n_ctx, sum(map(len, texts))
        if n > n_max:
            raise APIError(
                400,
                f"the prompt has {n} characters, but the context holds only"
                f" n_ctx={self.backend.n_ctx} tokens; shorten it",
                code="context_length_exceeded",
            )


def find_model(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """The model of that name; without one the only model. `APIError` if there is none: a name is a key, and
    never becomes a path."""
    if name is None:
        if len(models) == 1:
            return next(iter(models.values()))
        raise APIError(400, f"model is missing; there are {_listed(list(models))}", param="model")
    found = models.get(name) or models.get(name.removesuffix(":latest"))
    if found is None:
        raise APIError(
            404,
            f"there is no model {name!r:.100}; there are {_listed(list(models))}{did_you_mean(name, models)}",
            param="model",
            code="model_not_found",
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
