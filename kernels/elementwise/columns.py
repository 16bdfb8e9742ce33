"""Columns of a buffer split, joined and repeated, for each head or expert.

A row of `n_groups * width` columns is seen as n_groups groups of `width`.

    take   out[t, g, :] = x[t, g, start : start + n]          (Qwen 3.5's query and gate, stored head by head)
    join   out[t, g, :] = a[t, g, :] followed by b[t, g, :]                  (the two parts of an MLA key)
    repeat out[t, g, i, :] = x[t, g, :]             (an MLA key's part of all heads; keys that heads share)

    x, a, b, out  (n_tokens, n_groups * their own width) float32
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import I64
from ..language.record import Record
from ..language.rows import copy_row, row_arguments, row_fields, share


def take_columns_reference(x: Array, n_groups: int, start: int, n: int) -> Array:
    """x (n_tokens, n_groups * width) -> (n_tokens, n_groups * n)."""
    check_array("x", x, (None, None))
    groups = x.reshape(len(x), n_groups, -1)
    if not 0 <= start <= start + n <= groups.shape[2]:
        raise ValueError(f"groups of {groups.shape[2]} columns have none from {start} to {start + n - 1}")
    return groups[:, :, start : start + n].reshape(len(x), -1)


def join_columns_reference(a: Array, b: Array, n_groups: int) -> Array:
    """a (n_tokens, n_groups * i), b (n_tokens, n_groups * j) -> (n_tokens, n_groups * (i + j))."""
    check_array("a", a, (None, None))
    check_array("b", b, (len(a), None))
    n = len(a)
    parts = [a.reshape(n, n_groups, -1), b.reshape(n, n_groups, -1)]
    return np.concatenate(parts, axis=2).reshape(n, -1)


def repeat_columns_reference(x: Array, n: int, n_groups: int = 1) -> Array:
    """x (n_tokens, n_groups * width) -> (n_tokens, n_groups * n * width): each group n times side by side."""
    check_array("x", x, (None, None))
    return np.tile(x.reshape(len(x), n_groups, -1), (1, 1, n)).reshape(len(x), -1)


def bind_copy_columns(
    x: Array,
    out: Array,
    n_tokens: Count,
    n_groups: int,
    n: int,
    x_columns: tuple[int, int],
    out_columns: tuple[int, int],
) -> Call:
    """Copy n columns of each group. x and out are buffers of any width.

    x_columns, out_columns: how many columns a group has there, and which of them is the first to be copied.
    Groups of 0 columns in x all read the same.
    Raises TypeError or ValueError for what does not fit.
    """
    rows = row_arguments(n_tokens, x=(x, 1), out=(out, 1))
    for name, (width, start) in (("x", x_columns), ("out", out_columns)):
        ld, n_apart = rows[f"ld_{name}"], n_groups if width else 1
        width = width or (ld if name == "x" else 0)
        if not (0 <= start <= start + n <= width and n_apart * width <= ld):
            raise ValueError(f"{name} has rows of {ld}: no {n} columns from {start} on in each {width}")
    return _copy_columns.bind(
        **rows,
        n_groups=n_groups,
        n=n,
        x_width=x_columns[0],
        x_start=x_columns[1],
        out_width=out_columns[0],
        out_start=out_columns[1],
    )


@kernel(
    Record(
        **row_fields("x", "out"),
        n_groups=I64,
        n=I64,
        x_width=I64,
        x_start=I64,
        out_width=I64,
        out_start=I64,
    )
)
def _copy_columns(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        token, group = i // args.n_groups, i % args.n_groups
        x = args.x + token * args.ld_x + group * args.x_width + args.x_start
        out = args.out + token * args.ld_out + group * args.out_width + args.out_start
        copy_row(x, out, args.n)
