"""Float weights (F32, F16, BF16) in tiles of 16 rows: [k][16 rows], in the file's own element type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gguf_io import formats
from ...gguf_io.formats import BlockFormat
from ..language.checks import check_array
from ..language.pointer import ELEMENTS, Element
from .layout import TILE_ROWS

ELEMENT_OF: dict[BlockFormat, Element] = {
    format: ELEMENTS[np.dtype(dtype)]
    for format, dtype in ((formats.F32, np.float32), (formats.F16, np.float16), (formats.BF16, np.uint16))
}


def pack_floats(
    format: BlockFormat, data: NDArray[np.uint8], shape: tuple[int, int], out: NDArray | None = None
) -> NDArray:
    """The bytes of a (n_out, n_in) matrix -> (n_tiles, n_in, 16) elements, zero after the last row.

    They are written to `out` if that is given, which holds zeros.

    Raises ValueError if `format` is no float format or the sizes do not belong together.
    """
    n_out, n_in = shape
    if format not in ELEMENT_OF or data.size != format.nbytes(n_out * n_in):
        raise ValueError(f"{data.size} bytes of {format.name} are not a {n_out} x {n_in} matrix of floats")
    matrix = data.view(ELEMENT_OF[format].dtype).reshape(n_out, n_in)
    n_tiles = -(-n_out // TILE_ROWS)
    packed = np.zeros((n_tiles, n_in, TILE_ROWS), matrix.dtype) if out is None else out
    check_array("out", packed, (n_tiles, n_in, TILE_ROWS), matrix.dtype)
    whole = n_out // TILE_ROWS
    packed[:whole] = matrix[: whole * TILE_ROWS].reshape(whole, TILE_ROWS, n_in).swapaxes(1, 2)
    if n_out % TILE_ROWS:
        packed[whole, :, : n_out % TILE_ROWS] = matrix[whole * TILE_ROWS :].T
    return packed
