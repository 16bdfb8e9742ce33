"""The kinds of processor that this machine can stand in for, and tests that run once more as another.

Kernels of a process are for one kind: the environment chooses it, so each needs a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

from nybble.kernels.target.host_cpu import host_cpu
from nybble.kernels.target.target import dot_path

# Features as LLVM names them; a processor's name alone would leave this machine's in place.
OLDER = {
    "haswell": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
    "nehalem": "+popcnt,+sse4.2",
}

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
AVX2 = "+avx,+avx2,+fma,+f16c"
AVX512 = f"{AVX2},+avx512f,+avx512bw,+avx512vl,+avx512vnni"
MACHINES = {
    "avx2": (X86, "haswell", AVX2, r"\bvpmaddubsw\b.*ymm", r"\bvpmaddwd\b.*ymm", r"\bvfmadd\w+ps\b"),
    "avxvnni": (X86, "alderlake", f"{AVX2},+avxvnni", r"\bvpdpbusd\b.*ymm", r"\bvcvtph2ps\b"),
    "avx512vnni": (X86, "icelake-server", AVX512, r"\bvpdpbusd\b.*zmm", r"\bvcvtph2ps\b.*zmm"),
    "amx": (X86, "sapphirerapids", f"{AVX512},+amx-tile,+amx-int8", r"\btdpbssd\b", r"\btilerelease\b"),
    "x86 of 2003": (X86, "x86-64", "+sse2", r"\bpmaddwd\b|\bpmullw\b"),
    "arm dotprod": (ARM, "cortex-a76", "+neon,+dotprod", r"\bsdot\b.*16b", r"\bfcvtl\b", r"\bfcvtns\b"),
    "arm i8mm": (ARM, "neoverse-v1", "+neon,+dotprod,+i8mm", r"\bsdot\b.*16b", r"\bsmmla\b", r"\bfcvtns\b"),
    "arm without dotprod": (ARM, "cortex-a57", "+neon", r"\b(smlal|smull|mla|mul)2?\b", r"\bfmla\b"),
    "apple": ("arm64-apple-macosx11.0", "apple-m1", "+neon,+dotprod", r"\bsdot\.4s\b"),
}
"""Name of a machine -> triple, CPU, features, and regular expressions for instructions that its code has."""


def paths_of_this_machine() -> list[str]:
    """The values that `NYBBLE_DOT` may have here, the best first."""
    host = host_cpu()
    best = dot_path(host.triple, host.features)
    paths = {"amx": ["amx", "vnni", "avx2"], "vnni": ["vnni", "avx2"], "generic": []}
    return [*paths.get(best, [best]), "generic"]


def kinds_of_this_machine() -> dict[str, dict[str, str]]:
    """Name of a kind -> environment: the paths of this machine, and older processors."""
    have = set(host_cpu().features.split(","))
    older = {name: text for name, text in OLDER.items() if set(text.split(",")) <= have}
    return {path: {"NYBBLE_DOT": path} for path in paths_of_this_machine()} | {
        name: {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": text} for name, text in older.items()
    }


def again(selected: str, *files: str, **environment: str) -> None:
    """Run the tests of files, given by their paths in tests/, that `-k` selects, in one new process."""
    paths = [str(Path(__file__).parents[1] / file) for file in files]
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-k", selected]
    command = [sys.executable, "-m", "pytest", *options, *paths]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
