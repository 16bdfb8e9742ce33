"""`LLM.score`: how probable given continuations are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ContextLengthError, RequestError
from ...gguf_io.display import Shown, brief
from ...system.notices import progress_bar
from ..executors.base import Ids
from ..generation.prompt import Prompt
from ..generation.prompts import Prompts
from ..scheduler.driver import Driver
from .score_job import ScoreJob


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """How probable a continuation is."""

    logprobs: NDArray[np.float64]
    """(n,): of each of its tokens the natural logarithm of its probability, after all that comes before."""
    is_greedy: bool
    """Is each of them the most probable one at its place, so that `LLM.generate` would give it?"""

    @property
    def logprob(self) -> float:
        """That of all of it: the sum."""
        return float(self.logprobs.sum())

    def _facts(self) -> dict[str, str]:
        return {
            "logprob": f"{self.logprob:.4f}",
            "is_greedy": str(self.is_greedy),
            "logprobs": brief(self.logprobs.tolist()),
        }


class Scorer(ABC):
    """The part of an `LLM` that scores continuations."""

    n_ctx: int
    _driver: Driver

    @abstractmethod
    def require_generation(self) -> None: ...

    @abstractmethod
    def _prompts(self, given: Any, name: str = "prompt", *, is_one: bool | None = None) -> Prompts: ...

    @abstractmethod
    def _continuation_ids(self, given: Prompt) -> Ids: ...

    def score(self, pairs: Sequence[tuple[Prompt, Prompt]], *, progress: bool = False) -> list[Score]:
        """How probable continuations are, each after its own context: a `Score` for each pair of the two.

            yes, no = llm.score([("Water is", " wet"), ("Water is", " dry")])
            yes.logprob > no.logprob

        A context is a prompt, as for `generate`; a continuation is a text, which is encoded by itself, or
        token ids. What contexts have in common at their beginnings is run once, in whatever order they come;
        the pairs run side by side. `progress`: show a progress bar.

        Raises RequestError for what is empty, ContextLengthError for a pair that does not fit into the
        context, and ModelError if the model gives NaN; nothing runs unless all pairs are well formed.
        """
        self.require_generation()
        if not isinstance(pairs, Sequence) or not all(_is_pair(pair) for pair in pairs):
            raise RequestError(f"pairs must be a list of (context, continuation), not {pairs!r:.100}")
        contexts = self._prompts([context for context, _ in pairs], "pairs", is_one=False)
        continuations = Prompts([text for _, text in pairs], self._ids_after, "pairs", is_one=False)
        for i, (context, continuation) in enumerate(zip(contexts.ids, continuations.ids, strict=True)):
            with contexts.naming(i):
                self._check_fits(context, continuation)
        jobs = list(map(ScoreJob, contexts.ids, continuations.ids))
        order = sorted(range(len(jobs)), key=lambda i: jobs[i].ids)  # neighbours have most in common
        done = self._driver.run_in_order(jobs[i] for i in order)
        with progress_bar("score", len(jobs), "continuation", shown=progress) as bar, closing(done):
            for i, job in zip(order, done, strict=True):
                if job.error is not None:
                    with contexts.naming(i):
                        raise job.error
                bar.update(1)
        return [Score(job.logprobs, bool(job.is_greedy.all())) for job in jobs]

    def _ids_after(self, continuation: Prompt) -> Ids:
        if isinstance(continuation, Sized) and len(continuation) == 0:
            raise RequestError("the continuation is empty")
        return self._continuation_ids(continuation)

    def _check_fits(self, context: Ids, continuation: Ids) -> None:
        n = len(context) + len(continuation) - 1  # the last token is not run
        if n > self.n_ctx:
            raise ContextLengthError(
                f"the context has {len(context)} tokens and the continuation {len(continuation)}, but all of"
                f" them but the last must fit in n_ctx={self.n_ctx}; choose a larger one, or shorten them"
            )


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2
