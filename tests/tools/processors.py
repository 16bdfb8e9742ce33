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


def again(file: str, selected: str, **environment: str) -> None:
    """Run the tests of `tests/FILE` that `-k` selects in a new process."""
    path = str(Path(__file__).parents[1] / file)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path, "-k", selected]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
