"""What LLVM calls this machine's processor, kept on disk: LLVM takes 50 MB, and a process that compiles
nothing needs it for nothing else."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from .cache_folder import cache_folder
from .package_version import package_version
from .private_file import make_private_folder, read_private, write_private

# What tells processors apart; with frequencies and the like the file would never be found again.
_FACTS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")


class HostCPU(NamedTuple):
    """As LLVM writes them; `features` are all that it knows, each with + or -."""

    triple: str
    name: str
    features: str


def host_cpu() -> HostCPU:
    """Asks LLVM once for each processor and version of LLVM; where Linux does not describe the processor, and
    on other systems, each time."""
    processor = _processor()
    path = _path(processor) if processor else None
    found = read_private(path) if path else None
    if found:
        return HostCPU(*found[1].decode().split("\n"))
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    cpu = HostCPU(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)
    if path and os.access(path.parent, os.W_OK):
        write_private(path, "cpu", "\n".join(cpu).encode())
    return cpu


def _processor() -> str | None:
    """What Linux says of an x86 processor, None elsewhere."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return None
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    facts = [line for line in lines if line.partition(":")[0].strip() in _FACTS]
    return "\n".join(facts) if len(facts) == len(_FACTS) else None


def _path(processor: str) -> Path | None:
    """The file about this processor; None if there is no folder for it."""
    version = package_version("llvmlite")
    key = f"{version}\n{sys.maxsize}\n{processor}"  # a Python of 32 bits has another triple
    try:
        folder = cache_folder() / "processors"
        make_private_folder(folder)
    except OSError:
        return None
    return folder / hashlib.sha256(key.encode()).hexdigest()[:20]
