"""`LLM.generate` and its like: prompts become jobs, and these outputs, requests or sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any, overload

from ...errors import RequestError
from ...system.notices import progress_bar
from ...tokenizer import IdsOnly, Tokenizer
from ..executors.base import Ids
from ..grammar.compiler import GrammarCompiler
from ..hooks.activations import ActivationSpec
from ..hooks.taps import Edits, Taps
from ..receipts.source import Origin, ReceiptSource
from ..sampling.params import SamplingParams
from .chat_tokenizer import ChatTokenizer
from .output import Output
from .piece import Piece
from .prompt import Prompt
from .prompts import Prompts
from .request import Request
from .text import Receipts, Text
from .work import Work

OnToken = Callable[[Piece], object]
OnNews = Callable[[], object]

Checked = tuple[Ids, SamplingParams, Edits | None, OnToken | None]


class Generator(ABC):
    """The part of an `LLM` that generates text."""

    path: Path
    n_ctx: int
    _driver: Work
    _text: Tokenizer | IdsOnly
    _origin: Origin

    @property
    @abstractmethod
    def activations(self) -> Mapping[str, ActivationSpec]: ...

    @property
    @abstractmethod
    def _n_outputs(self) -> int: ...

    @property
    @abstractmethod
    def _has_draft(self) -> bool: ...

    @abstractmethod
    def require_generation(self) -> None: ...

    @abstractmethod
    def prompt_ids(self, prompt: Prompt) -> Ids: ...

    @abstractmethod
    def _check_usable(self) -> None: ...

    @abstractmethod
    def _prompts(self, given: Any, name: str = "prompt", *, is_one: bool | None = None) -> Prompts: ...

    @abstractmethod
    def _jobs(
        self,
        ids: Ids,
        params: SamplingParams,
        edit: Edits | None,
        on_token: OnToken | None = None,
        text: ChatTokenizer | None = None,
    ) -> Sequence[Text]:
        """What runs each of the texts that are asked for; `text` makes text of its ids in place of the
        tokenizer."""

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
        attribute `cache_key`, a text that says all that they depend on, may share what is computed, and may
        see tokens that are drafted and then dropped.
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

    def _submitted(self, jobs: Sequence[Text], on_news: OnNews | None) -> Request:
        self._submit(jobs, on_news)
        return Request(self._driver, jobs)

    def _submit(self, jobs: Sequence[Text], on_news: OnNews | None) -> None:
        for job in jobs:
            job.in_background, job.on_news = True, on_news
        self._driver.submit(jobs)

    def _checked(self, prompts: Prompts, params: Any, edit: Any, on_token: Any = None) -> list[Checked]:
        """Prompts, each with what belongs to it; all that can be checked is checked."""
        self.require_generation()
        per_prompt = prompts.matched("params", params, SamplingParams, SamplingParams(), "SamplingParams")
        edits = prompts.edits(edit)
        if not self._has_draft and any(own.n_draft for own in per_prompt):
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
            self._taps(ids, own_edit)  # raises for what cannot be
        return list(zip(prompts.ids, per_prompt, edits, callbacks, strict=True))

    def _outputs(self, jobs: Iterable[Sequence[Text]], n: int, progress: bool) -> list[Output]:
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
        n_vocab = self._n_outputs
        if (largest := max(token_ids, default=0)) >= n_vocab:
            raise RequestError(f"{name} must have ids of tokens, 0 to {n_vocab - 1}, not {largest}")

    @abstractmethod
    def _taps(self, ids: Ids, edit: Edits | None) -> Taps | None: ...

    def _receipts(
        self,
        params: SamplingParams,
        choice: int,
        edit: Edits | None,
        text: Tokenizer | IdsOnly | ChatTokenizer,
    ) -> Receipts:
        """See `Text`; `text` makes text of the ids."""
        eog_ids = frozenset(text.eog_ids)
        return partial(ReceiptSource, self._origin, params=params, choice=choice, eog_ids=eog_ids, edits=edit)

    @cached_property
    def _grammars(self) -> GrammarCompiler:
        return GrammarCompiler(self._text)


def _asked(jobs: Iterable[Text]) -> Iterator[Text]:
    for job in jobs:
        job.is_asked = True
        yield job
