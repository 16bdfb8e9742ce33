"""An engine whose steps wait for a test."""

import threading


class SlowSteps:
    """Holds the steps of an `LLM` from the one numbered `n_free` on, until `go_on`."""

    def __init__(self, llm, n_free=2):
        self.n_begun = 0
        """How many steps have begun."""
        self.is_held = threading.Event()
        """One of them is waiting."""
        self._may_go_on = threading.Event()
        self._step, self._n_free = llm.scheduler.executor.step, n_free
        llm.scheduler.executor.step = self._held
        self.go_on = self._may_go_on.set

    def _held(self, pieces):
        self.n_begun += 1
        if self.n_begun > self._n_free:
            self.is_held.set()
            assert self._may_go_on.wait(60)
        return self._step(pieces)
