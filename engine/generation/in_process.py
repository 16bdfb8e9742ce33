"""The part of an `LLM` that computes: texts become jobs of the scheduler in this process, whose state can be
kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...tokenizer import IdsOnly
from ..executors.base import Ids
from ..hooks.taps import Edits, Taps, edits_key
from ..sampling.chain import Breakers
from ..sampling.functions import sampling_functions
from ..sampling.params import SamplingParams
from ..scheduler.driver import Driver
from ..scheduler.scheduler import Scheduler
from ..scheduler.state_file import load_state
from ..speculation.drafter import DraftSource
from .breakers import sequence_breakers
from .chat_tokenizer import ChatTokenizer
from .generator import Generator, OnNews, OnToken
from .prompt import Prompt
from .request import Request
from .sequence import Sequence as TokenSequence
from .text_job import TextJob


class InProcess(Generator):
    """A `Generator` with a scheduler."""

    executor: str
    load_seconds: float
    compile_seconds: float
    scheduler: Scheduler
    _driver: Driver
    _draft_source: DraftSource | None

    def sequence(
        self, prompt: Prompt, *, edit: Edits | None = None, cache_prompt: bool = True
    ) -> TokenSequence:
        """A sequence of tokens whose next ones the caller chooses, by its `logits`; it can be forked and
        truncated. `cache_prompt`: see `SamplingParams`."""
        self.require_generation()
        ids, salt = self.prompt_ids(prompt), edits_key(edit) if cache_prompt else None
        return TokenSequence(self._driver, ids, self._taps(ids, edit), salt)

    def save_state(
        self, path: str | os.PathLike[str], what: Prompt | TokenSequence | Request
    ) -> NDArray[np.int32]:
        """Writes what has been computed of some tokens to a file: the keys and values of layers, and
        recurrent states; -> the tokens, (n,) int32.

            llm.save_state("story.state", "Once upon a time")
            llm.load_state("story.state")  # or another LLM of the same model, later

        `what`: a prompt, a text or token ids, which runs unless it is computed already; or a `Sequence` or
        `Request`, of which the tokens so far are saved. With edits only those that have a `cache_key` can be.

        The state takes memory twice until it is written. Raises RequestError for what cannot be saved, and
        what `generate` raises.
        """
        if not isinstance(what, TokenSequence | Request):
            with self.sequence(what) as sequence:
                return sequence.save(path)
        if what._driver is not self._driver:
            raise RequestError("what is saved must belong to this LLM; call its own `save(path)`")
        return what.save(path)

    def load_state(self, path: str | os.PathLike[str]) -> NDArray[np.int32]:
        """Reads a file that `save_state` has written; -> its tokens, (n,) int32. The next prompt that begins
        with them takes over what was computed, as if it had been computed here: `n_cached_tokens` says how
        many, and the bits of what follows are the same.

        It is kept as the beginnings of prompts are: until room is needed, and what was not used for the
        longest time goes first. If there is no room for it, running requests, the youngest first, give
        theirs, and go on later.

        Raises RequestError, with the reason, for a file that is no state, was cut short or changed, is of
        another model, of another type of keys and values, or of another version of nybble, or has more tokens
        than n_ctx. The checksum tells damage, and does not say who wrote it: load files from people you
        trust.
        """
        self.require_generation()
        return load_state(self.scheduler, path)

    def explain_cache(self, prompt: Prompt) -> str:
        """In words, how much of `prompt` is computed already, and where it leaves what is."""
        scheduler, ids = self.scheduler, self.prompt_ids(prompt)
        if not scheduler.executor.can_share:
            return "this executor keeps nothing of prompts"
        n, n_same, next_ids = scheduler.cached(ids)
        found = f"{n} of {len(ids)} tokens are computed already"
        if n_same == len(ids):
            return f"{found}; the whole prompt is known, and its last token runs again for the logits"
        if n_same == 0:
            return f"{found}: no cached prompt begins with {self._shown(ids[:8])}"
        known = "" if n == n_same else f"; {n_same} are known, but what layers need there is kept no more"
        other = f"goes on with {self._shown(next_ids[:8])}" if len(next_ids) else "ends there"
        here = self._shown(ids[n_same:][:8])
        return f"{found}{known}; at token {n_same} this one goes on with {here}, and what is cached {other}"

    def text_jobs(
        self, ids: Ids, params: SamplingParams, edit: Edits | None, text: ChatTokenizer | None
    ) -> list[TextJob]:
        """Jobs for the texts of a prompt that another `Generator` of this model has checked."""
        return self._jobs(ids, params, edit, None, text)

    def submit_texts(self, jobs: Sequence[TextJob], on_news: OnNews) -> None:
        """Lets them run in the background; see `submit`."""
        self._submit(jobs, on_news)

    @property
    def _n_outputs(self) -> int:
        return self.scheduler.n_outputs

    @property
    def _has_draft(self) -> bool:
        return self._draft_source is not None

    def _jobs(
        self,
        ids: Ids,
        params: SamplingParams,
        edit: Edits | None,
        on_token: OnToken | None = None,
        text: ChatTokenizer | None = None,
    ) -> list[TextJob]:
        """See `Generator._jobs`."""
        functions = sampling_functions(params, is_compiled=self.executor == "numba")
        grammar = params.constraint
        breakers = self._breakers(params.dry_sequence_breakers) if params.dry_multiplier else None
        jobs = [
            TextJob(
                ids,
                params,
                text or self._text,
                self.n_ctx,
                functions,
                self._taps(ids, edit),
                _salt(params, edit),
                choice=choice,
                breakers=breakers,
                constraint=None if grammar is None else self._grammars.constraint(grammar),
                on_token=on_token,
                receipts=self._receipts(params, choice, edit, text or self._text),
                seconds_before=(self.load_seconds, self.compile_seconds),
            )
            for choice in range(params.n)
        ]
        # An edit without a key might do more than edit, and would see wrong tokens.
        if self._draft_source is not None and edits_key(edit) is not None:
            for job in jobs:
                job.make_drafter = self._draft_source.drafter
        return jobs

    @cached_property
    def _breakers(self) -> Callable[[Sequence[str]], Breakers]:
        """Finds the breakers of DRY by their strings, and keeps some."""
        return lru_cache(maxsize=8)(partial(sequence_breakers, self._text))

    def _taps(self, ids: Ids, edit: Edits | None) -> Taps | None:
        """None without edits: then no activation is shown."""
        return Taps(self.activations, len(ids), edit) if edit else None

    def _shown(self, ids: Ids) -> str:
        return str(ids.tolist()) if isinstance(self._text, IdsOnly) else repr(self._text.decode(ids.tolist()))


def _salt(params: SamplingParams, edit: Edits | None) -> bytes | None:
    """See `Job.salt`."""
    key = edits_key(edit) if params.cache_prompt else None
    return key if key is None or params.cache_salt is None else key + b"\0" + params.cache_salt.encode()
