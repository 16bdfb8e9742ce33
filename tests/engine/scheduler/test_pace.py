"""How steps beside streams are cut, on a machine of which the costs are known."""

import time

import numpy as np
import pytest
from scripted_stream import LetterTokenizer, ScriptedExecutor

from nybble.engine.generation.text_job import TextJob
from nybble.engine.sampling.params import SamplingParams
from nybble.engine.scheduler.pace import Pace
from nybble.engine.scheduler.scheduler import Scheduler

STREAM = SamplingParams(max_tokens=1000)


@pytest.mark.parametrize("stream", [0.005, 0.02, 0.09])
@pytest.mark.parametrize("per_token", [0.0001, 0.001, 0.003])
def test_a_step_stays_within_its_bound(stream, per_token):
    """0.1 s, or twice a step of streams alone, though each step takes up to a fifth more or less."""
    random, pace, bound = np.random.default_rng(3), Pace(), max(0.1, 2 * stream)
    for _ in range(20):
        pace.record(1, 0, stream)
    taken = []
    for _ in range(100):
        n = pace.n_prompt_tokens(511)
        taken.append((stream + n * per_token) * random.uniform(0.8, 1.2))
        pace.record(1, n, taken[-1])
    assert np.percentile(taken, 95) <= bound
    assert np.median(taken) > 0.4 * bound or n == 511


def test_nothing_is_known_at_first():
    pace = Pace()
    assert pace.n_prompt_tokens(511) == 64 and pace.n_prompt_tokens(20) == 20


class Clock:
    """Goes on when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


class Slow(ScriptedExecutor):
    """Each step waits for its turn, and then takes as long as its tokens."""

    def __init__(self, clock, wait):
        super().__init__(n_ctx=2000, n_batch=512)
        self.clock, self.wait, self.turn = clock, wait, self

    def __enter__(self):
        self.clock.now += self.wait

    def __exit__(self, *error):
        pass

    def _run_step(self, pieces):
        self.clock.now += 0.01 + 5e-4 * sum(len(piece.ids) for piece in pieces)
        return super()._run_step(pieces)


def test_waiting_for_a_turn_is_not_what_tokens_cost(monkeypatch):
    """A prompt beside a stream is cut as if no other process computed."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)

    def lengths(wait):
        executor = Slow(clock, wait)
        scheduler = Scheduler(executor)
        for ids, params in (([1, 2], STREAM), ([1] * 1500, SamplingParams(max_tokens=1))):
            job = TextJob(np.array(ids, np.int32), params, LetterTokenizer(), executor.n_ctx)
            job.in_background = True
            scheduler.add(job)
            for _ in range(5):
                scheduler.step()
        while not job.is_done:
            assert scheduler.step()
        return [n for _, n in executor.calls if n > 1]

    alone = lengths(0.0)
    assert lengths(0.3) == alone
    assert len(alone) > 5 and max(alone) > 64  # it is cut, and into more than what nothing is known of
