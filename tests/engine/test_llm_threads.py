"""An LLM that Python threads share, and that Ctrl-C interrupts (HOSTILE.md N9, N10)."""

import statistics
import subprocess
import sys
import threading
import time

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from stopwatch import HANG

import nybble

PARAMS = nybble.SamplingParams(max_tokens=12)
PROMPT = "the other hand is in here"


@pytest.fixture
def path(tmp_path):
    return tiny_model.write(tmp_path / "tiny.gguf", weight_format="Q8_0")


@pytest.fixture(scope="module")
def broad_path(tmp_path_factory):
    """A model with work to do: some 0.2 ms a token, and a long context."""
    path = tmp_path_factory.mktemp("broad") / "broad.gguf"
    return tiny_model.write(path, weight_format="Q8_0", n_embd=512, n_layers=4, n_ff=2048, n_ctx=4096)


@pytest.fixture
def llm(path):
    with nybble.LLM(path, n_threads=2) as llm:
        yield llm


def test_python_threads_share_one_model(llm):
    prompts = [f"number {i} and the other" for i in range(6)]
    alone = [llm.generate(prompt, PARAMS).text for prompt in prompts]
    together = [[""] * 3 for _ in prompts]

    def work(index):
        for turn in range(3):
            if turn == 1:
                together[index][turn] = "".join(llm.stream(prompts[index], PARAMS))
            else:
                together[index][turn] = llm.generate(prompts[index], PARAMS).text

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    assert together == [[text] * 3 for text in alone]


def test_n9_other_python_threads_go_on_during_a_prefill(broad_path):
    """Kernels run without the GIL. With it, each slice of a prefill, some 40 ms, would stop every other
    thread, which would get one turn before it and one after it."""
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            time.sleep(0.001)
            ticks[0] += 1

    with nybble.LLM(broad_path, n_threads=1) as llm:
        llm.generate([70], nybble.SamplingParams(max_tokens=1))
        team = llm.scheduler.executor.runner._team
        lead = team._lead = CountingLead(team._lead, ticks)
        ticking = threading.Thread(target=tick)
        ticking.start()
        llm.generate([70] * 2048, nybble.SamplingParams(max_tokens=1))
        stop.set()
        ticking.join()
    assert statistics.median(lead.found) > 5


class CountingLead:
    """Stands before a team's call to lead a program, and finds how much is added to `ticks` meanwhile."""

    def __init__(self, lead, ticks):
        self._lead, self._ticks, self.found = lead, ticks, []

    def run(self, thread_id, n_threads):
        before = self._ticks[0]
        self._lead.run(thread_id, n_threads)
        self.found.append(self._ticks[0] - before)


class InterruptedLead:
    """Stands before a team's call to lead a program, and interrupts, as Ctrl-C may, the n-th time."""

    def __init__(self, lead, n):
        self._lead, self._n = lead, n

    def run(self, thread_id, n_threads):
        self._n -= 1
        if self._n == 0:
            raise KeyboardInterrupt
        self._lead.run(thread_id, n_threads)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_n10_ctrl_c_while_the_workers_wait_for_their_leader(llm, n):
    """What they were at must not mix with the next request, whose memory is the same."""
    prompts = [PROMPT, "and another one"]
    expected = [llm.generate(prompt, PARAMS).token_ids for prompt in prompts]
    team = llm.scheduler.executor.runner._team
    team._lead = InterruptedLead(team._lead, n)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):  # the leader has nothing to do where the worker was faster
            llm.generate(prompts[0], PARAMS)
    assert [llm.generate(prompt, PARAMS).token_ids for prompt in reversed(prompts)] == expected[::-1]


def test_n10_what_ctrl_c_leaves_does_not_reach_the_next_recurrence(tmp_path):
    """What is left of a step is finished later: before the recurrent states are reset, not after."""
    made = architecture_fixtures.description("mamba2")
    with nybble.LLM(architecture_fixtures.write(tmp_path / "model.gguf", made), n_threads=1) as llm:
        expected = llm.logits([1, 2, 3])
        team = llm.scheduler.executor.runner._team
        team._lead = InterruptedLead(team._lead, 1)
        with pytest.raises(KeyboardInterrupt):
            llm.logits([4, 5, 6])
        np.testing.assert_array_equal(llm.logits([1, 2, 3]), expected)


CHILD = """
import os, signal, sys, threading, time, nybble
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
ids, steps, before = [70 + i % 100 for i in range(4096)], [], 0
with nybble.LLM(sys.argv[1], n_threads=2) as llm:
    expected = llm.generate(ids[:20], nybble.SamplingParams(max_tokens=4)).token_ids
    run_step = llm.scheduler.executor._run_step

    def recorded(pieces):
        steps.append(sum(len(piece.ids) for piece in pieces))
        return run_step(pieces)

    def interrupt(pause):
        global before
        time.sleep(pause)
        before = len(steps)
        os.kill(os.getpid(), signal.SIGINT)

    llm.scheduler.executor._run_step = recorded
    for pause in (0.1, 0.23, 0.31):
        threading.Thread(target=interrupt, args=[pause]).start()
        try:
            while True:
                llm.generate(ids, nybble.SamplingParams(max_tokens=1))
        except KeyboardInterrupt:
            print(len(steps) - before, max(steps))
        if llm.generate(ids[:20], nybble.SamplingParams(max_tokens=4)).token_ids != expected:
            sys.exit("other tokens than before")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_n10_ctrl_c_ends_a_prefill_soon_and_harms_nothing(broad_path):
    """A prefill of 4,096 tokens takes seconds; it is left after the step of it that is running, or that
    begins at that moment."""
    command = [sys.executable, "-X", "faulthandler", "-c", CHILD, str(broad_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    found = [[int(number) for number in line.split()] for line in done.stdout.splitlines()]
    assert len(found) == 3 and all(more <= 1 and longest <= 512 for more, longest in found), found
