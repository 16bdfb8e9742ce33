"""The error where the system starts no more threads: address space is limited, or the number of processes.

Fewer would give the same results, but `n_threads` is what somebody asked for and what is reported; and where
a thread does not fit, the next array seldom does.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NybbleError


@contextmanager
def starting_threads(n_threads: int) -> Iterator[None]:
    """Around nothing but the start of some of `n_threads`: NybbleError if the system refuses."""
    try:
        yield
    except RuntimeError as error:
        remedy = "take fewer, or raise" if n_threads > 1 else "raise"
        raise NybbleError(
            f"n_threads={n_threads}: no thread can be started beside the {threading.active_count()} that run"
            f" ({error}); {remedy} the limit of memory (`ulimit -v`) or of threads (`ulimit -u`, or the"
            " container's)"
        ) from error
