"""What depends on the position alone: learned embeddings, and a scale of queries that grows with it.

    embedding   out[t, :] = table[positions[t], :]                                              (GPT-2)
    query scale out[t, :] = x[t, :] * (1 + strength * ln(1 + floor((positions[t] + offset) / step)))
                                                                          (Llama 4, Ministral 3)

    x, out  (n, width) float32      table  (n_positions, width) float32      positions  (n,) integers

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Nakanishi 2025,
"Scalable-Softmax" (arXiv:2501.19399), in the form of Llama 4.
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array, check_indices
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, copy_row, share


def position_embedding_reference(table: Array, positions: NDArray[np.integer]) -> Array:
    """table (n_positions, width), positions (n,) -> (n, width)."""
    check_array("table", table, (None, None))
    check_indices("positions", positions, (None,), limit=len(table))
    return table[positions]


def query_scales(positions: NDArray[np.integer], strength: float, step: int, offset: float = 0.0) -> Array:
    """positions (n,) -> what the query of each is multiplied by (n,)."""
    check_indices("positions", positions, (None,))
    return (1 + strength * np.log1p(np.floor((positions + offset) / step))).astype(np.float32)


def query_scale_reference(
    x: Array, positions: NDArray[np.integer], strength: float, step: int, offset: float = 0.0
) -> Array:
    """x (n, width), positions (n,) -> (n, width)."""
    check_array("x", x, (len(positions), None))
    return x * query_scales(positions, strength, step, offset)[:, None]


def bind_position_embedding(table: Array, positions: NDArray[np.int64], out: Array, n_tokens: Count) -> Call:
    """out[t] = table[positions[t]], out a buffer; the positions must be rows of the table.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("table", table, (None, None))
    n_max_tokens, ld = check_rows(n_tokens, table.shape[1], out=out)
    check_array("positions", positions, (n_max_tokens,), np.int64)
    return _position_embedding.bind(
        table=table, positions=positions, out=out, n_tokens=n_tokens, ld=ld, width=table.shape[1]
    )


@kernel(
    Record(
        table=PointerTo(F32),
        positions=PointerTo(I64),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        width=I64,
    )
)
def _position_embedding(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        row = args.table + args.positions[token] * args.width
        copy_row(row, args.out + token * args.ld, args.width)
