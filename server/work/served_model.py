"""A model that is served, under the name that requests give."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from ...engine.backend import Backend
from ...engine.embedding.embedder import Pooling
from ...engine.sampling.params import SamplingParams
from ...errors import RequestError
from ..schema.sampling import MANY
from ..wire.errors import APIError, refused
from .engine_status import EngineStatus, HasStatus
from .runner import Runner

_CHARACTERS_PER_TOKEN = 16  # of a text that is longer than n_ctx times this nobody need count the tokens

API_DEFAULTS = SamplingParams(temperature=1.0, max_tokens=MANY)
"""What the OpenAI API has where neither a request, nor an option, nor the file says something."""


def defaults_of(by_file: SamplingParams) -> SamplingParams:
    """What requests do not say, of a model whose file recommends `by_file`; greedy is no recommendation."""
    return API_DEFAULTS if by_file == SamplingParams() else replace(by_file, max_tokens=MANY)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A backend and what the server knows of it."""

    name: str
    backend: Backend
    fingerprint: str = ""
    """Says what determines the bits of answers."""
    defaults: SamplingParams = API_DEFAULTS
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

    def infill(self, prefix: str, suffix: str) -> list[int]:
        """The prompt for what stands between two texts; RequestError for a model that fills no gaps."""
        if self.backend.tokenizer is None:
            raise RequestError("`suffix` needs a model with a tokenizer; this one knows token ids alone")
        ids: list[int] = self.backend.tokenizer.infill(prefix, suffix)
        return ids
