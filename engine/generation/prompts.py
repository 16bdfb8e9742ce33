"""The prompts of a call: one, or a list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from ...errors import ModelError, RequestError
from ..executors.base import Ids
from ..hooks.taps import Edits
from ..scheduler.driver import Driver
from ..scheduler.job import Job

T = TypeVar("T")
J = TypeVar("J", bound=Job)


class Prompts:
    """`given` is one prompt, a text or token ids, or a list of prompts (`is_one` decides, or None: what it
    looks like). `ids_of` gives the ids of a prompt, or raises RequestError: nothing has run then.

    `ids` are those of each. Errors that concern one of a list name it, as `name[3]`.
    """

    def __init__(
        self,
        given: Any,
        ids_of: Callable[[Any], Ids],
        name: str = "prompt",
        *,
        is_one: bool | None = None,
    ) -> None:
        self.is_one = _is_one(given) if is_one is None else is_one
        self._name = name
        self.ids: list[Ids] = []
        for i, prompt in enumerate([given] if self.is_one else given):
            with self.naming(i):
                self.ids.append(ids_of(prompt))

    def __len__(self) -> int:
        return len(self.ids)

    def edits(self, given: Any) -> list[Edits | None]:
        """The argument `edit` for each prompt, as `matched` has it."""
        what = "mapping from names of activations to functions"
        edits: list[Edits | None] = self.matched("edit", given, Mapping, None, what)
        return edits

    def matched(self, name: str, given: Any, kind: type, default: T, what: str) -> list[T]:
        """The argument `name` for each prompt; RequestError unless it is one of a kind, called `what`, or a
        list with one for each."""
        n = len(self)
        if given is None:
            return [default] * n
        if isinstance(given, kind):
            return [given] * n  # type: ignore[list-item]
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            raise RequestError(f"{name} must be a {what} or a list of them, not {given!r:.100}")
        if len(given) != n:
            raise RequestError(
                f"there are {n} prompts, but {len(given)} {name}: give one for all, or each its own"
            )
        for i, item in enumerate(given):
            if item is not None and not isinstance(item, kind):
                raise RequestError(f"{name}[{i}] must be a {what}, not {item!r:.100}")
        return [default if item is None else item for item in given]

    def run(self, driver: Driver, jobs: Iterable[J]) -> Iterator[J]:
        """Runs a job for each prompt, side by side; gives them in order, as they are done. Raises the first
        error; then the others end."""
        done = driver.run_in_order(jobs)
        for i, job in enumerate(done):
            if job.error is not None:
                done.close()
                with self.naming(i):
                    raise job.error
            yield job

    def like_given(self, results: Iterable[T]) -> T | list[T]:
        """What there is for each prompt: one if one was given, or a list."""
        found = list(results)
        return found[0] if self.is_one else found

    @contextmanager
    def naming(self, i: int) -> Iterator[None]:
        """Errors that are raised in this context say that they are about prompt i, if there may be
        several."""
        try:
            yield
        except Exception as error:
            if not self.is_one and isinstance(error, RequestError | ModelError):
                error.args = (f"{self._name}[{i}]: {error}",)
            elif not self.is_one:  # an edit's own: only its author knows what its arguments mean
                error.add_note(f"raised for {self._name}[{i}]")
            raise


def _is_one(given: Any) -> bool:
    if isinstance(given, np.ndarray) and given.ndim == 0:
        return True
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | np.ndarray):
        return True
    return len(given) > 0 and isinstance(given[0], int | np.integer)
