"""The machine that kernels are compiled for: its name, its features, and which integer dot product it has.

`NYBBLE_DOT` forces a path (`vnni`, `avx2`, `dotprod`, `generic`): all of them give the same integers, and tests run every
one that the machine has. `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another machine altogether, as in Numba.
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

    def has(self, feature: str) -> bool:
        """Whether the machine has an LLVM feature, such as `avx2`."""
        return f"+{feature}" in self.features.split(",")


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


@cache
def host_target() -> Target:
    """The machine that this process runs on, after the environment's wishes."""
    import llvmlite.binding as llvm

    triple = llvm.get_process_triple()
    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()
    best = dot_path(triple, features)
    dot = os.environ.get("NYBBLE_DOT") or best
    if dot not in DOT_PATHS:
        raise NybbleError(f"NYBBLE_DOT={dot!r} is not a dot product path; choose from {', '.join(DOT_PATHS)}")
    allowed = {"vnni": ("vnni", "avx2"), "avx2": ("avx2",), "dotprod": ("dotprod",)}.get(best, ())
    if dot not in (*allowed, "generic"):
        raise NybbleError(f"NYBBLE_DOT={dot!r} needs a CPU that has it; this one ({cpu}) has {best!r}")
    return Target(triple, cpu, features, dot)
