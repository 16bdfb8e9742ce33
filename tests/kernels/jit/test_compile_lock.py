"""A fork while another thread compiles: the child works, or says why not; it never hangs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# `child(f)` forks, runs f in the child, and says what came of it; a child that hangs is ended by an alarm.
FORK = """
import os, signal, sys, threading, time, warnings
import numpy as np
from nybble.errors import NybbleError
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit import compile_lock, object_cache
from nybble.kernels.linear.quantize_activations import quantize
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

def child(run):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            print(run(), flush=True)
        except NybbleError as error:
            print(error, flush=True)
        finally:
            os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("hangs", flush=True)

def add():
    a, out = np.ones((2, 16), np.float32), np.zeros((2, 16), np.float32)
    bind_add(a, a, out, np.array([2])).run()
    return int(out.sum())
"""


def run(script: str, cache: Path) -> list[str]:
    environment = {**os.environ, "NYBBLE_CACHE": str(cache)}
    command = [sys.executable, "-c", FORK + script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.splitlines()


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_the_child_can_compile(tmp_path: Path, delay: float) -> None:
    """Forked while the parent imports Numba, and later, while that compiles."""
    script = f"""
begun = threading.Event()
object_cache.compile_log.listener = lambda name, folder: begun.set()
thread = threading.Thread(target=lambda: quantize.address)
thread.start()
begun.wait()
time.sleep({delay})
child(add)
thread.join()
print(add(), quantize.address > 0)
"""
    assert run(script, tmp_path) == ["64", "64 True"]


def test_many_forks_while_several_threads_compile(tmp_path: Path) -> None:
    script = """
from nybble.kernels.elementwise.add import _add_vector
from nybble.kernels.elementwise.xielu import _xielu
kernels = [quantize, _add_vector, _xielu]
threads = [threading.Thread(target=lambda k=k: k.address) for k in kernels]
for thread in threads:
    thread.start()
for _ in range(20):
    child(lambda: 64)
    time.sleep(0.05)
child(add)
for thread in threads:
    thread.join()
print(all(k.address for k in kernels))
"""
    assert run(script, tmp_path) == ["64"] * 21 + ["True"]


@pytest.mark.parametrize("lock", ["compile_lock.compile_lock", "global_compiler_lock"])
def test_a_fork_waits_no_longer_than_it_can(tmp_path: Path, lock: str) -> None:
    """Then, or if somebody else is using Numba, the child cannot compile; it finds what is kept."""
    script = f"""
from numba.core.compiler_lock import global_compiler_lock
add()
compile_lock._PATIENCE = 0.1
held, done = threading.Event(), threading.Event()
def hold():
    with {lock}:
        held.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child(lambda: quantize.address)
from nybble.kernels.elementwise.add import _add
del _add.__dict__["address"], _add.__dict__["entry"]
child(add)
done.set()
thread.join()
print(quantize.address > 0)
"""
    refused, *rest = run(script, tmp_path)
    assert "forked while another thread compiled" in refused and '"spawn"' in refused
    assert rest == ["64", "True"]
