"""Rows of a table: embeddings of positions, and the rows of a step whose logits are wanted.

out[t, :] = table[rows[t], :]

table  (n_rows, width) float32      rows  (n,) integers      out  (n, width) float32
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array, check_indices
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, copy_row, share


def take_rows_reference(table: Array, rows: NDArray[np.integer]) -> Array:
    """table (n_rows, width), rows (n,) -> (n, width)."""
    check_array("table", table, (None, None))
    check_indices("rows", rows, (None,), limit=len(table))
    return table[rows]


def bind_take_rows(table: Array, rows: NDArray[np.int64], out: Array, n_tokens: Count) -> Call:
    """out[t] = table[rows[t]], out a buffer, which may be wider; `rows` must be some of the table's.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("table", table, (None, None))
    n_max_tokens, ld = check_rows(n_tokens, table.shape[1], out=out)
    check_array("rows", rows, (n_max_tokens,), np.int64)
    return _take_rows.bind(table=table, rows=rows, out=out, n_tokens=n_tokens, ld=ld, width=table.shape[1])


@kernel(
    Record(
        table=PointerTo(F32),
        rows=PointerTo(I64),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        width=I64,
    )
)
def _take_rows(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        row = args.table + args.rows[token] * args.width
        copy_row(row, args.out + token * args.ld, args.width)
