"""On which CPUs the threads of a model run: those that the user names, and by NUMA node.

A node is a group of CPUs with memory of its own (sockets, mostly); reading another node's memory is slower.
A page lies in the memory of the node whose CPU first writes to it (Linux, Documentation/admin-guide/mm).
"""

import ctypes
import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import RequestError
from .cores import MAX_CPUS, default_threads, listed_cpus
from .notices import say

NumaStrategy = Literal["disabled", "distribute", "isolate"]
Cpus = Set[int]


@dataclass(frozen=True)
class Placement:
    """How many threads there are, and the CPUs of each; `cpus` is None where the system is free to choose."""

    n_threads: int
    cpus: tuple[Cpus, ...] | None = None

    @property
    def all_cpus(self) -> Cpus | None:
        """Those of all threads together."""
        return None if self.cpus is None else frozenset().union(*self.cpus)


def place_threads(
    n_threads: int | None,
    numa: NumaStrategy = "disabled",
    cpu_affinity: Sequence[int] | None = None,
    root: Path = Path("/"),
) -> Placement:
    """Places threads, by default one for each core of the CPUs that they may use.

    `numa`: "distribute" binds one thread after the other to the nodes in turns; "isolate" binds all to the
    node on which the caller runs; on a machine with one node both change nothing, and say so once.
    `cpu_affinity`: the numbers of the CPUs that threads may run on.

    Raises RequestError for CPUs that this process may not use, and where the system binds no threads.
    `root`: for tests.
    """
    if numa not in get_args(NumaStrategy):
        raise RequestError(f'numa must be "disabled", "distribute" or "isolate", not {numa!r:.100}')
    chosen = None if cpu_affinity is None else _checked(cpu_affinity)
    nodes = [] if numa == "disabled" else numa_nodes(chosen, root)
    if numa != "disabled" and len(nodes) < 2:
        _say_once(f'numa="{numa}" changes nothing here: this machine has one NUMA node')
        nodes = []
    if numa == "isolate" and nodes:
        chosen = next((node for node in nodes if _current_cpu() in node), nodes[0])
    n = n_threads or default_threads(chosen)
    if numa == "distribute" and nodes:
        return Placement(n, tuple(nodes[i % len(nodes)] for i in range(n)))
    return Placement(n, None if chosen is None else (chosen,) * n)


def numa_nodes(cpus: Cpus | None = None, root: Path = Path("/")) -> list[Cpus]:
    """The CPUs of each NUMA node, of those that this process may use, or of `cpus`; nodes without any are
    left out. Empty where the system does not say. `root`: for tests."""
    allowed = cpus if cpus is not None else _allowed()
    folders = sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=lambda f: int(f.name[4:]))
    found: list[Cpus] = []
    for folder in folders:
        try:
            node = frozenset(listed_cpus((folder / "cpulist").read_text().strip())) & allowed
        except (OSError, ValueError):
            continue
        found += [node] if node else []
    return found


@contextmanager
def on_cpus(cpus: Cpus | None) -> Iterator[None]:
    """In this context the calling thread runs on these CPUs, and so does every thread that it starts; None
    leaves it where it is."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _allowed() -> Cpus:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _checked(cpu_affinity: Any) -> Cpus:
    is_list = isinstance(cpu_affinity, Sequence | Set) and not isinstance(cpu_affinity, str | bytes)
    if (
        not is_list
        or not 0 < len(cpu_affinity) <= MAX_CPUS
        or not all(isinstance(cpu, int) and not isinstance(cpu, bool) for cpu in cpu_affinity)
    ):
        raise RequestError(f"cpu_affinity must be a list of numbers of CPUs, not {cpu_affinity!r:.100}")
    allowed = _allowed()
    if not allowed:
        raise RequestError("cpu_affinity must be None on this system, which binds no threads to CPUs")
    if others := sorted(set(cpu_affinity) - allowed):
        raise RequestError(
            f"cpu_affinity must be some of the CPUs that this process may use, {_listing(allowed)}, not"
            f" {_listing(others[:20])}"
        )
    return frozenset(cpu_affinity)


def _listing(cpus: Sequence[int] | Cpus) -> str:
    return ",".join(map(str, sorted(cpus)))


def _current_cpu() -> int:
    """The CPU on which the caller runs at this moment."""
    return int(ctypes.CDLL(None).sched_getcpu())


@cache
def _say_once(text: str) -> None:
    say(text)
