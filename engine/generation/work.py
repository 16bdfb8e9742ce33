"""What runs texts for those who wait for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol


class Work(Protocol):
    """Runs texts (`Text`): the driver of a scheduler in this process, or whoever has them run by another."""

    def submit(self, jobs: Sequence[Any]) -> None:
        """Lets texts of a prompt run in the background."""

    def run_until(
        self, jobs: Sequence[Any], has_come: Callable[[], object], timeout: float | None = None
    ) -> None:
        """Returns when `has_come()`, by texts of a prompt that run from now on, if they did not already.
        TimeoutError after `timeout` seconds."""

    def run_in_order(self, jobs: Iterable[Any]) -> Generator[Any]:
        """Runs any number of texts, side by side; gives them in their order, as they are done, whether they
        have failed or not."""

    def remove(self, job: Any) -> None:
        """Ends a text, from any thread, within a step."""

    def tell(self) -> None:
        """Wakes those who wait: something may have come."""

    def check_usable(self) -> None:
        """Raises `NybbleError` if nothing can be run any more."""
