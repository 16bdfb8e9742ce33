"""The one sequence that an executor can hold, shared by all streams that use it."""

import os
import threading
from contextlib import AbstractContextManager
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, NybbleError, RequestError
from ...gguf_io.display import Shown
from ..executors.base import Executor
from ..hooks.taps import Taps
from ..sampling.sampler import is_sound
from ..scheduler.seats import single_sequence
from .diagnosis import diagnose


class Context(Shown):
    """Runs tokens on an executor, for one caller at a time.

    The state of the executor (keys and values) belongs to the last `owner`.  Another owner takes it over, and
    when the former one comes back, its tokens are run again from the start.  So two streams that alternate
    are slow but right, and an abandoned stream blocks no other.
    """

    def __init__(self, executor: Executor) -> None:
        self.n_outputs = executor.n_outputs
        self.n_ctx = executor.n_ctx
        self.n_batch = executor.n_batch
        self._lock = threading.RLock()
        self._executor = executor
        self._sequence = single_sequence(executor)
        self.is_open = True
        self._process = os.getpid()
        self._owner: object = None
        self._running_in: int | None = None

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
        if not self.is_open:
            raise NybbleError(
                "this LLM has been closed; make a new one (its tokenizer, and the traces and arrays"
                " that it gave, are still of use)"
            )

    def exclusive(self) -> AbstractContextManager[object]:
        """For `with`: keeps other threads out. Each step does so; callers may, for several steps in a row.

        It is the lock itself: Ctrl-C in an `__enter__` that is written in Python could leave it locked.
        """
        self.check_usable()  # before the lock: it may have been held when the process forked
        if self._running_in == threading.get_ident():  # an edit, or a signal's handler
            raise RequestError("this LLM is running; an edit, which is part of that, cannot use it")
        return self._lock

    def last_logits(self, owner: object, ids: list[int], taps: Taps | None = None) -> NDArray[np.float32]:
        """The logits (n_vocab,) after `ids`, at least one; only ids that the state does not hold yet are run.

        `taps`, always the same for an owner, are shown the activations. Raises `ModelError` if the logits
        cannot be sampled from (NaN, infinite), and what an edit raises.
        """
        with self.exclusive():
            return self._run(owner, ids, np.array([len(ids) - 1]), taps)[0]

    def logits_at(
        self, ids: NDArray[np.int32], positions: NDArray[np.intp], taps: Taps | None = None
    ) -> NDArray[np.float32]:
        """The logits (m, n_vocab) after the `ids` (n,) at `positions` (m,), ascending; raises what
        `last_logits` raises."""
        with self.exclusive():
            return self._run(object(), ids, positions, taps)

    def cause_of_nan(
        self, ids: NDArray[np.int32] | list[int], position: int, taps: Taps | None = None
    ) -> str:
        """Why the output for a position of `ids` is NaN or infinite: ": " and the cause, or "" if none is
        found. Runs the ids again."""
        with self.exclusive():
            self._owner = None
            try:
                self._running_in = threading.get_ident()
                cause = diagnose(self._sequence, ids, position, taps)
            finally:
                self._running_in = None
        return cause and f": {cause}"

    def close(self) -> None:
        """Waits for the step in progress and closes the executor; closing twice is fine."""
        if os.getpid() != self._process:
            return  # after a fork everything belongs to the parent
        with self._lock:
            if self._running_in is not None:  # in this thread, which has the lock
                raise RequestError("this LLM is running; an edit, which is part of that, cannot close it")
            if self.is_open:
                self.is_open = False
                self._executor.close()
                del self._executor, self._sequence  # frees weights and cache, even if the LLM lives on

    def _run(
        self,
        owner: object,
        ids: NDArray[np.int32] | list[int],
        positions: NDArray[np.intp],
        taps: Taps | None,
    ) -> NDArray[np.float32]:
        """Runs those of `ids` that the state does not hold yet; -> the logits after `positions`."""
        self.check_usable()  # it may have been closed while this waited for the lock
        sequence = self._sequence
        is_next = owner is self._owner and sequence.n_positions < len(ids)
        self._owner = None  # until this succeeds, the state belongs to no owner
        if not is_next:
            sequence.reset()
        start = sequence.n_positions
        try:
            self._running_in = threading.get_ident()
            logits = sequence.forward(np.asarray(ids[start:], np.int32), start, positions - start, taps)
        finally:
            self._running_in = None
        unsound = positions[~is_sound(logits)]
        if len(unsound):
            position = int(unsound[0])
            cause = self.cause_of_nan(ids, position, taps)
            if taps is not None and taps.has_edits:
                raise RequestError(
                    f"with these edits the logits are NaN or infinite at position {position}{cause}"
                )
            raise ModelError(f"the model produced NaN or infinite logits at position {position}{cause}")
        self._owner = owner
        return logits
