"""Binding arguments to kernels: the one place where arrays become addresses."""

import gc
import weakref

import numpy as np
import pytest

from nybble.kernels.kernel import Kernel
from nybble.kernels.pointer import F32, I64
from nybble.kernels.record import PointerTo, Record


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
