"""Object files in memory: our own loader beside LLVM's."""

import platform
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nybble.gguf_io import formats
from nybble.kernels.jit.compiler import compile_kernel
from nybble.kernels.jit.elf import load_elf
from nybble.kernels.jit.kernel import SIGNATURE, Call
from nybble.kernels.jit.linker import link, llvm_linker
from nybble.kernels.position.embedding import bind_embedding

elf_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="elsewhere LLVM links"
)


@pytest.fixture(scope="module")
def call() -> Call:
    """A kernel with constants and branches: it looks rows of Q4_K up."""
    table = np.random.default_rng(0).integers(0, 60, formats.Q4_K.nbytes(3 * 512), dtype=np.uint8)
    out = np.zeros((2, 512), np.float32)
    return bind_embedding(formats.Q4_K, table, np.array([2, 0]), out, np.array([2]), 3, 512, 2.0)


@pytest.fixture(scope="module")
def compiled(call: Call) -> tuple[str, bytes]:
    return compile_kernel(call.kernel)


def output_of(call: Call, address: int) -> NDArray[np.float32]:
    call.owners["out"].fill(np.nan)
    SIGNATURE(address)(call.args_address, 0, 1)
    return call.owners["out"].copy()


@elf_only
def test_both_linkers_make_the_same_code(call: Call, compiled: tuple[str, bytes]) -> None:
    ours, llvm = load_elf(*compiled), llvm_linker().link(*compiled)
    assert ours is not None and ours != llvm
    expected = output_of(call, llvm)
    assert np.isfinite(expected).all() and expected.any()
    assert output_of(call, ours).tobytes() == expected.tobytes()


@elf_only
def test_code_can_be_linked_twice(call: Call, compiled: tuple[str, bytes]) -> None:
    first, second = link(*compiled), link(*compiled)
    assert first != second
    assert output_of(call, first).tobytes() == output_of(call, second).tobytes()


@elf_only
def test_what_it_does_not_know_is_left_to_llvm(compiled: tuple[str, bytes]) -> None:
    symbol, code = compiled
    arm64 = code[:18] + struct.pack("<H", 183) + code[20:]
    full_address, relative = struct.pack("<I", 1), struct.pack("<I", 2)
    (offset,) = struct.unpack_from("<Q", code, 40)
    (n_sections,) = struct.unpack_from("<H", code, 60)
    headers = [struct.unpack_from("<IIQQQQ", code, offset + 64 * i) for i in range(n_sections)]
    at = next(place + 8 for _, type_, _, _, place, size in headers if type_ == 4 and size)
    assert code[at : at + 4] == full_address
    for other in (b"", b"MZ" + code[2:], arm64, code[:at] + relative + code[at + 4 :]):
        assert load_elf(symbol, other) is None


@elf_only
def test_code_cannot_be_written_to(compiled: tuple[str, bytes]) -> None:
    address = load_elf(*compiled)
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(number, 16) for number in line.split()[0].split("-"))
        if first <= address < last:
            assert line.split()[1] == "r-xp"
            return
    pytest.fail("it is nowhere")
