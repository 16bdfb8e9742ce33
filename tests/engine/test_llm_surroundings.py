"""An LLM on the numba executor, and what happens around it.

Its file is cut or replaced (HOSTILE.md G118 to G121), its process forks (N8), other Python threads want to go
on (N9) or share it, the user presses Ctrl-C (N10).
"""

import copy
import gc
import os
import pickle
import signal
import statistics
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from stopwatch import HANG

import nybble
from nybble.errors import ModelError, NybbleError

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


# --- other processes


def test_who_pickles_or_copies_is_told_what_to_do(llm, path):
    for copied in (llm, llm.generate, llm.stream(PROMPT), llm.context, {"model": llm}):
        for attempt in (pickle.dumps, copy.deepcopy):
            with pytest.raises(
                nybble.RequestError, match=r"cannot be pickled .* \(llm.path\) and make an LLM"
            ):
                attempt(copied)
    with nybble.load_gguf(path) as file, pytest.raises(nybble.RequestError, match="pass its path"):
        pickle.dumps(file)
    with nybble.LLM(pickle.loads(pickle.dumps(llm.path)), n_threads=2) as other:
        assert other.generate(PROMPT, PARAMS).token_ids == llm.generate(PROMPT, PARAMS).token_ids


# --- the file


def test_a_home_in_a_path(path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(path.parent))
    for named in ("~/tiny.gguf", Path("~/tiny.gguf")):
        with nybble.LLM(named, executor="reference") as llm, nybble.load_gguf(named) as file:
            assert llm.path == path and file.path == str(path)
            nybble.write_gguf("~/written.gguf", {}, {"x": file.tensors["token_embd.weight"]})
        assert nybble.Tokenizer.from_gguf(named).n_vocab > 0
        nybble.quantize_gguf("~/tiny.gguf", "~/quantized.gguf", "Q4_0", overwrite=True)
    assert {"written.gguf", "quantized.gguf"} < {file.name for file in path.parent.iterdir()}


def in_place(path):
    """Writes the same bytes over the file's first ones: only the time changes."""
    with open(path, "r+b") as file:
        head = file.read(64)
        file.seek(0)
        file.write(head)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


CHANGES = {
    "G118 cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "G118 emptied": lambda path: os.truncate(path, 0),
    "G119 cut in the last page": lambda path: os.truncate(path, path.stat().st_size - 1),
    "G120 written in place": in_place,
    "grown": lambda path: os.truncate(path, path.stat().st_size + 4096),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_is_noticed_at_the_next_request(llm, path, change):
    llm.generate(PROMPT, PARAMS)
    change(path)
    for request in (llm.generate, llm.logits, llm.stream):
        with pytest.raises(ModelError, match="changed") as caught:
            request(PROMPT)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "removed"])
def test_g121_a_file_put_in_its_place_changes_nothing(llm, path, tmp_path, replace):
    expected = llm.generate(PROMPT, PARAMS).token_ids
    if replace:
        os.replace(tiny_model.write(tmp_path / "other.gguf", weight_format="Q4_0", seed=7), path)
    else:
        path.unlink()
    assert llm.generate(PROMPT, PARAMS).token_ids == expected


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
def test_g136_loading_and_closing_leaves_nothing_behind(path):
    def use():
        with nybble.LLM(path, n_threads=2) as llm:
            llm.generate(PROMPT, PARAMS)

    def held():
        gc.collect()  # what other tests have left, too
        with open("/proc/self/maps") as maps:
            return (
                threading.active_count(),
                len(os.listdir("/proc/self/fd")),
                sum(str(path) in m for m in maps),
            )

    use()
    before = held()
    for _ in range(60):
        use()
    assert held() == before
    assert before[2] == 0


@pytest.mark.parametrize("executor", ["numba", "reference"])
def test_closing_frees_memory_at_once(path, executor):
    """Without waiting for the garbage collector, and even if somebody keeps the LLM."""
    llm = nybble.LLM(path, executor=executor)
    llm.generate(PROMPT, PARAMS)
    held = weakref.ref(llm.context._executor)
    gc.disable()
    try:
        llm.close()
        assert held() is None
    finally:
        gc.enable()


# --- forks


def in_a_child(work):
    """Forks; the child calls `work`, which returns its exit code, and is ended if it hangs."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            signal.alarm(int(HANG))
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
no_warning = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forks
@no_warning
def test_n8_a_forked_child_gets_an_error_even_while_the_parent_works(llm):
    stream = llm.stream(PROMPT, PARAMS)
    next(stream)
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            llm.generate(PROMPT, PARAMS)

    busy = threading.Thread(target=keep_busy)
    busy.start()

    def use():
        for number, request in enumerate(
            (lambda: llm.generate(PROMPT), lambda: llm.logits(PROMPT), lambda: next(stream))
        ):
            try:
                request()
                return 10 + number
            except NybbleError as error:
                if "before a fork" not in str(error):
                    return 20 + number
        llm.close()
        return 0

    try:
        assert [in_a_child(use) for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        busy.join()


@forks
@no_warning
def test_n8_a_forked_child_may_load_the_model_again(llm, path):
    expected = llm.generate(PROMPT, PARAMS).token_ids

    def load():
        with nybble.LLM(path, n_threads=2) as again:
            return 0 if again.generate(PROMPT, PARAMS).token_ids == expected else 1

    assert in_a_child(load) == 0
    assert llm.generate(PROMPT, PARAMS).token_ids == expected


# --- threads


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
        team = llm.context._executor.runner._team
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


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_n10_ctrl_c_while_the_workers_wait_for_their_leader(llm, n):
    """What they were at must not mix with the next request, whose memory is the same."""
    prompts = [PROMPT, "and another one"]
    expected = [llm.generate(prompt, PARAMS).token_ids for prompt in prompts]
    team = llm.context._executor.runner._team
    team._lead = InterruptedLead(team._lead, n)
    with pytest.raises(KeyboardInterrupt):
        llm.generate(prompts[0], PARAMS)
    assert [llm.generate(prompt, PARAMS).token_ids for prompt in reversed(prompts)] == expected[::-1]


def test_n10_what_ctrl_c_leaves_does_not_reach_the_next_recurrence(tmp_path):
    """What is left of a step is finished later: before the recurrent states are reset, not after."""
    made = architecture_fixtures.description("mamba2")
    with nybble.LLM(architecture_fixtures.write(tmp_path / "model.gguf", made), n_threads=1) as llm:
        expected = llm.logits([1, 2, 3])
        team = llm.context._executor.runner._team
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
    run_step = llm.context._executor._run_step

    def recorded(ids, *rest):
        steps.append(len(ids))
        return run_step(ids, *rest)

    def interrupt(pause):
        global before
        time.sleep(pause)
        before = len(steps)
        os.kill(os.getpid(), signal.SIGINT)

    llm.context._executor._run_step = recorded
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
