"""Has texts run by the process of an engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice

from .errands import RemoteText
from .ledger import Ledger

_N_AT_ONCE = 64  # texts of a list: about twice as many as run side by side


class RemoteWork:
    """What requests have in the place of a `Driver`. `check` raises why nothing can be asked for."""

    def __init__(self, ledger: Ledger, check: Callable[[], None]) -> None:
        self._ledger, self._check = ledger, check

    def submit(self, jobs: Sequence[RemoteText]) -> None:
        """Lets texts of a prompt run."""
        self._check()
        jobs[0].prompt.is_asked = True
        self._ledger.add(jobs[0].prompt)

    def run_until(
        self, jobs: Sequence[RemoteText], has_come: Callable[[], object], timeout: float | None = None
    ) -> None:
        """See `Work`."""
        for job in jobs:
            if not job.prompt.is_asked:
                self.submit([job])
        with self._ledger.news:
            if not self._ledger.news.wait_for(has_come, timeout):
                raise TimeoutError(f"not done after {timeout:g} seconds")

    def run_in_order(self, jobs: Iterable[RemoteText]) -> Generator[RemoteText]:
        """See `Work`."""
        source = iter(jobs)
        begun: deque[RemoteText] = deque()
        try:
            while True:
                n_active = sum(not job.is_done for job in begun)
                begun.extend(islice(source, _N_AT_ONCE - n_active))
                if not begun:
                    return
                self.run_until(list(begun), lambda: any(job.is_done for job in begun))
                while begun and begun[0].is_done:
                    yield begun.popleft()
        finally:
            for job in begun:
                self.remove(job)

    def remove(self, job: RemoteText) -> None:
        """Ends a text, within a step."""
        self._ledger.remove(job)

    def tell(self) -> None:
        """Wakes those who wait."""
        with self._ledger.news:
            self._ledger.news.notify_all()

    def check_usable(self) -> None:
        """Raises why nothing can be asked for."""
        self._check()
