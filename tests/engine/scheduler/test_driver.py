"""Whoever has asked for something may leave: it ends within a step, and gives back what it had."""

import threading

import numpy as np
import pytest
from accounts import is_free, require_free
from served import wait_for
from stuck_backend import SlowSteps

import nybble
from nybble import SamplingParams
from nybble.system.asker import Asker, AskerLeftError
from nybble.testing import tiny_model

LONG = list(range(5, 105))
WORK = {
    "embed": lambda llm: llm.embed([LONG] * 40, pooling="mean"),
    "capture": lambda llm: llm.capture(LONG, ["blk.*.resid_post"]),
    "score": lambda llm: llm.score([(LONG, [7, 8])] * 40),
    "logits": lambda llm: llm.logits([LONG] * 40),
    "generate": lambda llm: llm.generate(LONG, SamplingParams(max_tokens=100, ignore_eos=True)),
    "result": lambda llm: llm.submit(LONG, SamplingParams(max_tokens=100, ignore_eos=True)).result(),
}


@pytest.fixture
def llm():
    with nybble.LLM(tiny_model(), n_ctx=256, n_threads=1, n_batch=16, n_seq_max=4) as llm:
        yield llm


def begun(llm, work):
    """An asker for whom a thread works, the thread, and a list with the error that ends it."""
    asker, errors = Asker(), []

    def run():
        try:
            asker.run(work, llm)
        except AskerLeftError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return asker, thread, errors


@pytest.mark.parametrize("name", WORK)
def test_work_ends_within_a_step(llm, name):
    steps = SlowSteps(llm)
    asker, thread, errors = begun(llm, WORK[name])
    assert steps.is_held.wait(20)
    asker.leave()
    steps.go_on()
    thread.join(20)
    assert len(errors) == 1 and not asker._on_leave
    wait_for(lambda: is_free(llm))  # the step may run in the background
    assert steps.n_begun == 3


def test_others_keep_their_bits(llm):
    """Those that run in the same steps do not notice."""
    alone = llm.embed([LONG], pooling="mean")
    steps = SlowSteps(llm)
    found = []
    other = threading.Thread(target=lambda: found.append(llm.embed([LONG], pooling="mean")))
    asker, thread, errors = begun(llm, WORK["embed"])
    assert steps.is_held.wait(20)
    other.start()
    asker.leave()
    steps.go_on()
    thread.join(20)
    other.join(20)
    assert errors and np.array_equal(found[0], alone)
    require_free(llm)
