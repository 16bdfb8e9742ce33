"""Making a text, token after token: the stream of its pieces, and what is known about it in the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.display import Shown, brief, html_table
from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from ...tokenizer import IdsOnly, Tokenizer
from ..hooks.taps import Taps
from ..sampling.params import Sampler, SamplingParams
from .context import Context

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, repr=False)
class Timings(Shown):
    """Where the time went, in seconds.  Loading and compiling happened once, when the LLM was made."""

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
        return self.n_prompt_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
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
    """Without the stop string, if one ended it, and the end-of-generation token."""
    token_ids: list[int]
    """Every token that was generated, but not the end-of-generation token."""
    finish_reason: FinishReason
    """"stop": the model or a stop string ended the text; "length": max_tokens or the context did."""
    timings: Timings

    def _facts(self) -> dict[str, str]:
        speed = f"{self.timings.decode_tokens_per_second:.1f} tokens/s"
        return {
            "text": brief(self.text),
            "token_ids": brief(self.token_ids),
            "finish_reason": repr(self.finish_reason),
            "decode": speed,
        }

    def _repr_html_(self) -> str:
        """The text itself, which may be long, is what people look at."""
        facts = self._facts() | {"text": self.text}
        return html_table("Output", facts.items(), keeps_lines=True)


class StopScanner:
    """Cuts a text that comes in pieces before the first stop string.

    They are sought in all of the text, of which not all is shown: control tokens may be left out. The end of
    what has come may be the beginning of a stop string; so much is held back until it is decided.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held: deque[tuple[str, str]] = deque()
        self.found = False

    def push(self, piece: str, shown: str) -> str:
        """The text that can be shown after `piece` has come; sets `found` when a stop string is complete.

        `shown`: the beginning of `piece` that is to be shown, which is all of it but for a control token.
        """
        self._held.append((piece, shown))
        text = "".join(piece for piece, _ in self._held)
        starts = [start for start in map(text.find, self._stop) if start >= 0]
        if starts:
            released = self._release(min(starts))
            self.found = True
            self._held.clear()
            return released
        return self._release(len(text) - max((_overlap(text, stop) for stop in self._stop), default=0))

    def flush(self) -> str:
        """What was held back, when no more will come."""
        text = "".join(shown for _, shown in self._held)
        self._held.clear()
        return text

    def _release(self, length: int) -> str:
        """What is shown of the first `length` characters that are held."""
        released = ""
        while self._held and len(self._held[0][0]) <= length:
            piece, shown = self._held.popleft()
            released += shown
            length -= len(piece)
        if length:
            piece, shown = self._held[0]
            released += shown[:length]
            self._held[0] = piece[length:], shown[length:]
        return released


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextStream(Shown, Iterator[str]):
    """The pieces of one text; each `next` works until there is one, and nothing runs in between.

    Leaving the loop ends the work.  The attributes tell how far it is.
    """

    def __init__(
        self,
        context: Context,
        tokenizer: Tokenizer | IdsOnly,
        prompt_ids: NDArray[np.int32],
        params: SamplingParams,
        load_seconds: float = 0.0,
        compile_seconds: float = 0.0,
        functions: SamplingFunctions = REFERENCE,
        taps: Taps | None = None,
    ) -> None:
        self.n_prompt_tokens = len(prompt_ids)
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._ids: list[int] = prompt_ids.tolist()
        self._context = context
        self._owner = object()  # stands for this stream; the context that kept the stream would be a circle
        self._taps = taps
        self._sampler = Sampler(params, functions, tokenizer.suppressed_ids)
        self._eog_ids = tokenizer.eog_ids
        self._knows_text = not isinstance(tokenizer, IdsOnly)
        self._full = tokenizer.stream_decoder(skip_special_tokens=False, continuation=True)
        self._shown = tokenizer.stream_decoder(params.skip_special_tokens, continuation=True)
        for decoder in (self._full, self._shown):
            decoder.push_bytes(self._ids[-1])  # after a control token, encoding may have added a space
        self._scanner = StopScanner(params.stop)
        # The last token needs no place in the context: nothing is computed from it.
        self._max_tokens = min(params.max_tokens, context.n_ctx - len(prompt_ids) + 1)
        self._load_seconds, self._compile_seconds = load_seconds, compile_seconds
        self._step_seconds: list[float] = []

    def __next__(self) -> str:
        while self.finish_reason is None:
            piece = self._step()
            if piece or not (self._knows_text or self.finish_reason == "stop"):
                return piece
        raise StopIteration

    def _facts(self) -> dict[str, str]:
        return {
            "n_prompt_tokens": str(self.n_prompt_tokens),
            "token_ids": brief(self.token_ids),
            "finish_reason": repr(self.finish_reason),
        }

    def finish(self) -> Output:
        """Runs to the end; the output has the text from here on."""
        text = "".join(self)
        reason = cast(FinishReason, self.finish_reason)  # the loop above only ends with one
        return Output(text, self.token_ids, reason, self.timings)

    @property
    def timings(self) -> Timings:
        """Where the time went so far."""
        return Timings(
            load_seconds=self._load_seconds,
            compile_seconds=self._compile_seconds,
            prefill_seconds=sum(self._step_seconds[:1]),
            decode_seconds=sum(self._step_seconds[1:]),
            n_prompt_tokens=self.n_prompt_tokens,
            n_decode_tokens=len(self._step_seconds[1:]),
        )

    def _step(self) -> str:
        """Generates one token; -> the text that can be shown now, perhaps none."""
        started = time.perf_counter()
        token_id = self._sampler(self._context.last_logits(self._owner, self._ids, self._taps))
        self._step_seconds.append(time.perf_counter() - started)
        is_end = token_id in self._eog_ids
        if not is_end:
            self._ids.append(token_id)
            self.token_ids.append(token_id)
        shown = self._shown.flush() if is_end else self._shown.push(token_id)
        text = self._scanner.push(self._full.push(token_id), shown)
        if self._scanner.found:
            self.finish_reason = "stop"
        elif is_end:
            text += self._finish("stop")
        elif len(self.token_ids) == self._max_tokens:
            text += self._finish("length")
        return text

    def _finish(self, reason: FinishReason) -> str:
        """-> what the decoder and the scanner still hold."""
        self.finish_reason = reason
        text = self._scanner.push(self._full.flush(), self._shown.flush())
        if self._scanner.found:
            self.finish_reason = "stop"
        return text + self._scanner.flush()
