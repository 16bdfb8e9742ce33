"""The machine that kernels are compiled for: its name, its features, and which integer dot product it has.

`NYBBLE_DOT` forces a path (`vnni`, `avx2`, `dotprod`, `generic`): all of them give the same integers, and
tests run every one that the machine has. `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another CPU of the
same kind, as in Numba; `compile_for` any machine, to read its assembly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from ..gguf_io.errors import NybbleError

DOT_PATHS = ("vnni", "dotprod", "avx2", "generic")


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

    @classmethod
    def of(cls, triple: str, cpu: str, features: str) -> Target:
        """A machine with the best dot product among its features."""
        return cls(triple, cpu, features, dot_path(triple, features))


def dot_path(triple: str, features: str) -> str:
    """The best integer dot product among `features`."""
    have = set(features.split(","))
    if triple.startswith(("x86_64", "i686")):
        if "+avxvnni" in have or {"+avx512vnni", "+avx512vl"} <= have:
            return "vnni"
        if "+avx2" in have:
            return "avx2"
    if triple.startswith(("aarch64", "arm64")) and "+dotprod" in have:
        return "dotprod"
    return "generic"


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
    """The machine that kernels are compiled for: this one, after the environment's wishes.

    Raises NybbleError if `NYBBLE_DOT` names no path, or one that the machine does not have.
    """
    if _chosen:
        return _chosen
    import llvmlite.binding as llvm

    triple = llvm.get_process_triple()
    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if cpu == "generic" else llvm.get_host_cpu_features().flatten()
    best = dot_path(triple, features)
    dot = os.environ.get("NYBBLE_DOT") or best
    if dot not in DOT_PATHS:
        raise NybbleError(f"NYBBLE_DOT={dot!r} is not a dot product path; choose from {', '.join(DOT_PATHS)}")
    allowed = {"vnni": ("vnni", "avx2"), "avx2": ("avx2",), "dotprod": ("dotprod",)}.get(best, ())
    if dot not in (*allowed, "generic"):
        raise NybbleError(f"NYBBLE_DOT={dot!r} needs a CPU that has it; this one ({cpu}) has {best!r}")
    return Target(triple, cpu, features, dot)
