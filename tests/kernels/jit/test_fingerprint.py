"""Kernels from outside the package, and what tells kernels apart: none may ever run the code of another."""

import dataclasses
import gc
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nybble import kernels
from nybble.kernels.attention.cache_type import CACHE_TYPES
from nybble.kernels.attention.general import general_attend_kernel
from nybble.kernels.attention.general_cache import general_write_kernel
from nybble.kernels.attention.kv_cache import write_kernel
from nybble.kernels.attention.plain import attend_kernels
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.experts.linear import expert_kernel
from nybble.kernels.jit.compiler import compile_kernel
from nybble.kernels.jit.fingerprint import fingerprint
from nybble.kernels.jit.kernel import SIGNATURE, Kernel, kernel
from nybble.kernels.jit.linker import LLVMLinker
from nybble.kernels.language.pointer import F32, I64
from nybble.kernels.language.record import PointerTo, Record
from nybble.kernels.language.source import inlined
from nybble.kernels.linear import token_product
from nybble.kernels.linear.floats import float_linear_kernel
from nybble.kernels.linear.mapped import mapped_linear_kernel
from nybble.kernels.linear.quantized import linear_kernel
from nybble.kernels.position.embedding import embedding_kernel
from nybble.kernels.roofline.peak import bind_peak_f32, bind_peak_int8
from nybble.kernels.weights import layout
from nybble.kernels.weights.decode_row import ROW_DECODERS
from nybble.kernels.weights.floats import ELEMENT_OF
from nybble.kernels.weights.pack_kernel import pack_kernel

HELPERS = """
from nybble.kernels.language.source import inlined
@inlined
def half_of(x):
    return x * 0.5
"""
MINE = """
import numpy as np
import helpers
from nybble.kernels.jit.kernel import kernel
from nybble.kernels.language.pointer import F32
from nybble.kernels.language.record import PointerTo, Record
from nybble.kernels.language.source import inlined
half_of = helpers.half_of
CONSTANT = 1.0
@inlined
def inner(x):
    return x + 10.0
def make(captured):
    @kernel(Record(out=PointerTo(F32)), "_sum")
    def own(args, thread_id, n_threads):
        args.out[0] = inner(100.0) + half_of(2000.0) + CONSTANT + captured
    return own
out = np.zeros(16, np.float32)
make(0.25).bind(out=out).run()
ones = np.ones((1, 16), np.float32)
from nybble.kernels.elementwise.add import bind_add
bind_add(ones, ones, total := np.zeros((1, 16), np.float32), np.array([1])).run()
print(float(out[0]), total.sum())
"""
IMPORT = "import sys; sys.dont_write_bytecode = True; import mine"  # edits of one second have one time stamp
# What is edited: a file, a part of it, what takes its place, and by how much the result grows.
EDITS = {
    "the function": ("mine.py", "CONSTANT + captured", "CONSTANT + captured + 0.5", 0.5),
    "an inlined function": ("mine.py", "x + 10.0", "x + 11.0", 1.0),
    "one of another module": ("helpers.py", "0.5", "0.25", -500.0),
    "a constant": ("mine.py", "CONSTANT = 1.0", "CONSTANT = 2.0", 1.0),
    "a captured number": ("mine.py", "make(0.25)", "make(0.5)", 0.25),
}


def run(folder: Path, cache: Path, script: str, **environment: str) -> list[str]:
    """The words that a script prints which finds modules in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NYBBLE_CACHE": str(cache), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_kernel_is_compiled_anew(tmp_path: Path, cache: Path, what: str) -> None:
    """And one that has the name of one of nybble's leaves that as it is."""
    file, part, other, growth = EDITS[what]
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helpers.py").write_text(HELPERS)
    expected = 1111.25
    assert run(tmp_path, cache, IMPORT) == [str(expected), "32.0"]
    text = (tmp_path / file).read_text()
    assert part in text
    (tmp_path / file).write_text(text.replace(part, other))
    assert run(tmp_path, cache, IMPORT) == [str(expected + growth), "32.0"]
    kept = [path.name for path in cache.glob("kernels/*/*")]
    assert len(kept) == 1 and kept[0].startswith("nybble.kernels.elementwise.add."), (
        "nybble's is kept, no other"
    )


def own_kernel(factor: float) -> Kernel:
    @kernel(Record(out=PointerTo(F32)))
    def own(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        args.out[0] = factor

    return own


def test_kernels_of_one_name_live_together_in_a_process() -> None:
    """As where a cell of a notebook is changed and run again, with LLVM's linker as with ours."""
    linker, out = LLVMLinker(), np.zeros(1, np.float32)
    calls = [own_kernel(factor).bind(out=out) for factor in (1.0, 2.0)]
    linked = [SIGNATURE(linker.link(*compile_kernel(call.kernel))) for call in calls]
    for expected, call, code in zip((1.0, 2.0), calls, linked, strict=True):
        code(call.args_address, 0, 1)
        assert out[0] == expected
        out[0] = 0
        call.run()
        assert out[0] == expected


def test_a_kernel_may_be_called_like_a_function_of_the_c_library() -> None:
    out = np.zeros(64, np.float32)

    @kernel(Record(out=PointerTo(F32), n=I64), "memset")
    def own(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(args.n):
            args.out[i] = 0.0

    own.bind(out=out, n=64).run()


def all_kernels() -> list[Kernel]:
    """Every kernel of the package, with those that are made for a layout or a format."""
    for module in pkgutil.walk_packages(kernels.__path__, "nybble.kernels."):
        importlib.import_module(module.name)
    layouts = [value for value in vars(layout).values() if isinstance(value, layout.Layout)]
    for one in layouts:
        linear_kernel(one), expert_kernel(one)
    for format in ROW_DECODERS:
        pack_kernel(format), embedding_kernel(format), mapped_linear_kernel(format)
    for format in ELEMENT_OF:
        float_linear_kernel(format), expert_kernel(format)
    for kind in CACHE_TYPES.values():
        attend_kernels(kind), write_kernel(kind)
        general_attend_kernel(kind), general_write_kernel(kind)
    bind_peak_f32(1, 1), bind_peak_int8(1, 1)
    found = [value for value in gc.get_objects() if isinstance(value, Kernel)]
    return sorted((k for k in found if k.symbol.startswith("nybble.")), key=lambda kernel: kernel.symbol)


PRINT = "from all_of_them import *\nfor one in all_kernels(): print(one.symbol, fingerprint(one))"


def test_every_kernel_of_the_package_is_found_again(tmp_path: Path) -> None:
    """In another process, where addresses and the order of sets are others."""
    (tmp_path / "all_of_them.py").write_text(Path(__file__).read_text())
    found, again = (run(tmp_path, tmp_path, PRINT, PYTHONHASHSEED=seed) for seed in "78")
    assert len(found) > 2 * 100 and "None" not in found
    assert found == again
    assert len({*found[::2]}) == len(found) // 2, "each has a name of its own"


def test_a_layout_of_ones_own_has_code_of_its_own() -> None:
    """Though it is called as one of nybble's."""
    fours = dataclasses.replace(layout.FLOAT4_BY_32, table=layout.Table(tuple(range(16))))
    usual, own = linear_kernel(layout.FLOAT4_BY_32), linear_kernel(fours)
    assert usual.symbol == own.symbol and fingerprint(usual) != fingerprint(own)


def test_words_of_one_name_from_two_modules_are_told_apart() -> None:
    """As there are in several files called `reference.py`."""

    def word_of(module: str) -> Callable[[Any], None]:
        def word(out):  # type: ignore[no-untyped-def]
            out[0] = 1.0

        word.__module__ = module
        return word

    def of(word: Callable[[Any], None]) -> Kernel:
        def own(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
            word(args.out)

        own.__module__ = "nybble.kernels.elementwise.add"
        return Kernel(own, Record(out=PointerTo(F32)), "own")

    one, other = (fingerprint(of(word_of(f"nybble.kernels.{room}.reference"))) for room in ("norm", "linear"))
    assert one and other and one != other


def test_a_constant_that_is_set_at_run_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = linear_kernel(layout.BYTE)
    before = fingerprint(one)
    monkeypatch.setattr(token_product, "PREFETCH_BYTES", 64)
    assert fingerprint(one) not in (None, before)


def test_a_function_of_the_users_makes_a_kernel_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is called from: what it depends on, nobody knows."""

    @inlined
    def share(n: int, thread_id: int, n_threads: int) -> tuple[int, int]:
        return 0, n

    x = np.zeros((1, 16), np.float32)
    add = bind_add(x, x, x, np.array([1])).kernel
    assert fingerprint(add) is not None and fingerprint(own_kernel(1.0)) is None
    monkeypatch.setitem(add.function.__globals__, "share", share)
    assert fingerprint(add) is None


def test_what_cannot_be_told_apart_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_product, "PREFETCH_BYTES", object())
    assert fingerprint(linear_kernel(layout.BYTE)) is None
