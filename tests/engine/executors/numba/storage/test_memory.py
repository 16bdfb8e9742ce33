"""Memory of buffers: aligned, zero, padded, and handed on only after it was given back."""

import numpy as np
from hypothesis import given, settings, strategies as st

from nybble.engine.executors.numba.storage.memory import Memory, aligned_zeros
from nybble.kernels.language.rows import CACHE_LINE


def test_zeros_start_at_a_cache_line() -> None:
    for shape, dtype in (((3, 5), np.float32), ((1, 16), np.int8), ((7,), np.int64), ((2, 3, 4), np.float16)):
        array = aligned_zeros(shape, dtype)
        assert array.shape == shape and array.dtype == dtype and not array.any()
        assert array.ctypes.data % CACHE_LINE == 0 and array.flags.c_contiguous and array.flags.writeable


def test_rows_are_padded() -> None:
    memory = Memory()
    assert [memory.take(2, width).shape for width in (1, 16, 17, 90)] == [(2, 16), (2, 16), (2, 32), (2, 96)]
    assert memory.n_bytes == 2 * (16 + 16 + 32 + 96) * 4


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([7, 16, 20]), st.integers(0, 99)), max_size=40))
def test_what_is_in_use_is_nobody_elses(events: list[tuple[bool, int, int]]) -> None:
    """Widths that are padded to the same length are kept apart: padding must stay zero."""
    memory, in_use, width_of = Memory(), [], {}
    for takes, width, which in events:
        if takes or not in_use:
            array = memory.take(3, width)
            assert not any(np.shares_memory(array, other) for other in in_use)
            assert width_of.setdefault(id(array), width) == width
            assert not array[:, width:].any()
            array[:, :width] = 5
            in_use.append(array)
        else:
            array = in_use.pop(which % len(in_use))
            memory.give_back(array, width_of[id(array)])
            width_of[id(array), "kept"] = array  # so that ids stay unique
