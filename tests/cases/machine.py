"""Small kernels in two forms: machine code, compiled here and now, and the plain Python that defines them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nybble.kernels.jit.compiler import compile_kernel
from nybble.kernels.jit.kernel import SIGNATURE, Call, Kernel
from nybble.kernels.jit.linker import link
from nybble.kernels.language.pointer import ELEMENTS, I64
from nybble.kernels.language.record import PointerTo, Record

_numbers = itertools.count()


def record_for(arguments: dict[str, Any]) -> Record:
    """A record in which arrays are pointers to their dtype and integers int64."""
    fields = {
        name: PointerTo(ELEMENTS[value.dtype]) if isinstance(value, np.ndarray) else I64
        for name, value in arguments.items()
    }
    return Record(**fields)


def machine_code(function: Callable[..., None], record: Record) -> Callable[[Call], None]:
    """Compile a kernel without the cache on disk, which does not know the tests' sources."""
    kernel = Kernel(function, record, f"{function.__name__}_{next(_numbers)}")
    entry = SIGNATURE(link(*compile_kernel(kernel)))
    return lambda call: entry(call.args_address, 0, 1)


def both(function: Callable[..., None], **arguments: Any) -> tuple[NDArray, NDArray]:
    """What a kernel writes to its argument `out`, as machine code and as plain Python."""
    record = record_for(arguments)
    kernel = Kernel(function, record, function.__name__)
    results = []
    for form in ("machine", "python"):
        call = Call(kernel, {**arguments, "out": arguments["out"].copy()})
        if form == "machine":
            machine_code(function, record)(call)
        else:
            with np.errstate(all="ignore"):
                function(record.read(call.values, call.owners), 0, 1)
        results.append(call.owners["out"])
    return results[0], results[1]


def assert_same(function: Callable[..., None], **arguments: Any) -> NDArray:
    """Both forms write the same bits, where any NaN is as good as another; returns them."""
    machine, python = both(function, **arguments)
    assert machine.dtype == python.dtype
    bits = f"u{machine.dtype.itemsize}"
    same = machine.view(bits) == python.view(bits)
    if machine.dtype.kind == "f":
        same |= np.isnan(machine) & np.isnan(python)
    assert same.all(), (np.argwhere(~same)[:5], machine[~same][:5], python[~same][:5])
    return machine
