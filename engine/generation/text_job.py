"""The job that generates a text: it chooses tokens, and makes text of them, until something ends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from ...tokenizer import IdsOnly, Tokenizer
from ..executors.base import Array, Ids, RowNumbers
from ..hooks.taps import Taps
from ..sampling.params import SamplingParams
from ..sampling.sampler import Sampler
from ..scheduler.job import Job
from ..speculation.draft import verified
from ..speculation.drafter import N_DRAFT
from .chat_tokenizer import ChatTokenizer
from .output import FinishReason, Output, Timings
from .stop import StopScanner

_NO_TOKEN = -1  # after the end


class TextJob(Job):
    """Continues the prompt `ids` (n,) by `params`; `choice` is the number of this text, if there are several
    for the prompt; `seconds_before` went into loading and compiling. `pieces` are those of the text that
    nobody has read yet.

    It runs while it `is_asked`, or `in_background`. One that `waits` goes on only when all pieces are read.
    """

    def __init__(
        self,
        ids: Ids,
        params: SamplingParams,
        tokenizer: Tokenizer | IdsOnly | ChatTokenizer,
        n_ctx: int,
        functions: SamplingFunctions = REFERENCE,
        taps: Taps | None = None,
        salt: bytes | None = None,
        *,
        choice: int = 0,
        seconds_before: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__(ids, taps, salt)
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.pieces: deque[str] = deque()
        self.n_choices = params.n
        self.n_draft_max = N_DRAFT if params.n_draft is None else params.n_draft
        self.is_asked = self.in_background = self.waits = False
        self._sampler = Sampler(params, functions, tokenizer.suppressed_ids, choice)
        self._eog_ids = tokenizer.eog_ids
        self._knows_text = not isinstance(tokenizer, IdsOnly)
        self._full = tokenizer.stream_decoder(skip_special_tokens=False, continuation=True)
        self._shown = tokenizer.stream_decoder(params.skip_special_tokens, continuation=True)
        for decoder in (self._full, self._shown):
            decoder.push_bytes(self.ids[-1])  # after a control token, encoding may have added a space
        self._scanner = StopScanner(params.stop)
        # The last token needs no place in the context: nothing is computed from it.
        self._max_tokens = min(params.max_tokens, n_ctx - len(ids) + 1)
        self._times = [*seconds_before, 0.0, 0.0]
        self._n_chosen = self._n_timed = 0

    @property
    def is_ready(self) -> bool:
        is_wanted = self.in_background or (self.is_asked and not (self.waits and self.pieces))
        return is_wanted and super().is_ready

    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        if len(positions):
            self._choose(logits[0])

    @property
    def n_draftable(self) -> int:
        left = self._max_tokens - len(self.token_ids) - 1  # the last one is not run
        return min(self.n_draft_max, left)

    def verify(self, drafted: Sequence[int], logits: Array) -> int:
        def choose(i: int) -> int:
            self._choose(logits[i])
            return _NO_TOKEN if self.is_done else self.ids[-1]

        return len(verified(drafted[: len(logits) - 1], choose)) - 1

    def spend(self, seconds: float) -> None:
        self._times[2 if self._n_timed == 0 else 3] += seconds
        self._n_timed = self._n_chosen

    @property
    def timings(self) -> Timings:
        """The times so far."""
        load, compile_, prefill, decode = self._times
        return Timings(load, compile_, prefill, decode, self.n_prompt_tokens, max(0, self._n_chosen - 1))

    def output(self) -> Output:
        """What has come of it, with the text that nobody has read."""
        text = "".join(self.pieces)
        self.pieces.clear()
        reason = self.finish_reason or ("cancelled" if self.error is None else "error")
        return Output(text, self.token_ids, reason, self.timings, self.n_cached_tokens, self.error)

    def _choose(self, logits: Array) -> None:
        """Generates one token, and the text that can be shown now."""
        token_id = self._sampler(logits, self._n_chosen)
        is_end = token_id in self._eog_ids
        self._n_chosen += 1
        if not is_end:
            self.ids.append(token_id)
            self.token_ids.append(token_id)
        shown = self._shown.flush() if is_end else self._shown.push(token_id)
        text = self._scanner.push(self._full.push(token_id), shown)
        if self._scanner.found:
            self._finish("stop")
        elif is_end:
            text += self._flushed("stop")
        elif len(self.token_ids) == self._max_tokens:
            text += self._flushed("length")
        if text or not (self._knows_text or self.finish_reason == "stop"):
            self.pieces.append(text)

    def _flushed(self, reason: FinishReason) -> str:
        """Ends the text; -> the rest that decoder and scanner hold."""
        text = self._scanner.push(self._full.flush(), self._shown.flush())
        self._finish("stop" if self._scanner.found else reason)
        return text + self._scanner.flush()

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason, self.is_done = reason, True
