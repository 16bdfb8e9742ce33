"""The job that generates a text: it chooses tokens, and makes text of them, until something ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from ...tokenizer import IdsOnly, Tokenizer
from ..executors.base import Array, Ids, RowNumbers
from ..grammar.constraint import Constraint
from ..hooks.taps import Taps
from ..sampling.chain import Breakers
from ..sampling.params import SamplingParams
from ..sampling.sampler import Sampler
from ..scheduler.job import DraftingJob
from ..speculation.draft import verified
from ..speculation.drafter import N_DRAFT
from .chat_tokenizer import ChatTokenizer
from .logprobs import token_logprob
from .output import FinishReason
from .piece import Piece
from .repetition import RepetitionDetector
from .stop import StopScanner
from .text import Receipts, Text

_NO_TOKEN = -1  # after the end
_MAX_LOGITS = 2**24  # of a step, where those of all tokens of the prompt are wanted


class TextJob(DraftingJob, Text):
    """Continues the prompt `ids` (n,) by `params`; `choice` is the number of this text, if there are several
    for the prompt; `seconds_before` went into loading and compiling. `pieces` are those of the text that
    nobody has read yet. `on_token` gets a piece for each token; what it raises ends the job. `receipts`: see
    `Text`.

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
        breakers: Breakers | None = None,
        constraint: Constraint | None = None,
        on_token: Callable[[Piece], object] | None = None,
        receipts: Receipts | None = None,
        seconds_before: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        all_rows = params.prompt_logprobs is not None and choice == 0
        super().__init__(ids, taps, None if all_rows else salt)
        self._begin_text(params.n, params.logprobs is not None, seconds_before)
        if all_rows:
            self.prompt_logprobs = [None] * len(ids)
        self.n_draft_max = N_DRAFT if params.n_draft is None else params.n_draft
        self._sampler = Sampler(
            params,
            functions,
            tokenizer.suppressed_ids,
            choice,
            eog_ids=tokenizer.eog_ids,
            breakers=breakers,
            constraint=constraint,
        )
        self._constraint = constraint
        self._params = params
        self._tokenizer = tokenizer
        self._on_token = on_token
        self.receipts = receipts
        self._n_told = self._n_called = 0  # tokens that are in pieces, and in those of `on_token`
        self._end_ids = {*tokenizer.eog_ids, *params.stop_token_ids}
        n_looped = params.repetition_detection
        self._repetition = None if n_looped is None else RepetitionDetector(n_looped)
        self._knows_text = not isinstance(tokenizer, IdsOnly)
        self._full = tokenizer.stream_decoder(skip_special_tokens=False, continuation=True)
        self._shown = tokenizer.stream_decoder(params.skip_special_tokens, continuation=True)
        for decoder in (self._full, self._shown):
            decoder.push_bytes(self.ids[-1])  # after a control token, encoding may have added a space
        self._scanner = StopScanner(params.stop)
        # The last token needs no place in the context: nothing is computed from it.
        self._max_tokens = min(params.max_tokens, n_ctx - len(ids) + 1)
        if params.echo and not isinstance(tokenizer, IdsOnly):
            self.pieces.append(Piece(tokenizer.decode(self.ids, params.skip_special_tokens)))
        self._n_timed = 0

    @property
    def is_ready(self) -> bool:
        is_wanted = self.in_background or (self.is_asked and not (self.waits and self.pieces))
        return is_wanted and super().is_ready

    @property
    def has_news(self) -> bool:
        return bool(self.pieces) or self.is_done

    @property
    def seed(self) -> int:
        """What the draws depend on."""
        return self._sampler.seed

    def n_at_once(self, n_vocab: int) -> int | None:
        return max(1, _MAX_LOGITS // n_vocab) if self._wants_all else None

    def wanted(self, first: int, end: int) -> RowNumbers:
        return np.arange(first, end) if self._wants_all else super().wanted(first, end)

    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        for position, row in zip(positions.tolist(), logits, strict=True):
            if position == len(self.ids) - 1:
                self._choose(row)
            elif self.prompt_logprobs is not None:
                n_top = self._params.prompt_logprobs or 0
                found = token_logprob(self._tokenizer, row, self.ids[position + 1], n_top)
                self.prompt_logprobs[position + 1] = found

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
        self.times[2 if self._n_timed == 0 else 3] += seconds
        self._n_timed = self.n_chosen

    @property
    def _wants_all(self) -> bool:
        """Are the logits of all tokens wanted, which are those of the prompt?"""
        return self.prompt_logprobs is not None and self.n_chosen == 0

    def _choose(self, logits: Array) -> None:
        """Generates one token, and the text that can be shown now."""
        raw = None if self.logprobs is None else logits.copy()  # the sampler changes them
        token_id = self._sampler(logits, self.n_chosen, self.ids)
        is_end = token_id in self._end_ids
        if self._constraint is not None and not is_end:
            self._constraint.accept(token_id)
        self.n_chosen += 1
        if not is_end:
            self.ids.append(token_id)
            self.token_ids.append(token_id)
            if self.logprobs is not None and raw is not None:
                n_top = self._params.logprobs or 0
                self.logprobs.append(token_logprob(self._tokenizer, raw, token_id, n_top))
        shown = self._shown.flush() if is_end else self._shown.push(token_id)
        self._tell(self._text_after(token_id, shown, is_end))
        self.is_done = self.is_done or self.finish_reason is not None  # once the last piece is there

    def _text_after(self, token_id: int, shown: str, is_end: bool) -> str:
        """The text that can be shown after a token, whose own is `shown`; ends the job if it is the last."""
        full = self._full.push(token_id)
        if len(self.token_ids) < self._params.min_tokens:
            text = shown
        else:
            text = self._scanner.push(full, shown)
        if self._scanner.found:
            self._finish("stop")
        elif is_end or (self._constraint is not None and self._constraint.is_stopped):
            text += self._flushed("stop")
        elif self._repetition is not None and self._repetition.push(token_id):
            text += self._flushed("repetition")
        elif len(self.token_ids) == self._max_tokens:
            text += self._flushed("length")
        return text

    def _tell(self, text: str) -> None:
        """Hands out the text of a token: to `on_token` each by itself, to readers where there is some."""
        if self._on_token is not None and (piece := self._piece(text, self._n_called)) is not None:
            self._n_called = len(self.token_ids)
            self._on_token(piece)
        if (text or not self._knows_text) and (piece := self._piece(text, self._n_told)) is not None:
            self._n_told = len(self.token_ids)
            self.pieces.append(piece)

    def _piece(self, text: str, first: int) -> Piece | None:
        """A text with the tokens from number `first` on; None if both are empty."""
        token_ids = self.token_ids[first:]
        if not text and not token_ids:
            return None
        return Piece(text, token_ids, None if self.logprobs is None else self.logprobs[first:])

    def _flushed(self, reason: FinishReason) -> str:
        """Ends the text; -> the rest that decoder and scanner hold."""
        text = self._scanner.push(self._full.flush(), self._shown.flush())
        self._finish("stop" if self._scanner.found else reason)
        return text + self._scanner.flush()

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = reason
