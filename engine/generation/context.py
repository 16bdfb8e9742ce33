"""The one sequence that an executor can hold, shared by everyone who generates with it."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, NybbleError, RequestError
from ...gguf_io.display import Shown
from ..executors.base import Executor
from ..hooks.taps import Taps
from ..plan.plan import Plan
from ..sampling.sampler import is_sound
from .diagnosis import diagnose


class Context(Shown):
    """Runs tokens on an executor, in chunks, for whoever asks; one at a time.

    The state of the executor (keys and values) belongs to the last `owner`.  Someone else who asks takes it
    over, and the former owner, when it asks again, has its tokens run again from the start.  So two streams
    that take turns are slow but right, and a stream that was left halfway blocks nobody.

    `check_weights` is called before each step, and raises if the weights are no longer what they were. With
    the `plan` that runs, errors about NaN name the cause.
    """

    def __init__(
        self,
        executor: Executor,
        n_outputs: int,
        n_ctx: int,
        n_batch: int,
        check_weights: Callable[[], None] = lambda: None,
        plan: Plan | None = None,
    ) -> None:
        self.n_outputs = n_outputs
        self.n_ctx = n_ctx
        self.n_batch = n_batch
        self._lock = threading.RLock()
        self._executor = executor
        self._check_weights = check_weights
        self._plan = plan
        self._is_open = True
        self._process = os.getpid()
        self._owner: object = None
        self._n_done = 0
        self._running_in: int | None = None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def _facts(self) -> dict[str, str]:
        return {"n_ctx": str(self.n_ctx), "n_batch": str(self.n_batch), "is_open": str(self.is_open)}

    def __reduce__(self) -> NoReturn:
        raise RequestError(
            "an LLM cannot be pickled or copied: its weights, threads and file belong to this process; pass"
            " its path (llm.path) and make an LLM of it in each process, once (the initializer of a pool);"
            " threads may share one"
        )

    def check_usable(self) -> None:
        """Raises `NybbleError` after `close`, and in the child of a fork."""
        if os.getpid() != self._process:
            raise NybbleError(
                "this LLM was made before a fork, and its threads did not come along; make a new one in this"
                " process (with multiprocessing: use the start method 'spawn')"
            )
        if not self._is_open:
            raise NybbleError(
                "this LLM has been closed; make a new one (its tokenizer, and the traces and arrays"
                " that it gave, are still of use)"
            )

    def exclusive(self) -> AbstractContextManager[object]:
        """For `with`: keeps other threads out; each step does it, and who wants several steps in a row may do
        it too.

        It is the lock itself, since a Ctrl-C in an `__enter__` of Python's could leave it held.
        """
        self.check_usable()  # before the lock: it may have been held when the process forked
        if self._running_in == threading.get_ident():  # an edit, or a signal's handler
            raise RequestError("this LLM is running; an edit, which is part of that, cannot use it")
        return self._lock

    def last_logits(self, owner: object, ids: list[int], taps: Taps | None = None) -> NDArray[np.float32]:
        """The logits (n_vocab,) after `ids`, at least one; only what the state does not hold yet is run.

        `taps` are shown what runs: those of the owner, always the same. Raises `ModelError` if the logits
        cannot be sampled from (NaN, infinite), and whatever an edit raises.
        """
        with self.exclusive():
            start = self._n_done if owner is self._owner and self._n_done < len(ids) else 0
            for end in self._ends(start, len(ids), taps):
                rows = np.array([end - start - 1] if end == len(ids) else [], np.intp)
                logits = self._run(owner, ids, start, end, rows, taps)
                start = end
            return logits[0].copy()  # the next step, perhaps another thread's, may overwrite it

    def logits_at(
        self, ids: NDArray[np.int32], positions: NDArray[np.intp], taps: Taps | None = None
    ) -> NDArray[np.float32]:
        """The logits (m, n_vocab) after those of `ids` (n,) at `positions` (m,), ascending; raises what
        `last_logits` does."""
        result = np.empty((len(positions), self.n_outputs), np.float32)
        owner, n_done = object(), 0
        with self.exclusive():
            for first in range(0, len(ids), self.n_batch):
                end = min(first + self.n_batch, len(ids))
                here = positions[(positions >= first) & (positions < end)] - first
                result[n_done : n_done + len(here)] = self._run(owner, ids, first, end, here, taps)
                n_done += len(here)
        return result

    def cause_of_nan(
        self, ids: NDArray[np.int32] | list[int], position: int, taps: Taps | None = None
    ) -> str:
        """Why what is computed for a position of `ids` is NaN or infinite: ": " and the cause, or "" if there
        is none to be found. Runs them again."""
        if self._plan is None:
            return ""
        with self.exclusive():
            self._owner = None
            n = position + 1 if self._plan.is_causal else len(ids)
            try:
                self._running_in = threading.get_ident()
                ends = self._ends(0, n, taps)
                cause = diagnose(self._executor, self._plan, ids, position, ends, taps)
            finally:
                self._running_in = None
        return cause and f": {cause}"

    def close(self) -> None:
        """Waits for the step in progress and closes the executor; closing twice is fine."""
        if os.getpid() != self._process:
            return  # after a fork all of it is the parent's
        with self._lock:
            if self._running_in is not None:  # then this is its thread
                raise RequestError("this LLM is running; an edit, which is part of that, cannot close it")
            if self._is_open:
                self._is_open = False
                self._executor.close()
                del self._executor  # and with it the weights and the cache, even if somebody keeps the LLM

    def _ends(self, start: int, n: int, taps: Taps | None) -> list[int]:
        """Where the pieces end in which the positions from `start` to n - 1 are run."""
        ends = {*range(start + self.n_batch, n, self.n_batch), n}
        if taps is not None and start < taps.n_prompt < n:
            ends.add(taps.n_prompt)  # what an edit gets is all prompt, or none of it
        return sorted(ends)

    def _run(
        self,
        owner: object,
        ids: NDArray[np.int32] | list[int],
        start: int,
        end: int,
        rows: NDArray[np.intp],
        taps: Taps | None,
    ) -> NDArray[np.float32]:
        """Runs ids[start:end]; the logits of `rows`, counted from `start`."""
        self.check_usable()  # it may have been closed while this waited for the lock
        self._check_weights()
        self._owner = None  # until this has gone well, the state belongs to nobody
        if start == 0:
            self._executor.reset()
        try:
            self._running_in = threading.get_ident()
            logits = self._executor.forward(np.asarray(ids[start:end], np.int32), start, rows, taps)
        finally:
            self._running_in = None
        unsound = rows[~is_sound(logits)]
        if len(unsound):
            position = start + int(unsound[0])
            cause = self.cause_of_nan(ids, position, taps)
            if taps is not None and taps.has_edits:
                raise RequestError(
                    f"with these edits the logits are NaN or infinite at position {position}{cause}"
                )
            raise ModelError(f"the model produced NaN or infinite logits at position {position}{cause}")
        self._owner, self._n_done = owner, end
        return logits
