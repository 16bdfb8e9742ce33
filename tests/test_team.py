"""The thread team: interrupted at the worst moment, closed, idle, and after a fork."""

import os
import threading
import time

import numpy as np
import pytest

from nybble.engine.team import Program, Team
from nybble.gguf_io.errors import NybbleError
from nybble.kernels.add import bind_add
from nybble.kernels.kernel import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="without machine code there are no threads")

WIDTH = 16


class Adder:
    """A team whose program adds one to `total`, twice if run whole."""

    def __init__(self, n_threads: int = 2) -> None:
        self.total, one = np.zeros((64, WIDTH), np.float32), np.ones((64, WIDTH), np.float32)
        step = np.full(8, 64, np.int64)
        call = bind_add(self.total, one, self.total, step)
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

    def __init__(self, bell: threading.Semaphore) -> None:
        self.release = self._interrupt
        self._bell = bell

    def _interrupt(self) -> None:
        self.release = self._bell.release
        raise KeyboardInterrupt


def interrupt(adder: Adder) -> None:
    """Between starting a program and leading it."""
    time.sleep(0.1)  # the worker goes to sleep, so that it must be woken
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


def test_an_interrupted_program_is_finished_first(adder):
    interrupt(adder)
    adder.team.run(0, 2)
    adder.check(3)


def test_a_worker_that_was_woken_before_the_interrupt(adder):
    """The worker has done its share and waits for the leader."""
    adder.team._start.set("first", 0)
    adder.team._start.set("last", 1)
    adder.team._start.run(0, 2)
    adder.team.run(0, 2)
    adder.check(3)


def test_closing_after_an_interrupt(adder):
    interrupt(adder)
    adder.team.close()
    adder.team.close()
    assert not any(worker.is_alive() for worker in adder.team._workers)


def test_an_idle_team_sleeps(adder):
    adder.team.run(0, 2)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05


def test_the_threads_go_with_the_team():
    adder = Adder(3)
    workers = list(adder.team._workers)
    del adder
    for worker in workers:
        worker.join(timeout=5)
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
