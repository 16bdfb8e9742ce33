"""Which positions a query sees, in kernels: those of its window and of its chunk, up to itself if causal."""

from ..language.source import called

NO_CHUNK = 2**62
"""As the size of a window or of a chunk: everything is inside."""


@called
def first_seen(position: int, window: int, chunk: int) -> int:
    """The first position that the query at `position` sees."""
    return max(position - window + 1, position - position % chunk)


@called
def last_seen(position: int, window: int, last: int, is_causal: int) -> int:
    """The last position that the query sees: its own; if not causal, the last of its window, up to `last`."""
    return position if is_causal == 1 else min(position + window - 1, last)
