"""Time that a busy machine does not change: of the processor, its growth with the input; and waiting."""

import time
from collections.abc import Callable
from typing import Any

HANG = 600.0
"""Seconds after which what is waited for hangs: no machine is busy enough to need as many."""
TICK = 0.016
"""Seconds between two states of the clock of the processor, on Windows."""


def wait_until(condition: Callable[[], object]) -> bool:
    """Looks every millisecond until `condition()` is true; False if that hangs."""
    deadline = time.monotonic() + HANG
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def cpu_seconds(work: Callable[[], object], best_of: int = 1) -> float:
    """What `work` takes of the processor, all threads of this process together; the least of `best_of`."""
    found = []
    for _ in range(best_of):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def growth(work: Callable[[Any], object], part: Any, whole: Any) -> float:
    """How much more `work(whole)` takes for each element than `work(part)`: 1 if time is linear,
    len(whole) / len(part) if it is quadratic. A part that takes less than a tick counts as a tick."""
    least = max(cpu_seconds(lambda: work(part), best_of=3), TICK)
    return cpu_seconds(lambda: work(whole)) / least * len(part) / len(whole)
