"""`LLM.generate` and its like: prompts become jobs, and these outputs, requests or sequences."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...system.notices import progress_bar
from ...tokenizer import IdsOnly, Tokenizer
from ..executors.base import Ids
from ..grammar.compiler import GrammarCompiler
from ..hooks.activations import ActivationSpec
from ..hooks.taps import Edits, Taps, edits_key
from ..receipts.source import Origin, ReceiptSource
from ..sampling.chain import Breakers
from ..sampling.functions import sampling_functions
from ..sampling.params import SamplingParams
from ..scheduler.driver import Driver
from ..scheduler.scheduler import Scheduler
from ..scheduler.state_file import load_state
from ..speculation.drafter import DraftSource
from .breakers import sequence_breakers
from .chat_tokenizer import ChatTokenizer
from .output import Output
from .piece import Piece
from .prompt import Prompt
from .prompts import Prompts
from .request import Request
from .sequence import Sequence as TokenSequence
from .text_job import TextJob

OnToken = Callable[[Piece], object]
OnNews = Callable[[], object]

Checked = tuple[Ids, SamplingParams, Edits | None, OnToken | None]


class Generator(ABC):
    """The part of an `LLM` that generates text."""

    path: Path
    executor: str
    n_ctx: int
    load_seconds: float
    compile_seconds: float
    scheduler: Scheduler
    _driver: Driver
    _text: Tokenizer | IdsOnly
    _draft_source: DraftSource | None
    _origin: Origin

    @property
    @abstractmethod
    def activations(self) -> Mapping[str, ActivationSpec]: ...

    @abstractmethod
    def require_generation(self) -> None: ...

    @abstractmethod
    def prompt_ids(self, prompt: Prompt) -> Ids: ...

    @abstractmethod
    def _check_usable(self) -> None: ...

    @abstractmethod
    def _prompts(self, given: Any, name: str = "prompt", *, is_one: bool | None = None) -> Prompts: ...

    @overload
    def generate(  # type: ignore[overload-overlap]  # a text is a list of texts to a type checker
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_token: OnToken | None = None,
    ) -> Output: ...

    @overload
    def generate(
        self,
        prompt: Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        edit: Edits | Sequence[Edits | None] | None = None,
        on_token: OnToken | Sequence[OnToken | None] | None = None,
        progress: bool = False,
    ) -> list[Output]: ...

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        edit: Edits | Sequence[Edits | None] | None = None,
        on_token: OnToken | Sequence[OnToken | None] | None = None,
        progress: bool = False,
    ) -> Output | list[Output]:
        """Continues a prompt, a text or a list of token ids; by default greedily, up to 256 tokens.

            out = llm.generate("Once upon a time", nybble.SamplingParams(max_tokens=8, seed=1))
            out.text, out.token_ids, out.finish_reason  # "length": max_tokens is reached

        In a text, names of control tokens (`<|im_start|>`) are read as such, and BOS is added where the file
        asks for it. `edit`: see `stream`.

        Of a list of prompts it gives a list of outputs, each as if its prompt were alone; they run side by
        side, `n_seq_max` at a time. `params`, `edit` and `on_token` are for all of them, or a list with one
        for each. All are checked before anything runs. One that fails later does not stop the others: its
        output has the `error`. `progress`: show a progress bar.

        `on_token` is called with each token as it comes, a piece as `stream` gives: a text, which is "" where
        it must wait for more tokens, with `token_ids` and `logprobs`. What it raises ends this text alone.
        """
        prompts = self._prompts(prompt)
        checked = self._checked(prompts, params, edit, on_token)
        if prompts.is_one:
            return Request(self._driver, self._jobs(*checked[0])).result()
        return self._outputs(starmap(self._jobs, checked), len(checked), progress)

    def stream(
        self, prompt: Prompt, params: SamplingParams | None = None, *, edit: Edits | None = None
    ) -> Request:
        """Continues `prompt` as `generate` does, and gives the text piece by piece, with `for` or `async
        for`; leaving the loop ends the work.

        Without a tokenizer it gives "" for each token; `token_ids` of the request has the ids so far. Nothing
        runs in between; streams that are read in turns, or by several threads or tasks, run side by side.

        `edit`, as in `trace`, changes activations of the prompt (`info.is_prefill`) and of every generated
        token. Each token goes through the model once, and the stream's keys and values, which no other run
        uses, keep the effects of the edits. If memory for other requests is short, tokens may have to be run
        again, and so are the edits: let them depend on nothing but their arguments. Functions with an
        attribute `cache_key`, a text that says all that they depend on, may share what is computed.
        """
        (checked,) = self._checked(self._prompts(prompt, is_one=True), params, edit)
        jobs = self._jobs(*checked)
        for job in jobs:
            job.waits = True
        return Request(self._driver, jobs)

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: OnNews | None = None,
    ) -> Request:
        """Continues `prompt` as `generate` does, in the background: the request's `result` waits for the end,
        iterating over it for each piece, and `cancel` ends it. All that have been submitted run side by
        side.

        `on_news` is called, from the thread that runs them, after a step that has brought pieces or the end,
        which the request's `take` gives; once for all requests that have the same function. It must neither
        raise nor wait.
        """
        (checked,) = self._checked(self._prompts(prompt, is_one=True), params, edit)
        return self._submitted(self._jobs(*checked), on_news)

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

    def _submitted(self, jobs: list[TextJob], on_news: OnNews | None) -> Request:
        for job in jobs:
            job.in_background, job.on_news = True, on_news
        self._driver.submit(jobs)
        return Request(self._driver, jobs)

    def _checked(self, prompts: Prompts, params: Any, edit: Any, on_token: Any = None) -> list[Checked]:
        """Prompts, each with what belongs to it; all that can be checked is checked."""
        self.require_generation()
        per_prompt = prompts.matched("params", params, SamplingParams, SamplingParams(), "SamplingParams")
        edits = prompts.edits(edit)
        if self._draft_source is None and any(own.n_draft for own in per_prompt):
            raise RequestError('n_draft needs a model that drafts: LLM(…, draft="ngram")')
        callbacks = prompts.matched("on_token", on_token, Callable, None, "function")  # type: ignore[arg-type]
        if any(callback and own.n > 1 for callback, own in zip(callbacks, per_prompt, strict=True)):
            raise RequestError(
                "`on_token` cannot tell several texts (`n`) from each other; make a request for each"
            )
        for own in per_prompt:
            self._check_ids("logit_bias", own.logit_bias)
            self._check_ids("stop_token_ids", own.stop_token_ids)
            if own.constraint is not None:
                self._grammars.check(own.constraint)
        if isinstance(self._text, IdsOnly) and any(own.stop or own.echo for own in per_prompt):
            raise RequestError(
                f"{self.path} has no tokenizer: it knows no text, so `stop` and `echo` cannot be done"
            )
        for ids, own_edit in zip(prompts.ids, edits, strict=True):
            self._taps(ids, own_edit)
        return list(zip(prompts.ids, per_prompt, edits, callbacks, strict=True))

    def _outputs(self, jobs: Iterable[Sequence[TextJob]], n: int, progress: bool) -> list[Output]:
        """Runs the jobs for n prompts; -> an output for each prompt."""
        outputs: list[Output] = []
        alternatives: list[Output] = []
        with progress_bar("generate", n, "prompt", shown=progress) as bar:
            for job in self._driver.run_in_order(_asked(chain.from_iterable(jobs))):
                alternatives.append(job.output())
                if len(alternatives) == job.n_choices:
                    outputs.append(replace(alternatives[0], alternatives=tuple(alternatives[1:])))
                    alternatives = []
                    bar.update(1)
        return outputs

    def _check_ids(self, name: str, token_ids: Iterable[int]) -> None:
        """RequestError unless all are ids of the vocabulary."""
        n_vocab = self.scheduler.n_outputs
        if (largest := max(token_ids, default=0)) >= n_vocab:
            raise RequestError(f"{name} must have ids of tokens, 0 to {n_vocab - 1}, not {largest}")

    def _jobs(
        self,
        ids: Ids,
        params: SamplingParams,
        edit: Edits | None,
        on_token: OnToken | None = None,
        text: ChatTokenizer | None = None,
    ) -> list[TextJob]:
        """A job for each text that is asked for; `text` makes text of its ids in place of the tokenizer."""
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
                receipts=partial(ReceiptSource, self._origin, edits=edit),
                seconds_before=(self.load_seconds, self.compile_seconds),
            )
            for choice in range(params.n)
        ]
        if self._draft_source is not None and not edit:  # an edit would see wrong tokens
            for job in jobs:
                job.make_drafter = self._draft_source.drafter
        return jobs

    @cached_property
    def _grammars(self) -> GrammarCompiler:
        return GrammarCompiler(self._text)

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


def _asked(jobs: Iterable[TextJob]) -> Iterator[TextJob]:
    for job in jobs:
        job.is_asked = True
        yield job
