"""The result of a generation: text, token ids, why it ended, and timings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ...gguf_io.display import Shown, brief, html_table
from ..receipts.receipt import Receipt
from .logprobs import TokenLogprob

FinishReason = Literal["stop", "length", "repetition", "cancelled", "error"]


@dataclass(frozen=True, repr=False)
class Timings(Shown):
    """The times of a generation in seconds.  Loading and compiling happened once, when the LLM was made."""

    load_seconds: float
    compile_seconds: float
    prefill_seconds: float
    """Running the prompt, and choosing the first token from it."""
    decode_seconds: float
    """Running every token but the last, each to choose the next."""
    n_prompt_tokens: int
    n_decode_tokens: int

    @property
    def prefill_tokens_per_second(self) -> float:
        """Speed of the prompt; 0 if it took no time."""
        return self.n_prompt_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Speed of the tokens after the prompt, one by one; 0 if there are none."""
        return self.n_decode_tokens / self.decode_seconds if self.decode_seconds else 0.0

    def _facts(self) -> dict[str, str]:
        prefill, decode = self.prefill_tokens_per_second, self.decode_tokens_per_second
        return {
            "load": f"{self.load_seconds:.2f} s",
            "compile": f"{self.compile_seconds:.2f} s",
            "prefill": f"{self.n_prompt_tokens} tokens in {self.prefill_seconds:.3f} s ({prefill:.1f}/s)",
            "decode": f"{self.n_decode_tokens} tokens in {self.decode_seconds:.3f} s ({decode:.1f}/s)",
        }


@dataclass(frozen=True, repr=False)
class Output(Shown):
    """A finished text."""

    text: str
    """Without the stop string or the end-of-generation token that ended it; with `SamplingParams.echo` after
    the text of the prompt."""
    token_ids: list[int]
    """All generated tokens except one that ended the generation."""
    finish_reason: FinishReason
    """"stop": the model, a stop string or a stop token ended the text; "length": max_tokens or the context
    did; "repetition": see `SamplingParams.repetition_detection`; "cancelled": somebody else, early; "error":
    see `error`."""
    timings: Timings
    n_cached_tokens: int = 0
    """How many tokens of the prompt had been computed before, for a prompt with the same beginning."""
    seed: int | None = None
    """What the draws depended on: `SamplingParams.seed`, or the random one that was taken."""
    logprobs: list[TokenLogprob] | None = None
    """One entry for each of `token_ids`, if `SamplingParams.logprobs` asks for them."""
    prompt_logprobs: list[TokenLogprob | None] | None = None
    """One entry for each token of the prompt, None for the first, which nothing comes before, if
    `SamplingParams.prompt_logprobs` asks for them; the first of several texts has them."""
    error: BaseException | None = None
    """Why this one of several prompts has failed."""
    alternatives: tuple[Output, ...] = ()
    receipt_source: Callable[[], Receipt] | None = field(default=None, compare=False)
    """Makes `receipt`."""

    @property
    def receipt(self) -> Receipt | None:
        """All that the tokens of this text depend on, and the tokens: `LLM.verify` makes them again. None for
        a text that has failed, or that no model has made. The first one of an LLM takes the time to read the
        whole file; ModelError if that was written to."""
        return None if self.receipt_source is None else self.receipt_source()

    @property
    def choices(self) -> tuple[Output, ...]:
        """All texts for the prompt, `SamplingParams.n` of them; this is the first."""
        return (self, *self.alternatives)

    def _facts(self) -> dict[str, str]:
        failed = {} if self.error is None else {"error": str(self.error)}
        speed = f"{self.timings.decode_tokens_per_second:.1f} tokens/s"
        return {
            "text": brief(self.text),
            "token_ids": brief(self.token_ids),
            "finish_reason": repr(self.finish_reason),
            "decode": speed,
            **failed,
        }

    def _repr_html_(self) -> str:
        """A table with the whole text."""
        facts = self._facts() | {"text": self.text}
        return html_table("Output", facts.items(), keeps_lines=True)
