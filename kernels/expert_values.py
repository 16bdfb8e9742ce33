"""A number of each chosen expert: what its output is multiplied by, where a model has learned such numbers.

    out[t, s] = weight[ids[t, s]]

    ids, out  (n, n_used)      weight  (n_experts,) float32      ids are integers, as float32 in buffers

Source: Gemma Team 2026, "Gemma 4", whose mixture of experts has a scale for each.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices
from .kernel import Call, kernel
from .pointer import F32, I64
from .record import PointerTo, Record
from .rows import check_rows, share

Array = NDArray[np.float32]


def expert_values_reference(ids: NDArray[np.integer], weight: Array) -> Array:
    """ids (n, n_used), weight (n_experts,) -> (n, n_used)."""
    check_array("weight", weight, (None,))
    check_indices("ids", ids, (None, None), limit=len(weight))
    return weight[ids]


def bind_expert_values(ids: Array, weight: Array, out: Array, step: NDArray[np.int64], n_used: int) -> Call:
    """The same on buffers (`rows.py`) of n_used columns; ids that `bind_route` has chosen.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(step, n_used, ids=ids, out=out)
    check_array("weight", weight, (None,))
    return _expert_values.bind(ids=ids, weight=weight, out=out, step=step, ld=ld, n_used=n_used)


@kernel(
    Record(
        ids=PointerTo(F32),
        weight=PointerTo(F32),
        out=PointerTo(F32),
        step=PointerTo(I64),
        ld=I64,
        n_used=I64,
    )
)
def _expert_values(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    first, last = share(args.step[0], thread_id, n_threads)
    for token in range(first, last):
        for slot in range(args.n_used):
            at = token * args.ld + slot
            args.out[at] = args.weight[np.int64(args.ids[at])]
