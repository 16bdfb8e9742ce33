"""The thread team: interrupted at the worst moment, closed, idle, asleep and woken, and after a fork."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from stopwatch import HANG, wait_until

from nybble.engine.executors.numba.team import Program, Team
from nybble.errors import NybbleError
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit import phases
from nybble.kernels.jit.kernel import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="without machine code there are no threads")

WIDTH = 16


class Adder:
    """A team whose program adds one to `total`, twice if run whole."""

    def __init__(self, n_threads: int = 2) -> None:
        self.total, one = np.zeros((64, WIDTH), np.float32), np.ones((64, WIDTH), np.float32)
        n_tokens = np.full(8, 64, np.int64)
        call = bind_add(self.total, one, self.total, n_tokens)
        self.team = Team(Program([call, call], [True, False]), n_threads)

    def check(self, expected: float) -> None:
        np.testing.assert_array_equal(self.total, np.full((64, WIDTH), expected, np.float32))


@pytest.fixture
def adder():
    made = Adder()
    yield made
    made.team.close()


class BrokenBell:
    """Interrupts, as Ctrl-C may, whoever rings it first; after that it is the bell."""

    def __init__(self, bell: queue.SimpleQueue) -> None:
        self.put = self._interrupt
        self._bell = bell

    def _interrupt(self, item: None) -> None:
        self.put = self._bell.put
        raise KeyboardInterrupt


def fall_asleep(team: Team) -> None:
    """Waits until every worker is asleep outside of the machine code, or about to be: a bell must wake it.
    An interrupted run may have called them already, without the bell."""
    outside = [phases.THREADS + i * phases.THREAD_WORDS + phases.OUTSIDE for i in range(1, team.n_threads)]
    assert wait_until(
        lambda: team._control[phases.PHASE] & phases.MAX_SHARES or team._control[outside].all()
    ), "workers do not fall asleep"


def announce(team: Team, last: int, n_threads: int) -> None:
    """Starts calls 0 … last - 1 as `Team.run` does, and rings no bell."""
    team._start.set("first", 0)
    team._start.set("last", last)
    team._start.run(0, n_threads)


def interrupt(adder: Adder) -> None:
    """Between starting a program and leading it, with a worker that must be woken."""
    fall_asleep(adder.team)
    adder.team._bells[0] = BrokenBell(adder.team._bells[0])
    with pytest.raises(KeyboardInterrupt):
        adder.team.run(0, 1)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_many_short_programs(n_threads):
    adder = Adder(n_threads)
    for _ in range(2000):
        adder.team.run(0, 2)
    adder.team.run(1, 2)
    adder.check(4001)
    adder.team.close()


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_count_of_phases_begins_again(n_threads):
    """As it does after some days of work."""
    adder = Adder(n_threads)
    control, n_phases = adder.team._control, phases.PHASE_MASK - 5
    for i in range(n_threads):
        control[phases.THREADS + i * phases.THREAD_WORDS + phases.TAKEN] = n_phases
    control[phases.PHASE] = n_phases << phases.PHASE_SHIFT
    for _ in range(10):
        adder.team.run(0, 2)
    assert control[phases.PHASE] >> phases.PHASE_SHIFT & phases.PHASE_MASK < 100
    adder.check(20)
    adder.team.close()


@pytest.mark.parametrize("n_threads", [2, 5])
def test_nobody_waits_for_a_thread_that_does_not_come(n_threads, monkeypatch):
    """Its shares are taken by the others."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    adder = Adder(n_threads)
    for _ in range(100):
        adder.team.run(0, 2)
    adder.check(200)
    monkeypatch.setattr(threading.Thread, "join", lambda thread: None)
    adder.team.close()


def test_threads_with_little_of_a_core(n_threads=3):
    """All on one core, beside a thread that never rests: whoever runs does what there is to do."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity")
    kept = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(kept)})  # threads inherit it
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        adder = Adder(n_threads)
        started = time.process_time()
        for _ in range(300):
            adder.team.run(0, 2)
        used = time.process_time() - started
        adder.check(600)
        adder.team.close()
    finally:
        hog.kill()
        hog.wait()
        os.sched_setaffinity(0, kept)
    assert used < 1  # spinning for threads without a core took some 20 seconds


def test_an_interrupted_program_is_finished_first(adder):
    interrupt(adder)
    adder.team.run(0, 2)
    adder.check(3)


def test_a_worker_that_was_woken_before_the_interrupt(adder):
    """It may have done all of the program, the leader's share too."""
    announce(adder.team, 1, 2)
    adder.team.run(0, 2)
    adder.check(3)


def test_a_worker_is_woken_although_the_others_have_done_everything():
    """It was called, so nobody would call it again: it would sleep until the team is closed."""
    adder = Adder(3)
    fall_asleep(adder.team)
    announce(adder.team, 2, 3)
    adder.team._bells[0].put(None)
    assert wait_until(lambda: not adder.team._control[phases.PHASE] & phases.MAX_SHARES), (
        "the woken worker does not do the others' work"
    )
    adder.team.finish()
    fall_asleep(adder.team)  # so it has been awake
    adder.team.run(0, 2)
    adder.check(4)
    adder.team.close()


def test_closing_after_an_interrupt(adder):
    interrupt(adder)
    adder.team.close()
    adder.team.close()
    assert not any(worker.is_alive() for worker in adder.team._workers)


def test_an_idle_team_sleeps(adder):
    adder.team.run(0, 2)
    fall_asleep(adder.team)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05


def test_the_threads_go_with_the_team():
    adder = Adder(3)
    workers = list(adder.team._workers)
    del adder
    for worker in workers:
        worker.join(timeout=HANG)
        assert not worker.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_an_error(adder):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            adder.team.run(0, 2)
        except NybbleError as error:
            adder.team.close()
            code = 0 if "before a fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    adder.team.run(0, 2)
    adder.check(2)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_workers_that_fall_asleep_are_woken(n_threads):
    """Pauses of every length around the time after which a worker goes to sleep."""
    adder, rng = Adder(n_threads), np.random.default_rng(n_threads)
    pauses = rng.choice([0, 0, 0, 1e-4, 5e-4, 1e-3, 2e-3, 4e-3], 400)
    for pause in pauses:
        adder.team.run(0, 2)
        if pause:
            time.sleep(pause * rng.random() * 2)
    adder.check(2 * len(pauses))
    adder.team.close()


def test_teams_take_turns():
    """Of two models, one sleeps while the other works."""
    adders = [Adder(2) for _ in range(3)]
    for i in range(300):
        adders[i % 3].team.run(0, 1)
    for adder in adders:
        adder.check(100)
        adder.team.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
def test_ctrl_c_at_any_moment(adder, asleep):
    """Interrupts at random moments: the team goes on, and each run that returned was complete."""

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    rng, complete, interrupted = np.random.default_rng(3), 0, 0
    kept = signal.signal(signal.SIGALRM, interrupt)
    try:
        while interrupted < (200 if asleep else 1000):
            if asleep:
                fall_asleep(adder.team)
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 5e-4))
                while True:
                    adder.team.run(0, 2)
                    complete += 1
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    adder.team.run(0, 2)
    # What was started and interrupted is finished later, so it counts as well.
    assert complete + 1 <= adder.total[0, 0] / 2 <= complete + 1 + interrupted
    assert (adder.total == adder.total[0, 0]).all()


def test_a_closed_team_says_so(adder):
    adder.team.close()
    with pytest.raises(NybbleError, match="closed"):
        adder.team.run(0, 2)


def test_other_python_threads_go_on_while_a_program_runs():
    """Machine code holds no lock of Python's: a heartbeat beside it does not stop. With the lock there would
    be a beat before the program and one after it."""
    total, one = np.zeros((4096, 1024), np.float32), np.ones((4096, 1024), np.float32)
    call = bind_add(total, one, total, np.full(8, 4096, np.int64))
    team = Team(Program([call] * 200, [True] * 200), 2)
    beats, running = [], True

    def beat():
        while running:
            beats.append(time.perf_counter())
            time.sleep(0.001)

    heart = threading.Thread(target=beat)
    heart.start()
    start = time.perf_counter()
    team.run(0, 200)
    stop = time.perf_counter()
    running = False
    heart.join()
    team.close()
    during = [t for t in beats if start < t < stop]
    assert stop - start > 0.05, "too short to tell"
    assert len(during) > 5


EXIT = """
import sys
import numpy as np
from nybble.engine.executors.numba.team import Program, Team
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.phases import OUTSIDE, THREADS, THREAD_WORDS
a = np.ones((2, 16), np.float32)
call = bind_add(a, a, a, np.array([2]))
team = Team(Program([call], [True]), 3)
team.run(0, 1)
{more}
"""


@pytest.mark.parametrize(
    "more",
    [
        "",
        "while not team._control[[THREADS + i * THREAD_WORDS + OUTSIDE for i in (1, 2)]].all(): pass",
        "keep = [team]; keep.append(keep)",
        "raise SystemExit(0)",
        "del team",
    ],
    ids=["spinning", "asleep", "in a cycle", "exit", "deleted"],
)
def test_the_interpreter_ends_with_a_live_team(more):
    result = subprocess.run(
        [sys.executable, "-c", EXIT.format(more=more)], timeout=HANG, capture_output=True, text=True
    )
    assert result.returncode == 0 and not result.stderr
