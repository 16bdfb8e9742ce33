"""A process that compiles a kernel, or finds in a cache folder what another has compiled."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

posix_only = pytest.mark.skipif(os.name != "posix", reason="about POSIX permissions")

# Adds ones to ones; prints how many kernels were compiled, the sum, and each warning.
ADD = """
import sys, warnings
import numpy as np
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.object_cache import compile_log
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    a = np.ones((2, 16), np.float32)
    out = np.zeros((2, 16), np.float32)
    bind_add(a, a, out, np.array([2])).run()
print(compile_log.n_compiled, int(out.sum()), "numba" in sys.modules, len(caught))
for w in caught:
    print(w.message)
"""
ANNOUNCE = (
    "from nybble.engine.executors.numba.compile_notice import announce_compiling; announce_compiling()\n"
)
COMPILED, FROM_CACHE = "1 64 True", "0 64 False"


def run(cache: Path | None, script: str = ADD, **options: Any) -> list[str]:
    """The lines that the script prints; `cache` is $NYBBLE_CACHE."""
    environment = {name: value for name, value in os.environ.items() if name != "NYBBLE_CACHE"}
    environment |= options.pop("environment", {})
    if cache is not None:
        environment["NYBBLE_CACHE"] = str(cache)
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, **options
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.splitlines()


def objects(cache: Path) -> list[Path]:
    return sorted((cache / "kernels").glob("*/*"))
