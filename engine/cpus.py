"""How many threads are worth starting here."""

import math
import os
from pathlib import Path


def default_threads() -> int:
    """The number of physical cores that this process may use, at least 1.

    It heeds the affinity mask and the CPU quota of a container (cgroup v2).  Threads on the same core share
    its vector units and its way to memory, so a second one there only costs.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    cores = {_siblings(cpu) for cpu in cpus}
    return max(1, min(len(cores), _quota()))


def _siblings(cpu: int) -> str:
    """The CPUs on the same core, as Linux writes it; the CPU alone where that is not known."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """The CPUs that the cgroup grants, rounded up; very many where there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return 1 << 20
