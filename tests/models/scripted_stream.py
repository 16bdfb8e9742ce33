"""Streams of text from an executor and a tokenizer made up for it: what comes is written in a script."""

import numpy as np

from nybble.engine.executors.base import Executor
from nybble.engine.generation.context import Context
from nybble.engine.generation.stream import TextStream
from nybble.engine.plan.plan import Plan
from nybble.engine.sampling.params import SamplingParams

N_VOCAB, EOG = 100, 99


class ScriptedExecutor(Executor):
    """The next token is `script[position]`, provided that the state was fed each position once, in order."""

    weight_bytes_per_token = 0

    def __init__(self, script=(), n_vocab=N_VOCAB, n_ctx=200, n_batch=16):
        super().__init__(Plan((), {"logits": n_vocab}, {}, ()), n_ctx, n_batch, n_seq_max=1)
        self.script = list(script)
        self.seen: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.closed = False
        self.poison: int | None = None

    def _run_step(self, pieces, logits):
        (piece,) = pieces
        start, ids, rows = piece.start, piece.ids, piece.rows
        assert start == len(self.seen) and ids.dtype == np.int32
        self.seen += ids.tolist()
        self.calls.append((start, len(ids)))
        logits[:] = 0
        for i, row in enumerate(rows):
            position = start + int(row)
            token = (
                self.script[position] if position < len(self.script) else sum(self.seen[: position + 1]) % 90
            )
            logits[i, token] = 1.0
            if position == self.poison:
                logits[i, 5] = np.nan

    def reset(self, seat):
        self.seen = []

    def copy_states(self, source, seat):
        raise NotImplementedError

    def can_go_back(self, seat, n_before, n_after):
        return False

    def close(self):
        self.closed = True


class LetterTokenizer:
    """Token i is chr(32 + i); 99 ends the text."""

    eog_ids = frozenset({EOG})
    suppressed_ids = np.empty(0, np.intp)

    def encode(self, text, add_special=True, parse_special=False):
        return [ord(letter) - 32 for letter in text]

    def stream_decoder(self, skip_special_tokens, continuation):
        assert continuation

        class Decoder:
            def push_bytes(self, token_id):
                return bytes([32 + token_id])

            def push(self, token_id):
                return chr(32 + token_id)

            def flush(self):
                return ""

        return Decoder()


def ids_of(text):
    return LetterTokenizer().encode(text)


def stream(script_text, prompt="ab", n_ctx=50, n_batch=8, **params):
    """A stream whose executor answers `prompt` with `script_text`, where "~" stands for the end."""
    script = [EOG if letter == "~" else ord(letter) - 32 for letter in script_text]
    context = Context(ScriptedExecutor([0] * (len(prompt) - 1) + script, n_ctx=n_ctx, n_batch=n_batch))
    return TextStream(
        context, LetterTokenizer(), np.asarray(ids_of(prompt), np.int32), SamplingParams(**params)
    )
