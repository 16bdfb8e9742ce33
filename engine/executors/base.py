"""What an executor is: the part that runs a plan.  There are two, `reference` (NumPy) and `numba`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..hooks.taps import Taps
from ..plan.plan import Plan

Array = NDArray[np.float32]
Ids = NDArray[np.int32]
Positions = NDArray[np.int64]
RowNumbers = NDArray[np.intp]
"""Numbers of the tokens of a step."""


class State(ABC):
    """What a layer remembers of the positions that have gone in. Unless a class says otherwise, the only way
    back is to the start."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all positions, also those of a step that was left halfway."""

    def can_go_back(self, n_before: int, n_after: int) -> bool:
        """Can it go back from n_before positions to n_after, which are fewer and at least one?"""
        return False

    def go_back(self, n_before: int, n_after: int) -> None:  # noqa: B027 (often nothing needs to be done)
        """Forgets the positions from n_after on, which `can_go_back` allows."""


class Executor(ABC):
    """Runs one sequence of tokens through a plan, and keeps its states (keys and values) between calls.

    A subclass runs single steps of up to `n_batch` tokens, and makes `states`.
    """

    compile_seconds = 0.0
    """What making this executor spent on compiling kernels, or reading them from the cache."""
    has_float16_cache = False
    """Are keys and values rounded to float16?"""
    states: Sequence[State]

    def __init__(self, plan: Plan, n_ctx: int, n_batch: int) -> None:
        self.plan = plan.for_context(n_ctx)
        self.n_ctx = n_ctx
        self.n_batch = plan.tokens_at_once(n_ctx, n_batch)
        self.n_outputs = plan.buffers[plan.output]
        self.n_positions = 0
        """How many positions the states hold."""
        self.before_step: Callable[[], None] = lambda: None
        """Called before each step; may raise, for example if the weights have changed."""

    @property
    @abstractmethod
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that must be read to decode one token, as this executor has packed them: each
        matrix once, of experts the chosen."""

    def forward(self, ids: Ids, start: int, rows: RowNumbers, taps: Taps | None = None) -> Array:
        """Runs `ids` (n,) at the positions start, start + 1 …; -> the logits of `rows`: (len(rows), n_vocab),
        or of a model without logits the embeddings: (len(rows), n_embd).

        `rows` are indices into `ids`, ascending; with none of them the head is skipped. `taps` are shown what
        they listen to. Raises ValueError if the tokens cannot come next. Whatever else ends it early leaves
        states that are undefined until the next `reset`.
        """
        self.require_next(start, len(ids))
        logits = np.empty((len(rows), self.n_outputs), np.float32)
        first = n_done = 0
        for last in self._ends_of_steps(start, len(ids), taps):
            self.before_step()
            here = rows[(rows >= first) & (rows < last)] - first
            positions = np.arange(start + first, start + last)
            self._run_step(ids[first:last], positions, here, logits[n_done : n_done + len(here)], taps)
            self.n_positions = start + last
            first, n_done = last, n_done + len(here)
        return logits

    def require_next(self, start: int, n: int) -> None:
        """ValueError unless n tokens can be run at the positions from `start` on."""
        if n == 0:
            raise ValueError("there are no ids to run")
        if start != self.n_positions:
            raise ValueError(
                f"the state holds {self.n_positions} positions, so position {start} cannot be next"
            )
        self.plan.require_whole(start)
        if start + n > self.n_ctx:
            raise ValueError(f"{start} + {n} positions are more than the {self.n_ctx} of the context")

    def _ends_of_steps(self, start: int, n: int, taps: Taps | None) -> list[int]:
        """Where the steps end in which n tokens are run, counted from `start`."""
        ends = {*range(self.n_batch, n, self.n_batch), n}
        if taps is not None and start < taps.n_prompt < start + n:
            ends.add(taps.n_prompt - start)  # what an edit gets is all prompt, or none of it
        return sorted(ends)

    @abstractmethod
    def _run_step(
        self, ids: Ids, positions: Positions, rows: RowNumbers, logits: Array, taps: Taps | None
    ) -> None:
        """Runs ids (n,), n <= n_batch, at positions (n,), which come next; writes the logits of `rows` (m,)
        to logits (m, n_outputs)."""

    def reset(self) -> None:
        """Forgets all positions."""
        for state in self.states:
            state.reset()
        self.n_positions = 0

    def truncate(self, n_positions: int) -> None:
        """Forgets all positions from `n_positions` on. ValueError, and nothing forgotten, if a layer's state
        cannot go back that far."""
        n_before = self.n_positions
        if n_positions == 0:
            self.reset()
        elif n_positions != n_before:
            is_back = 0 < n_positions < n_before
            if not is_back or not all(state.can_go_back(n_before, n_positions) for state in self.states):
                raise ValueError(f"the state of {n_before} positions cannot go back to {n_positions}")
            for state in self.states:
                state.go_back(n_before, n_positions)
            self.n_positions = n_positions

    @abstractmethod
    def close(self) -> None:
        """Frees memory and ends threads; the executor is not usable afterwards."""
