"""Reads single rows of a matrix that lies in a file."""

import os

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .tensor import Tensor


class RowReader:
    """Copies rows of a matrix, as bytes.

    A mapped file is read by its descriptor: through the mapping, one row would load 64 KB to 2 MB around it
    into this process's memory (Linux).
    """

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self.row_bytes = matrix.format.nbytes(matrix.shape[-1])
        mapping, self._start = matrix.place_in_file() or (None, 0)
        self._fd = mapping.fd if mapping else None  # open as long as the matrix keeps the mapping alive

    def copy(self, ids: NDArray[np.integer], out: NDArray[np.uint8]) -> None:
        """Copies the rows `ids` (n,), which must exist, to the first n rows of `out` (n_max, row_bytes).

        Raises ModelError if the file has become shorter.
        """
        if self._fd is None:
            rows = self._matrix.data.reshape(-1, self.row_bytes)
            out[: len(ids)] = rows[ids]
            return
        for i, id_ in enumerate(ids.tolist()):
            if os.preadv(self._fd, (out[i],), self._start + id_ * self.row_bytes) != self.row_bytes:
                path = self._matrix.path
                raise ModelError(f"{path}: model file changed while it was open; load it again")
