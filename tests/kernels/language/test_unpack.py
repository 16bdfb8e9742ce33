"""Lookups in tables and small floats: machine code against plain Python, also on other machines' paths."""

import re
import subprocess
import sys

import numpy as np
import pytest
from machine import assert_same
from processors import again

from nybble.gguf_io.codecs.simple_quants import power_of_two, unsigned_float8
from nybble.kernels.language.pointer import I8, U8
from nybble.kernels.language.simd import load, store
from nybble.kernels.language.unpack import Table, e4m3_to_f32, lookup, power_of_two_to_f32

BYTES = np.arange(256, dtype=np.uint8)
TABLES = {
    "unsigned": Table((*range(3, 250, 16),)),
    "signed": Table((-128, -1, 0, 1, 127, *range(-50, 60, 10))),
    "short": Table((7, 200, 9)),
}


@pytest.mark.parametrize("name", TABLES)
def test_lookup(name: str) -> None:
    table = TABLES[name]

    def look_up(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, lookup(table, load(args.x, 32, 2, 32) & 15), 32)

    x = np.random.default_rng(1).permutation(np.repeat(BYTES[:16], 4))
    out = assert_same(look_up, x=x, out=np.zeros(64, table.element.dtype))
    assert out.tolist() == [(*table.values, *[0] * 16)[i] for i in x]


def test_a_table_is_signed_if_a_number_is() -> None:
    assert [table.element for table in TABLES.values()] == [U8, I8, U8]


def test_powers_of_two() -> None:
    def convert(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, 256, 16):
            store(args.out + i, power_of_two_to_f32(load(args.x + i, 8, 2, 8)), 8)

    out = assert_same(convert, x=BYTES, out=np.zeros(256, np.float32))
    assert out.tolist() == [2.0 ** (e - 128) for e in range(256)] == power_of_two(BYTES).tolist()


def test_floats_of_8_bits() -> None:
    def convert(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, 128, 16):
            store(args.out + i, e4m3_to_f32(load(args.x + i, 8, 2, 8)), 8)

    out = assert_same(convert, x=BYTES[:128].copy(), out=np.zeros(128, np.float32))
    values = [
        m / 8 * 2.0**-6 if e == 0 else (1 + m / 8) * 2.0 ** (e - 7) for e in range(16) for m in range(8)
    ]
    assert out.tolist() == values
    assert out[:127].tolist() == unsigned_float8(BYTES[:127]).tolist()


EXTREMES = ("Q5_0", "Q6_K", "Q3_K", "MXFP4", "IQ2_XXS", "IQ3_XXS", "IQ4_NL")
"""Formats with levels up to 31, 63, 7, 24, 86 and 124, and with signed ones."""


@pytest.mark.parametrize(
    ("file", "tests", "path"),
    [
        ("kernels/language/test_unpack.py", "lookup or powers or floats", "generic"),
        ("kernels/linear/test_linear.py", f"test_sums_do_not_overflow and ({' or '.join(EXTREMES)})", "avx2"),
    ],
)
def test_on_another_path(file: str, tests: str, path: str) -> None:
    """The generic lookup; the path that gathers products in int16."""
    from nybble.kernels.target.target import host_target

    if host_target().dot == path or (path == "avx2" and not host_target().has_vnni):
        pytest.skip("this machine has no such other path")
    again(tests, file, NYBBLE_DOT=path)


CROSS = """
import sys
from nybble.kernels.target.target import Target, compile_for
compile_for(Target.of(*sys.argv[1:]))
from nybble.kernels.weights import layout
from nybble.kernels.jit.compiler import assembly
from nybble.kernels.linear.quantized import linear_kernel
print(assembly(linear_kernel(layout.IQ4)))
"""


@pytest.mark.parametrize(
    ("machine", "instruction"),
    [
        (("x86_64-unknown-linux-gnu", "haswell", "+avx,+avx2,+fma,+f16c"), r"\bvpshufb\b.*ymm"),
        (("aarch64-unknown-linux-gnu", "cortex-a76", "+neon,+dotprod"), r"\btbl\b.*16b"),
        (("x86_64-unknown-linux-gnu", "x86-64", "+sse2"), r"\bpcmpeqb\b"),
    ],
)
def test_machine_code_for_another_machine(machine: tuple[str, ...], instruction: str) -> None:
    result = subprocess.run([sys.executable, "-c", CROSS, *machine], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert re.search(instruction, result.stdout)
