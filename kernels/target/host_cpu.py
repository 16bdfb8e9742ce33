"""What this machine's processor is called and what it can do.

On x86 LLVM finds both by CPUID. The result is kept on disk: loading LLVM takes 50 MB, and a process that
compiles nothing does not need it otherwise. On AArch64 LLVM finds only the name and a few features, from
`/proc/cpuinfo`; the features that the system reports are added here.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from ...system.cache_folder import cache_folder
from ...system.package_version import package_version
from ...system.private_file import make_private_folder, read_private, write_private

# What LLVM may use on AArch64 without being told to, by the bits in which Linux reports it: of AT_HWCAP, and
# from 32 on of AT_HWCAP2 (Linux: arch/arm64/include/uapi/asm/hwcap.h).
_HWCAP_BITS = {
    "lse": 8,
    "fullfp16": 10,
    "rdm": 12,
    "complxnum": 14,
    "rcpc": 15,
    "sha3": 17,
    "dotprod": 20,
    "sve": 22,
    "lse2": 25,
    "rcpc-immo": 26,
    "sve2": 32 + 1,
    "i8mm": 32 + 13,
    "bf16": 32 + 14,
    "cssc": 32 + 34,
    "mops": 32 + 43,
}
_AT_HWCAP, _AT_HWCAP2 = 16, 26
_CPUID_LEAVES = range(7)  # of glibc: 1, 7, 0x80000001, 0xd, 0x80000007, 0x80000008, 7.1


class HostCPU(NamedTuple):
    """In LLVM's spelling. Each of `features` has + or -; the last mention of a feature counts."""

    triple: str
    name: str
    features: str


def host_cpu() -> HostCPU:
    """The processor of this machine. LLVM is asked once for each processor and version of LLVM if glibc
    reports CPUID, else each time."""
    processor = _cpuid()
    path = _path(processor) if processor else None
    found = read_private(path) if path else None
    if found:
        return HostCPU(*found[1].decode().split("\n"))
    import llvmlite.binding as llvm

    triple, features = llvm.get_process_triple(), llvm.get_host_cpu_features().flatten()
    if triple.startswith(("aarch64", "arm64")):
        features = ",".join(filter(None, (features, *_arm_features())))
    cpu = HostCPU(triple, llvm.get_host_cpu_name(), features)
    if path and os.access(path.parent, os.W_OK):
        write_private(path, "cpu", "\n".join(cpu).encode())
    return cpu


def _arm_features() -> list[str]:
    """The features that the system reports of an AArch64 processor. `/proc/cpuinfo` is not read: under an
    emulator it describes another processor."""
    if sys.platform == "darwin":
        names = {"dotprod": "FEAT_DotProd", "i8mm": "FEAT_I8MM"}
        has = {feature: _sysctl(f"hw.optional.arm.{name}") == 1 for feature, name in names.items()}
    elif sys.platform == "win32":
        numbers = {"dotprod": 43, "i8mm": 66}  # PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and …_I8MM_…
        is_present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        has = {feature: is_present(number) != 0 for feature, number in numbers.items()}
    else:
        bits = _auxiliary_value(_AT_HWCAP) % (1 << 32) | _auxiliary_value(_AT_HWCAP2) << 32
        has = {feature: bits >> bit & 1 == 1 for feature, bit in _HWCAP_BITS.items()}
    return [("+" if yes else "-") + feature for feature, yes in has.items()]


def _auxiliary_value(kind: int) -> int:
    """A value of the auxiliary vector, which Linux gives to a process when it starts."""
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return int(getauxval(kind))


def _sysctl(name: str) -> int:
    """A number of macOS; 0 if this version does not know it."""
    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    return value.value


def _cpuid() -> bytes | None:
    """The signature and all features of an x86 processor, those that it has and those that the system
    enables. None without glibc 2.33 or later."""
    try:
        leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except (AttributeError, OSError, TypeError):  # Windows has no library without a name
        return None
    registers = ctypes.c_uint32 * 8  # EAX, EBX, ECX, EDX of what there is, then of what is enabled
    leaf.restype, leaf.argtypes = ctypes.POINTER(registers), [ctypes.c_uint]
    leaves = [list(leaf(i).contents) for i in _CPUID_LEAVES]
    leaves[0][1] = 0  # the number of the core that was asked
    return b"".join(registers(*some) for some in leaves)


def _path(processor: bytes) -> Path | None:
    """The file about this processor; None if there is no folder for it."""
    version = package_version("llvmlite")
    key = f"{version}\n{sys.maxsize}\n".encode() + processor  # a Python of 32 bits has another triple
    try:
        folder = cache_folder() / "processors"
        make_private_folder(folder)
    except OSError:
        return None
    return folder / hashlib.sha256(key).hexdigest()[:20]
