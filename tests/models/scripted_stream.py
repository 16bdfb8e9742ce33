"""Requests to an executor and a tokenizer made up for it: what comes is written in a script."""

import numpy as np

from nybble.engine.executors.base import Executor, StepRows
from nybble.engine.generation.request import Request
from nybble.engine.generation.text_job import TextJob
from nybble.engine.plan.plan import Plan
from nybble.engine.sampling.params import SamplingParams
from nybble.engine.scheduler.driver import Driver
from nybble.engine.scheduler.scheduler import Scheduler

N_VOCAB, EOG = 100, 99


class ScriptedExecutor(Executor):
    """The next token is `script[position]`, provided that a state was fed each position once, in order."""

    weight_bytes_per_token = 0

    def __init__(self, script=(), n_vocab=N_VOCAB, n_ctx=200, n_batch=16, n_seq_max=2):
        super().__init__(Plan((), {"logits": n_vocab}, {}, ()), n_ctx, n_batch, n_seq_max)
        self.script = list(script)
        self.seen: list[list[int]] = [[] for _ in range(n_seq_max)]
        self.calls: list[tuple[int, int]] = []
        self.closed = False
        self.poison: int | None = None

    def _run_step(self, pieces):
        logits = np.zeros((sum(len(piece.rows) for piece in pieces), self.n_outputs), np.float32)
        n = 0
        for piece in pieces:
            seen = self.seen[piece.seat]
            assert piece.start == len(seen) and piece.ids.dtype == np.int32
            seen += piece.ids.tolist()
            self.calls.append((piece.start, len(piece.ids)))
            for row in piece.rows:
                position = piece.start + int(row)
                scripted = position < len(self.script)
                logits[n, self.script[position] if scripted else sum(seen[: position + 1]) % 90] = 1.0
                if position == self.poison:
                    logits[n, 5] = np.nan
                n += 1
        return StepRows.of(logits), {}

    def reset(self, seat):
        self.seen[seat] = []

    def states_of(self, seat):
        return [list(self.seen[seat])]

    def set_states(self, seat, states):
        self.seen[seat] = list(states[0])

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


def request(driver, ids, params, tokenizer=None):
    """A request that runs while it is read."""
    ids = np.asarray(ids, np.int32)
    job = TextJob(ids, params, tokenizer or LetterTokenizer(), driver.scheduler.n_ctx)
    job.waits = True
    return Request(driver, [job])


def driver_of(executor):
    return Driver(Scheduler(executor))


def stream(script_text, prompt="ab", n_ctx=50, n_batch=8, **params):
    """A request whose executor answers `prompt` with `script_text`, where "~" stands for the end."""
    script = [EOG if letter == "~" else ord(letter) - 32 for letter in script_text]
    executor = ScriptedExecutor([0] * (len(prompt) - 1) + script, n_ctx=n_ctx, n_batch=n_batch)
    return request(driver_of(executor), ids_of(prompt), SamplingParams(**params))


def executor_of(s):
    return s._driver.scheduler.executor
