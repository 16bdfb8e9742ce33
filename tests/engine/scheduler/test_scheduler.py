"""The scheduler, on an executor and a tokenizer made up for it."""

import os
import threading

import numpy as np
import pytest
from scripted_stream import N_VOCAB, ScriptedExecutor, driver_of, executor_of, ids_of, request, stream
from stopwatch import HANG

from nybble.engine.sampling.params import SamplingParams
from nybble.errors import ModelError, NybbleError


def test_streams_that_take_turns_do_not_disturb_each_other():
    driver = driver_of(ScriptedExecutor())

    def new(prompt):
        return request(driver, ids_of(prompt), SamplingParams(max_tokens=20))

    alone = ["".join(new("abc")), "".join(new("hello"))]
    first, second = new("abc"), new("hello")
    pairs = list(zip(first, second, strict=True))
    assert ["".join(pieces) for pieces in zip(*pairs, strict=True)] == alone


def test_threads_get_the_texts_they_would_get_alone():
    driver = driver_of(ScriptedExecutor())
    prompts = ["prompt number " + str(i) for i in range(8)]

    def text(prompt):
        return "".join(request(driver, ids_of(prompt), SamplingParams(max_tokens=15)))

    alone = [text(prompt) for prompt in prompts]
    together: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda p: together.update({p: text(p)}), args=(prompt,)) for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    assert [together[prompt] for prompt in prompts] == alone


def test_a_request_that_fails_leaves_a_scheduler_that_works():
    s = stream("Hello~")
    executor = executor_of(s)
    assert next(s) == "H"
    executor.poison = 2
    for _ in range(2):
        with pytest.raises(ModelError, match="NaN or infinite logits at position 2"):
            next(s)
    executor.poison = None
    assert "".join(request(s._driver, ids_of("ab"), SamplingParams())) == "Hello"


def test_logits_come_in_chunks_and_are_checked():
    executor = ScriptedExecutor(range(10), n_ctx=20, n_batch=3)
    driver = driver_of(executor)

    def run():
        job = driver.scheduler.logits_job(np.arange(7, dtype=np.int32), np.arange(7))
        for done in driver.run_in_order([job]):
            if done.error is not None:
                raise done.error
        return job.logits

    logits = run()
    assert logits.shape == (7, N_VOCAB) and logits.argmax(axis=1).tolist() == list(range(7))
    assert executor.calls == [(0, 3), (3, 3), (6, 1)]
    executor.poison = 4
    with pytest.raises(ModelError, match="position 4"):
        run()


def test_a_closed_scheduler_says_so():
    s = stream("Hello")
    executor = executor_of(s)
    s._driver.scheduler.close()
    s._driver.scheduler.close()
    assert executor.closed
    with pytest.raises(NybbleError, match="closed"):
        next(s)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_gets_an_error_even_if_the_parent_was_busy():
    s = stream("Hello")
    with s._driver.scheduler.gate.exclusive():
        child = os.fork()
        if child == 0:
            try:
                s._driver.scheduler.close()
                next(s)
            except NybbleError as error:
                os._exit(0 if "before a fork" in str(error) else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert next(s) == "H"
