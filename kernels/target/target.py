"""The machine that kernels are compiled for: its name, its features, and which integer dot product it has.

`NYBBLE_DOT` forces a path (`amx`, `vnni`, `avx2`, `i8mm`, `dotprod`, `generic`): all of them give the same
integers, and tests run every one that the machine has. `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose
another CPU of the same kind, as in Numba; `compile_for` any machine, to read its assembly.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache

from ...errors import NybbleError
from .host_cpu import host_cpu

DOT_PATHS = ("amx", "vnni", "avx2", "i8mm", "dotprod", "generic")
AVX512 = frozenset({"+avx512f", "+avx512bw", "+avx512vl", "+avx512vnni"})
AMX = frozenset({"+amx-tile", "+amx-int8"})


@dataclass(frozen=True)
class Target:
    """`cpu` and `features` as LLVM names them; `dot` is one of `DOT_PATHS`."""

    triple: str
    cpu: str
    features: str
    dot: str

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i686"))

    @property
    def is_arm64(self) -> bool:
        return self.triple.startswith(("aarch64", "arm64"))

    @property
    def has_half(self) -> bool:
        """Whether the machine converts float16; else LLVM would call a function that no library here has."""
        return self.is_arm64 or (self.is_x86 and "+f16c" in self.features.split(","))

    @property
    def has_avx(self) -> bool:
        return self.is_x86 and "+avx" in self.features.split(",")

    @property
    def n_vector_registers(self) -> int:
        return 32 if self.is_arm64 or "+avx512vl" in self.features.split(",") else 16

    @property
    def lanes(self) -> int:
        """32-bit numbers in the vectors of products with packed weights: 16 with AVX-512, else 8."""
        return 16 if self.has_vnni and set(self.features.split(",")) >= AVX512 else 8

    @property
    def has_vnni(self) -> bool:
        """Whether four products of bytes are added to a 32-bit sum in one x86 instruction."""
        return self.dot in ("amx", "vnni")

    @property
    def multiplies_words(self) -> bool:
        """Whether int8 weights are multiplied as int16, since sums of byte products would overflow."""
        return self.dot == "avx2"

    @property
    def multiplies_pairs(self) -> bool:
        """Whether two rows are multiplied with two tokens in one instruction (`dot_pairs` of `simd.py`)."""
        return self.dot == "i8mm"

    @property
    def has_matrix_unit(self) -> bool:
        """Whether there is a unit for products of small matrices."""
        return self.dot == "amx"

    @classmethod
    def of(cls, triple: str, cpu: str, features: str) -> Target:
        """A machine with the best dot product among its features."""
        return cls(triple, cpu, features, dot_path(triple, features))


def dot_path(triple: str, features: str) -> str:
    """The best integer dot product among `features`."""
    have = set(features.split(","))
    if triple.startswith(("x86_64", "i686")):
        if have >= AVX512 | AMX and triple.startswith("x86_64"):
            return "amx"
        if "+avxvnni" in have or {"+avx512vnni", "+avx512vl"} <= have:
            return "vnni"
        if "+avx2" in have:
            return "avx2"
    if triple.startswith(("aarch64", "arm64")) and "+dotprod" in have:
        return "i8mm" if "+i8mm" in have else "dotprod"
    return "generic"


def _may_use_tiles() -> bool:
    """Ask Linux for the use of AMX's tile registers, which a process must do before it touches them (Linux:
    Documentation/arch/x86/xstate.rst); elsewhere they are not used. Linux refuses if a thread has a signal
    stack too small for them."""
    if not sys.platform.startswith("linux"):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


_chosen: Target | None = None


def compile_for(target: Target) -> None:
    """Make kernels for another machine from now on: `compiler.assembly` shows its code, which cannot run
    here.

    To be called before anything is compiled, in a process of its own.
    """
    global _chosen
    _chosen = target
    host_target.cache_clear()


@cache
def host_target() -> Target:
    """The machine that kernels are compiled for: this one, as changed by the environment.

    Raises NybbleError if `NYBBLE_DOT` names no path, or one that the machine does not have.
    """
    if _chosen:
        return _chosen
    host = host_cpu()
    triple, wanted_cpu = host.triple, os.environ.get("NUMBA_CPU_NAME")
    cpu = wanted_cpu or host.name
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:  # LLVM calls a processor that it does not know generic, and knows its features
        features = "" if wanted_cpu == "generic" else host.features
    best = dot_path(triple, features)
    wanted = os.environ.get("NYBBLE_DOT")
    if best == "amx" and wanted in (None, "", "amx") and not _may_use_tiles():
        best = "vnni"
    dot = wanted or best
    if dot not in DOT_PATHS:
        raise NybbleError(f"NYBBLE_DOT={dot!r} is not a dot product path; choose from {', '.join(DOT_PATHS)}")
    allowed = {
        "amx": ("amx", "vnni", "avx2"),
        "vnni": ("vnni", "avx2"),
        "avx2": ("avx2",),
        "i8mm": ("i8mm", "dotprod"),
        "dotprod": ("dotprod",),
    }.get(best, ())
    if dot not in (*allowed, "generic"):
        raise NybbleError(f"NYBBLE_DOT={dot!r} needs a CPU that has it; this one ({cpu}) has {best!r}")
    return Target(triple, cpu, features, dot)
