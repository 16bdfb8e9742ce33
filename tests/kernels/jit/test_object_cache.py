"""The cache of machine code on disk: used, repaired, and shared. Each case is a process of its
own."""

import os
import platform
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cached_process import ADD, COMPILED, FROM_CACHE, objects, posix_only, run
from stopwatch import HANG

from nybble.kernels.jit.compiler import compile_kernel
from nybble.system.private_file import MAGIC, read_private

elf_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="elsewhere LLVM links"
)


def test_the_second_process_compiles_nothing(cache: Path) -> None:
    """And does not even import Numba."""
    assert run(cache) == [f"{FROM_CACHE} 0"]


@elf_only
def test_the_second_process_needs_no_llvm(cache: Path) -> None:
    """It takes 50 MB and 40 ms."""
    assert run(cache, f"{ADD}\nprint('llvmlite' in sys.modules)")[1] == "False"


def test_what_llvm_calls_the_processor_is_kept(cache: Path) -> None:
    """And asked for again where the file about it is damaged, or others may write to it."""
    script = "from nybble.kernels.target.host_cpu import host_cpu; print(*host_cpu())"
    answer = run(cache, script)
    for path in (cache / "processors").iterdir():
        for bad in (b"", path.read_bytes()[:-1], path.read_bytes().replace(b"x86_64", b"x86_65")):
            path.write_bytes(bad)
            assert run(cache, script) == answer
            assert read_private(path) is not None
        path.chmod(0o666)
        assert run(cache, script) == answer
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        (cache / "processors").chmod(0o777)
        path.write_bytes(b"")
        assert run(cache, script) == answer
        assert path.read_bytes() == b"", "nothing is put where others may change it"


def test_the_files_are_private_machine_code(cache: Path) -> None:
    (path,) = objects(cache)
    assert path.name.startswith("nybble.kernels.elementwise.add.") and path.suffix == ".o"
    data = path.read_bytes()
    assert data.startswith(MAGIC)
    symbol, _, code = data[len(MAGIC) + 32 :].partition(b"\n")
    assert path.name.startswith(f"{symbol.decode()}.")
    assert b"numba.core" not in data and b"numpy" not in data, "nothing pickled"
    if sys.platform == "linux":
        assert code.startswith(b"\x7fELF")
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "others may read it, as in an image"
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o722 == 0o700


def test_damaged_files_are_made_anew(cache: Path) -> None:
    (path,) = objects(cache)
    good = path.read_bytes()
    assert read_private(path) is not None
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for bad in (
        b"",
        good[:10],
        good[: len(MAGIC) + 32],
        good[:-1],
        good + b"\0",
        b"x" + good,
        bytes(flipped),
    ):
        path.write_bytes(bad)
        assert read_private(path) is None
    assert run(cache) == [f"{COMPILED} 0"]
    assert read_private(path) is not None
    assert objects(cache) == [path], "no temporary file is left"


def test_of_processes_that_start_at_once_one_compiles(tmp_path: Path) -> None:
    environment = {**os.environ, "NYBBLE_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", ADD]
    crowd = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=HANG)[0].split() for process in crowd]
    assert all(process.returncode == 0 for process in crowd)
    assert sorted(n_compiled for n_compiled, *_ in outputs) == ["0", "0", "1"]
    assert all(total == "64" and n_warnings == "0" for _, total, _, n_warnings in outputs)
    assert run(tmp_path) == [f"{FROM_CACHE} 0"]
    assert len(objects(tmp_path)) == 1, "no lock is left"


@posix_only
def test_a_process_that_was_killed_while_compiling_is_in_nobodys_way(tmp_path: Path) -> None:
    killed = f"""
import os, signal
from nybble.kernels.jit import compiler
compiler.compile_kernel = lambda kernel: os.kill(os.getpid(), signal.SIGKILL)
{ADD}
"""
    environment = {**os.environ, "NYBBLE_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", killed], env=environment).returncode == -signal.SIGKILL
    (lock,) = objects(tmp_path)
    assert lock.suffix == ".lock"
    assert run(tmp_path) == [f"{COMPILED} 0"]
    assert [path.suffix for path in objects(tmp_path)] == [".o"]


@posix_only
def test_without_locks_it_just_compiles(tmp_path: Path) -> None:
    """As on some file systems of a network."""
    script = f"""
import errno, fcntl
def flock(descriptor, operation): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
{ADD}
"""
    assert run(tmp_path, script) == [f"{COMPILED} 0"]
    assert run(tmp_path) == [f"{FROM_CACHE} 0"]


def test_threads_may_ask_for_the_same_kernel_at_once(tmp_path: Path) -> None:
    threads = """
from concurrent.futures import ThreadPoolExecutor
from nybble.kernels.norm.rms_norm import bind_rms_norm
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.object_cache import compile_log
import numpy as np
def add(i):
    out = np.zeros((2, 16), np.float32)
    bind_add(out + i, out + 1, out, np.array([2])).run()
    return int(out[0, 0])
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(add, range(16))) == list(range(1, 17)), compile_log.n_compiled <= 8)
"""
    assert run(tmp_path, threads) == ["True True"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"NYBBLE_DOT": "sse9"},
            "'sse9' is not a dot product path; choose from amx, vnni, avx2, i8mm, dotprod, generic",
        ),
        (
            {"NYBBLE_DOT": "dotprod", "NUMBA_CPU_NAME": "generic"},
            "NYBBLE_DOT='dotprod' needs a CPU",
        ),
        ({"NYBBLE_DOT": "vnni", "NUMBA_CPU_NAME": "generic"}, "has 'generic'"),
    ],
)
def test_a_bad_dot_path_is_named(environment: dict[str, str], message: str) -> None:
    script = f"""
from nybble.errors import NybbleError
from nybble.kernels.jit.object_cache import machine_code
from nybble.kernels.elementwise.add import bind_add
try:
    machine_code(None)
except NybbleError as error:
    print({message!r} in str(error))
"""
    assert run(None, script, environment=environment) == ["True"]


def test_an_object_shows_one_name() -> None:
    """Numba numbers its functions from the start of a process: two objects could have names in common."""
    import llvmlite.binding as llvm

    from nybble.gguf_io import formats
    from nybble.kernels.jit.compiler import assembly
    from nybble.kernels.linear.floats import float_linear_kernel

    kernel = float_linear_kernel(formats.F32)
    symbol, code = compile_kernel(kernel)
    assert symbol == kernel.symbol and llvm.ObjectFileRef.from_data(code)
    shown = [line.split()[1] for line in assembly(kernel).splitlines() if ".globl" in line or ".weak" in line]
    assert [name.lstrip("_") for name in shown] == [symbol]


def test_objects_from_different_processes_live_together(tmp_path: Path) -> None:
    define = """
import numpy as np
from nybble.gguf_io import formats
from nybble.kernels.linear.floats import bind_float_linear
from nybble.kernels.weights.floats import pack_floats
from nybble.kernels.jit.object_cache import compile_log
def output(name):
    format = getattr(formats, name)
    x, out = np.ones((2, 16), np.float32), np.zeros((2, 16), np.float32)
    packed = pack_floats(format, np.full(16 * format.nbytes(16), 0x3c, np.uint8), (16, 16))
    bind_float_linear(format, packed, x, out, np.array([2])).run()
    return out[0, 0]
"""
    (one,), (other,) = (run(tmp_path, f"{define}print(output({name!r}))") for name in ("F32", "F16"))
    assert one != other
    for order in (["F32", "F16"], ["F16", "F32"]):
        script = f"{define}for name in {order}: print(output(name))\nprint(compile_log.n_compiled)"
        assert run(tmp_path, script) == [*((one, other) if order[0] == "F32" else (other, one)), "0"]


def test_numba_still_compiles_for_others(tmp_path: Path) -> None:
    """Researchers use it beside nybble, which borrows its front end."""
    script = """
import numba, numpy as np
@numba.njit
def before(x): return min(x, 3)
print(before(5))
from nybble.kernels.linear.quantize_activations import quantize
quantize.address
@numba.njit
def after(a):
    total = 0
    for x in a:
        total += min(x, 3) + max(x, 1)
    return total
print(after(np.arange(6)), before(1))
"""
    assert run(tmp_path, script) == ["3", "28 1"]
