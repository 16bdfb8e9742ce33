"""Binding arguments to kernels: the one place where arrays become addresses."""

import gc
import weakref

import numpy as np
import pytest
from guard import guarded

from nybble.kernels.jit.kernel import Kernel
from nybble.kernels.language.pointer import F32, I16, I64, Pointer, cast
from nybble.kernels.language.record import PointerTo, Record


def doubled(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    for i in range(args.n):
        args.out[i] = args.x[i] * args.factor


SCALE = Kernel(doubled, Record(n=I64, x=PointerTo(F32), out=PointerTo(F32), factor=F32), "doubled")
X = np.ones(4, np.float32)


def bind(**changes):  # type: ignore[no-untyped-def]
    return SCALE.bind(**{"n": 4, "x": X, "out": np.zeros(4, np.float32), "factor": 2.0, **changes})


def test_a_call_keeps_its_arrays_alive() -> None:
    x = np.ones(4, np.float32)
    alive = weakref.ref(x)
    call = bind(x=x)
    del x
    gc.collect()
    assert alive() is not None
    call.set("x", X)
    gc.collect()
    assert alive() is None


def test_the_record_is_laid_out_as_in_c() -> None:
    call = bind(n=3, factor=0.5)
    assert call.values["n"] == 3 and call.values["factor"] == 0.5
    assert call.values["x"] == X.ctypes.data
    assert [SCALE.record.offsets[name] for name in ("n", "x", "out", "factor")] == [0, 8, 16, 24]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.ones(4)}, TypeError, "x must be a NumPy array of float32, not float64"),
        ({"x": np.ones(4, ">f4")}, TypeError, "float32"),
        ({"x": [1.0, 2.0]}, TypeError, "not list"),
        ({"x": None}, TypeError, "not NoneType"),
        ({"x": np.ones(8, np.float32)[::2]}, ValueError, "contiguous"),
        ({"x": np.zeros(17, np.uint8)[1:].view(np.float32)}, ValueError, "must start at a whole float32"),
        ({"n": 1.5}, TypeError, "integer"),
        ({"n": "4"}, TypeError, "integer"),
        ({"n": 2**63}, OverflowError, "too large|too big"),
        ({"speed": 3}, TypeError, r"unknown \['speed'\]"),
    ],
)
def test_refuses_arguments_of_the_wrong_kind(changes, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        bind(**changes)


def test_refuses_a_call_without_an_argument() -> None:
    with pytest.raises(TypeError, match=r"missing arguments \['factor', 'n'\]"):
        SCALE.bind(x=X, out=X)


def test_a_pointer_shows_what_it_points_to_and_no_more() -> None:
    """The array ends before an unreadable page."""
    x = guarded(np.arange(10, dtype=np.float32))
    arguments = SCALE.record.read(bind(n=10, x=x).values, {"x": x, "out": X})
    at = x.ctypes.data
    assert repr(arguments.x) == f"<pointer to float32 at {at:#x}: [0. 1. 2. 3. 4. 5. 6. 7.] and 2 more>"
    assert repr(arguments.x + 7) == f"<pointer to float32 at {at + 28:#x}: [7. 8. 9.]>"
    assert repr(cast(arguments.x + 9, I16)) == f"<pointer to int16 at {at + 36:#x}: [    0 16656]>"
    assert repr(cast(cast(arguments.x, I16) + 19, F32)) == f"<pointer to float32 at {at + 38:#x}>"
    for n in (-1, 10, 11):
        assert repr(arguments.x + n) == f"<pointer to float32 at {at + 4 * n:#x}>"


def test_a_pointer_to_anywhere_reads_nothing() -> None:
    assert repr(Pointer(16, F32)) == "<pointer to float32 at 0x10>"


def test_a_pointer_keeps_what_it_shows() -> None:
    x = np.full(4, 3, np.float32)
    pointer = Pointer(x.ctypes.data, F32, x) + 2
    del x
    gc.collect()
    assert repr(pointer).endswith(": [3. 3.]>")
