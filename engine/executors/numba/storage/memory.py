"""Memory of a plan's buffers: a buffer lives from the operation that writes it to the last that reads it,
then its memory is given to another of the same width. Rows are padded as `kernels/language/rows.py` says;
padding starts at zero and stays zero, which is why memory is not shared between widths."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from .....kernels.language.checks import Array
from .....kernels.language.rows import aligned_zeros as aligned_zeros, padded_width


class Memory:
    """Hands out (n_rows, padded width) float32 arrays, and takes them back."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, int], deque[Array]] = defaultdict(deque)
        self.n_bytes = 0

    def take(self, n_rows: int, width: int) -> Array:
        """An array for a buffer; the one that was given back longest ago, so that threads seldom have to
        wait for it."""
        free = self._free[n_rows, width]
        if free:
            return free.popleft()
        array = aligned_zeros((n_rows, padded_width(width)), np.float32)
        self.n_bytes += array.nbytes
        return array

    def give_back(self, array: Array, width: int) -> None:
        """The buffer is not read any more."""
        self._free[len(array), width].append(array)
