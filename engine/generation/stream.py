"""A text that is generated token by token, as a stream of its pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.display import Shown, brief
from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from ...tokenizer import IdsOnly, Tokenizer
from ..hooks.taps import Taps
from ..sampling.params import SamplingParams
from ..sampling.sampler import Sampler
from .context import Context
from .output import FinishReason, Output, Timings
from .stop import StopScanner


class TextStream(Shown, Iterator[str]):
    """The pieces of one text; each `next` generates tokens until there is a piece, and nothing runs in
    between.

    Leaving the loop ends the work.  The attributes have the state so far.
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
        self._owner = object()  # represents this stream: if the context kept the stream, it would be a cycle
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
        """Runs to the end; the output has the text that was not given yet."""
        text = "".join(self)
        reason = cast(FinishReason, self.finish_reason)  # the stream ends only with one
        return Output(text, self.token_ids, reason, self.timings)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        return Timings(
            load_seconds=self._load_seconds,
            compile_seconds=self._compile_seconds,
            prefill_seconds=sum(self._step_seconds[:1]),
            decode_seconds=sum(self._step_seconds[1:]),
            n_prompt_tokens=self.n_prompt_tokens,
            n_decode_tokens=len(self._step_seconds[1:]),
        )

    def _step(self) -> str:
        """Generates one token; -> the text that can be shown now, perhaps ""."""
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
        """Ends the text; -> the rest that decoder and scanner hold."""
        self.finish_reason = reason
        text = self._scanner.push(self._full.flush(), self._shown.flush())
        if self._scanner.found:
            self.finish_reason = "stop"
        return text + self._scanner.flush()
