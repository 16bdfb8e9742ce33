"""The number of threads to use by default: physical cores, of the fast kind, that this process may use."""

import ctypes
import math
import os
import struct
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from .cgroup import control_groups

MAX_CPUS = 8192
"""As many as Linux counts."""


def default_threads(cpus: Set[int] | None = None) -> int:
    """The number of physical cores that this process may use, at least 1; of fast cores where there are two
    kinds. `cpus`: of these CPUs alone, on Linux.

    The affinity mask and the CPU quota of a container count. Two threads on one core share its vector units
    and its bandwidth, so the second one gains nothing; and all threads would wait for a slow core.
    """
    allowed = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # PYTHON_CPU_COUNT counts, too
    return max(1, min(_physical_cores(cpus) or allowed, allowed, _quota()))


def _physical_cores(cpus: Set[int] | None) -> int | None:
    """The number of fast cores; None where the system does not say."""
    if sys.platform == "win32":
        return _windows_cores()
    if sys.platform == "darwin":
        return _macos_cores()
    return _linux_cores(cpus or os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _linux_cores(cpus: Set[int], root: Path = Path("/")) -> int:
    """The number of cores of these CPUs, without Intel's Atom cores and those with less than half the
    capacity of the best (Arm), if there are others."""
    devices = root / "sys/devices"

    def read(name: str, default: str) -> str:
        try:
            return (devices / name).read_text().strip()
        except OSError:
            return default

    cpus = cpus - listed_cpus(read("cpu_atom/cpus", "")) or cpus
    capacities = {cpu: int(read(f"system/cpu/cpu{cpu}/cpu_capacity", "1024")) for cpu in cpus}
    fast = [cpu for cpu, capacity in capacities.items() if 2 * capacity >= max(capacities.values())]
    return len({read(f"system/cpu/cpu{cpu}/topology/thread_siblings_list", str(cpu)) for cpu in fast})


def listed_cpus(cpus: str) -> set[int]:
    """The numbers in a list such as 0-3,8; ValueError for anything else, and for numbers from MAX_CPUS on."""
    spans = [[int(end) for end in span.split("-")] for span in cpus.split(",") if span]
    if any(len(ends) > 2 or ends[-1] >= MAX_CPUS for ends in spans):
        raise ValueError(f"no list of CPUs: {cpus!r:.100}")
    return {cpu for ends in spans for cpu in range(ends[0], ends[-1] + 1)}


def _quota(root: Path = Path("/")) -> int:
    """The CPUs that control groups allow, rounded up; 2**20 where there is no limit."""
    grants = [math.ceil(grant) for folder in control_groups("cpu", root) for grant in _grants(folder)]
    return max(1, min(grants, default=1 << 20))


def _grants(folder: Path) -> Iterator[float]:
    """The CPUs that one group allows, if it has a limit; its files are of version 2 or 1."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
        except (OSError, ValueError):  # there are no such files, or it is "max"
            continue
        if quota > 0 and period > 0:  # -1: no limit
            yield quota / period


def _macos_cores(libc: Any = None) -> int | None:
    """Cores of the fastest kind (Apple's processors have two), else all cores (`man 3 sysctlbyname`)."""
    libc = libc or ctypes.CDLL(None)
    for name in (b"hw.perflevel0.physicalcpu", b"hw.physicalcpu"):
        value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
        if libc.sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            return value.value
    return None


def _windows_cores(kernel32: Any = None) -> int | None:
    """Cores of the best efficiency class that have a CPU in the process's affinity mask."""
    kernel32 = kernel32 or ctypes.windll.kernel32  # type: ignore[attr-defined]
    ask = kernel32.GetLogicalProcessorInformationEx
    relation_processor_core, size = 0, ctypes.c_uint32(0)
    ask(relation_processor_core, None, ctypes.byref(size))  # says how much memory it needs
    records = ctypes.create_string_buffer(size.value)
    if not ask(relation_processor_core, records, ctypes.byref(size)):
        return None
    own, every = ctypes.c_size_t(0), ctypes.c_size_t(0)
    kernel32.GetProcessAffinityMask(ctypes.c_void_p(-1), ctypes.byref(own), ctypes.byref(every))
    is_bound = own.value != every.value
    classes: list[int] = []
    place = 0
    while place < size.value:
        n_bytes, efficiency, n_groups = _CORE.unpack_from(records, place)
        masks = [
            _GROUP.unpack_from(records, place + _CORE.size + i * _GROUP.size)[0] for i in range(n_groups)
        ]
        if not is_bound or any(mask & own.value for mask in masks):
            classes.append(efficiency)
        place += n_bytes
    return classes.count(max(classes)) if classes else None


# SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX of 64-bit Windows, with PROCESSOR_RELATIONSHIP and GROUP_AFFINITY
_CORE = struct.Struct("<4xIxB20xH")  # size of the record, efficiency class, number of groups
_GROUP = struct.Struct("<Q8x")  # mask
