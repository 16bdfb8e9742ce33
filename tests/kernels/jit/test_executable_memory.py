"""Systems that let no memory that could be written to become machine code, here by Linux's own switch."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PR_SET_MDWE, PR_GET_MDWE = 65, 66  # Linux 6.3


def has_mdwe() -> bool:
    return sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_GET_MDWE, 0, 0, 0, 0) == 0


pytestmark = pytest.mark.skipif(
    not has_mdwe() or platform.machine() != "x86_64", reason="needs Linux 6.3; elsewhere LLVM links"
)

DENY = f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0)\n"
ADD = """
import sys
import numpy as np
from nybble.errors import NybbleError
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.object_cache import compile_log
a, out = np.ones((2, 16), np.float32), np.zeros((2, 16), np.float32)
call = bind_add(a, a, out, np.array([2]))
try:
    call.run()
    print(compile_log.n_compiled, int(out.sum()), "llvmlite" in sys.modules)
except NybbleError as error:
    print(error)
"""


def run(script: str, cache: Path) -> str:
    environment = {**os.environ, "NYBBLE_CACHE": str(cache)}
    command = [sys.executable, "-c", DENY + script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.strip()


def test_kernels_are_compiled_and_run(tmp_path: Path) -> None:
    """The second time without LLVM."""
    assert run(ADD, tmp_path) == "1 64 True"
    assert run(ADD, tmp_path) == "0 64 False"


def test_the_code_is_sealed(tmp_path: Path) -> None:
    """It can be run and not be written to, and lies in a file that nobody can change."""
    script = f"""{ADD}
for line in open("/proc/self/maps"):
    first, last = (int(number, 16) for number in line.split()[0].split("-"))
    if first <= call.kernel.address < last:
        print(line.split()[1], line.split()[-2])
"""
    assert run(script, tmp_path).splitlines()[1] == "r-xp /memfd:nybble"


def test_where_nothing_helps_the_other_executor_is_named(tmp_path: Path) -> None:
    run(ADD, tmp_path)
    no_such_files = """
import ctypes
class Library:
    def __init__(self, *args, **options):
        self.libc = CDLL(*args, **options)
    def __getattr__(self, name):
        if name == "memfd_create":
            raise AttributeError(name)
        return getattr(self.libc, name)
CDLL, ctypes.CDLL = ctypes.CDLL, Library
"""
    message = run(no_such_files + ADD, tmp_path)
    assert "does not allow new machine code (Permission denied" in message
    assert message.endswith('use executor="reference"')


def test_llvm_is_not_asked_for_what_would_end_the_process(tmp_path: Path) -> None:
    script = """
from nybble.errors import NybbleError
from nybble.kernels.jit.linker import llvm_linker
try:
    llvm_linker()
except NybbleError as error:
    print(error)
"""
    assert run(script, tmp_path).endswith('use executor="reference"')
