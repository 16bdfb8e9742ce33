"""Which positions a query sees, in kernels: those of its window and of its chunk, up to itself if causal."""

import numpy as np

from ..language.pointer import I64
from ..language.record import Field
from ..language.source import called

NO_CHUNK = 2**62
"""As the size of a window or of a chunk: everything is inside."""

SIGHT: dict[str, Field] = {
    "window": I64,  # how many positions a query sees at most
    "chunk": I64,  # and none before the last multiple of this
    "is_causal": I64,
}
"""The arguments of a kernel whose queries see some of the positions."""


def sight_arguments(window: int, chunk: int, is_causal: bool) -> dict[str, int]:
    """The arguments `SIGHT`; 0 stands for no window or no chunks."""
    return {"window": window or NO_CHUNK, "chunk": chunk or NO_CHUNK, "is_causal": int(is_causal)}


def check_sight(
    n_heads: int, n_kv_heads: int, scale: float, window: int, chunk: int, is_causal: bool
) -> None:
    """ValueError unless heads with these numbers can attend to a cache."""
    if n_heads < 1 or n_heads % n_kv_heads:
        raise ValueError(f"{n_heads} query heads cannot share {n_kv_heads} key heads evenly")
    if window < 0:
        raise ValueError(f"window must be 0 (none) or more, not {window}")
    if chunk < 0:
        raise ValueError(f"chunk must be 0 (none) or more, not {chunk}")
    if chunk and not is_causal:
        raise ValueError("chunks are for causal attention")
    if not np.isfinite(scale):
        raise ValueError(f"scale must be finite, not {scale}")


@called
def first_seen(position: int, window: int, chunk: int) -> int:
    """The first position that the query at `position` sees."""
    return max(position - window + 1, position - position % chunk)


@called
def last_seen(position: int, window: int, last: int, is_causal: int) -> int:
    """The last position that the query sees: its own; if not causal, the last of its window, up to `last`."""
    return position if is_causal == 1 else min(position + window - 1, last)
