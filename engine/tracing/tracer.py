"""`LLM.logits` and `LLM.trace`: what a model computes for prompts, in its logits and inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ..generation.prompt import Prompt
from ..generation.prompts import Prompts
from ..hooks.activations import ActivationSpec
from ..hooks.taps import Edits
from ..scheduler.driver import Driver
from ..scheduler.scheduler import Scheduler
from .recorder import Recorder, Wanted
from .safetensors import safetensors
from .trace import Trace

T = TypeVar("T")
Array = NDArray[np.float32]


class Tracer(ABC):
    """The part of an `LLM` that shows what it computes."""

    scheduler: Scheduler
    _driver: Driver

    @property
    @abstractmethod
    def activations(self) -> Mapping[str, ActivationSpec]: ...

    @abstractmethod
    def _require_logits(self, also: str = "") -> None: ...

    @abstractmethod
    def _prompts(self, given: Any, name: str = "prompt", *, is_one: bool | None = None) -> Prompts: ...

    @overload
    def logits(self, prompt: Prompt, *, edit: Edits | None = None) -> Array: ...  # type: ignore[overload-overlap]

    @overload
    def logits(
        self, prompt: Sequence[Prompt], *, edit: Edits | Sequence[Edits | None] | None = None
    ) -> list[Array]: ...

    def logits(
        self, prompt: Prompt | Sequence[Prompt], *, edit: Edits | Sequence[Edits | None] | None = None
    ) -> Array | list[Array]:
        """The logits after each token: (n_tokens, n_vocab) float32; row i predicts token i + 1.

        Of a list of prompts it gives a list, and `edit` may be one, too: see `trace`.
        """
        return self._traces(prompt, (), edit, "all", None, lambda trace: trace.logits)

    @overload
    def trace(  # type: ignore[overload-overlap]  # a text is a list of texts to a type checker
        self,
        prompt: Prompt,
        capture: str | Sequence[str] = (),
        edit: Edits | None = None,
        *,
        logits: Wanted = "all",
        max_bytes: int | None = None,
    ) -> Trace: ...

    @overload
    def trace(
        self,
        prompt: Sequence[Prompt],
        capture: str | Sequence[str] = (),
        edit: Edits | Sequence[Edits | None] | None = None,
        *,
        logits: Wanted = "all",
        max_bytes: int | None = None,
    ) -> list[Trace]: ...

    def trace(
        self,
        prompt: Prompt | Sequence[Prompt],
        capture: str | Sequence[str] = (),
        edit: Edits | Sequence[Edits | None] | None = None,
        *,
        logits: Wanted = "all",
        max_bytes: int | None = None,
    ) -> Trace | list[Trace]:
        """Runs `prompt`, a text or a list of token ids, and keeps activations of every token.

            with llm.trace("The capital of France is", capture=["blk.*.resid_post", "blk.3.attn_probs"]) as t:
                t["blk.3.resid_post"]  # (n_tokens, n_embd) float32
                t["blk.3.attn_probs"]  # (n_tokens, n_heads, n_tokens): query, head, key
                t.logits               # (n_tokens, n_vocab)

        Everything is computed when this returns; the arrays belong to the trace, and `with` is optional.

        `capture`: names as in `LLM.activations` (`nybble inspect FILE --activations`), or patterns, in which
        `*` matches anything. `logits`: after "all" tokens, the "last", none (None) or those at a list of
        positions. Activations after the last attention ("output_norm", "logits") are computed for these
        tokens only, unless they are captured: then for all.

        `edit` maps names or patterns to functions `f(value, info)`. `value` (n, width) float32 has the values
        of n tokens in a row; the function may change or keep it. It returns the replacement, float32 of the
        same shape, or None if it has changed `value`. `info` (`EditInfo`) has the name, the layer, and the
        positions and ids of the tokens. A long prompt comes in several pieces (`n_batch`), so use
        `info.positions`. Functions of one activation are called in their order, and their result is
        captured. To steer, add a vector:

            def steer(value, info):
                value[info.positions > 0] += vector

            llm.generate(prompt, edit={"blk.[5-9].resid_post": steer})

        Attention probabilities may be edited too: the heads that were changed are computed again from them.
        Where a query sees no key (a later one, one outside the window), 0 must stay 0.

        Of a list of prompts it gives a list of traces, each as if its prompt were alone, with nothing padded;
        they run side by side, which is faster for short ones. `edit` is for all, or a list with one for each.

        Raises `RequestError` for an unknown name, for a replacement of another shape or dtype or with NaN,
        for an edit that uses this LLM, and, before anything is run, if all that is kept would take
        more than `max_bytes`, by default the free memory. Exceptions of an edit are passed on, of several
        prompts that of the first; the LLM can be used afterwards.
        """
        return self._traces(prompt, capture, edit, logits, max_bytes, lambda trace: trace)

    def capture(
        self,
        prompt: Prompt,
        names: str | Sequence[str],
        *,
        edit: Edits | None = None,
        max_bytes: int | None = None,
    ) -> bytes:
        """The activations of a prompt as the bytes of a safetensors file: float32, a row for each of its
        tokens, by the names that `trace` gives, and `ids`, the tokens, int32. Raises what `trace` raises.

            data = llm.capture("The capital of France", ["blk.3.resid_post"])
        """
        trace = self.trace(prompt, names, edit, logits=None, max_bytes=max_bytes)
        return safetensors({"ids": trace.ids, **trace}, {"rows": "the tokens of the prompt"})

    def _traces(
        self,
        prompt: Prompt | Sequence[Prompt],
        capture: str | Sequence[str],
        edit: Edits | Sequence[Edits | None] | None,
        logits: Wanted,
        max_bytes: int | None,
        take: Callable[[Trace], T],
    ) -> T | list[T]:
        """What `take` makes of the trace of each prompt."""
        prompts = self._prompts(prompt)
        if logits is not None:
            self._require_logits(", and `LLM.trace` with logits=None")
        recorder = Recorder(self.activations, prompts, capture, prompts.edits(edit), logits)
        recorder.require_memory(self.scheduler.n_outputs, max_bytes)
        return prompts.like_given(map(take, recorder.run(self._driver)))
