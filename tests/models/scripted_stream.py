"""Streams of text from an executor and a tokenizer made up for it: what comes is written in a script."""

import numpy as np

from nybble.engine.generation.context import Context
from nybble.engine.generation.stream import TextStream
from nybble.engine.sampling.params import SamplingParams

N_VOCAB, EOG = 100, 99


class ScriptedExecutor:
    """The next token is `script[position]`, provided that the state was fed each position once, in order."""

    compile_seconds = 0.0
    weight_bytes_per_token = 0

    def __init__(self, script=(), n_vocab=None):
        self.script = list(script)
        self.n_vocab = n_vocab or N_VOCAB
        self.seen: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.closed = False
        self.poison: int | None = None

    def forward(self, ids, start, rows, taps=None):
        assert start == len(self.seen) and ids.dtype == np.int32
        self.seen += ids.tolist()
        self.calls.append((start, len(ids)))
        logits = np.zeros((len(rows), self.n_vocab), np.float32)
        for i, row in enumerate(rows):
            position = start + int(row)
            token = (
                self.script[position] if position < len(self.script) else sum(self.seen[: position + 1]) % 90
            )
            logits[i, token] = 1.0
            if position == self.poison:
                logits[i, 5] = np.nan
        return logits

    def reset(self):
        self.seen = []

    def truncate(self, n_positions):
        self.seen = self.seen[:n_positions]

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
    executor = ScriptedExecutor([0] * (len(prompt) - 1) + script)
    context = Context(executor, N_VOCAB, n_ctx, n_batch)
    return TextStream(
        context, LetterTokenizer(), np.asarray(ids_of(prompt), np.int32), SamplingParams(**params)
    )
