"""The error if the system starts no more threads: the address space or the number of processes is limited.

Fewer threads would give the same results, but `n_threads` was asked for and is reported; and where there is
no memory for a thread, there is seldom any for the next array.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NybbleError


@contextmanager
def starting_threads(n_threads: int) -> Iterator[None]:
    """A context for the start of some of `n_threads`, and nothing else: NybbleError if the system refuses."""
    try:
        yield
    except RuntimeError as error:
        remedy = "take fewer, or raise" if n_threads > 1 else "raise"
        raise NybbleError(
            f"n_threads={n_threads}: no thread can be started beside the {threading.active_count()} that run"
            f" ({error}); {remedy} the limit of memory (`ulimit -v`) or of threads (`ulimit -u`, or the"
            " container's)"
        ) from error
