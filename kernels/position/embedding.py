"""Embedding lookup: each token becomes its row of the table.

    out[t, :] = table[ids[t], :] * scale

    table  (n_vocab, n_embd) float32      ids  (n,) integers in 0 .. n_vocab - 1
    out    (n, n_embd) float32            scale  1 for most models; sqrt(n_embd) for Gemma

The kernel decodes rows from the bytes of the file, and gives the same bits as dequantizing the table first.

Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv:1706.03762), section 3.4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.formats import BlockFormat
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array, check_indices
from ..language.pointer import F32, I64, U8
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from ..weights.decode_row import row_decoder


def embedding_reference(table: Array, ids: NDArray[np.integer], scale: float = 1.0) -> Array:
    """table (n_vocab, n_embd), ids (n,) -> (n, n_embd)."""
    check_array("table", table, (None, None))
    check_indices("ids", ids, (None,), limit=table.shape[0])
    return table[ids] * np.float32(scale)


EMBEDDING = Record(
    table=PointerTo(U8),
    ids=PointerTo(I64),
    out=PointerTo(F32),
    n_tokens=PointerTo(I64),
    n_vocab=I64,
    row_bytes=I64,
    width=I64,
    ld=I64,
    scale=F32,
)


@cache
def embedding_kernel(format: BlockFormat) -> Kernel:
    """The kernel for tables of `format`; ValueError if that is none of `ROW_DECODERS`."""
    decode = row_decoder(format)

    @kernel(EMBEDDING, f"embedding_{format.name.lower()}")
    def embedding(args, thread_id, n_threads):
        first, last = share(args.n_tokens[0], thread_id, n_threads)
        for t in range(first, last):
            row = min(max(args.ids[t], 0), args.n_vocab - 1)  # ids change after `bind` has checked the arrays
            decode(args.table + row * args.row_bytes, args.out + t * args.ld, args.width, args.scale)

    return embedding


def bind_embedding(
    format: BlockFormat,
    table: NDArray[np.uint8],
    ids: NDArray[np.int64],
    out: Array,
    n_tokens: Count,
    n_vocab: int,
    width: int,
    scale: float,
) -> Call:
    """out[t, :width] = row ids[t] of the table, times `scale`.

    table holds the bytes of the (n_vocab, width) matrix in `format`; out is a buffer and ids is
    (n_max_tokens,), of which each step fills as many as it has tokens. The caller checks that they are in
    0 .. n_vocab - 1; for another id the nearest of these is read, so that nothing outside the table is.

    Raises ValueError for a format without a kernel; TypeError or ValueError for arrays that do not fit.
    """
    n_max_tokens, ld = check_rows(n_tokens, width, out=out)
    check_array("ids", ids, (n_max_tokens,), np.int64)
    row_bytes = format.nbytes(width)
    if n_vocab < 1:
        raise ValueError(f"a table must have at least one row, not {n_vocab}")
    check_array("table", table, (n_vocab * row_bytes,), np.uint8)
    return embedding_kernel(format).bind(
        table=table,
        ids=ids,
        out=out,
        n_tokens=n_tokens,
        n_vocab=n_vocab,
        row_bytes=row_bytes,
        width=width,
        ld=ld,
        scale=scale,
    )
