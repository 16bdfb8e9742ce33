"""Memory that can be executed, as far as the system allows that."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import NoReturn

from ...errors import NybbleError

# Linux: include/uapi/linux/memfd.h, fcntl.h, asm-generic/mman-common.h. Python has them only if it was built
# with a C library that did.
_MFD_CLOEXEC, _MFD_ALLOW_SEALING = 1, 2
_F_ADD_SEALS, _ALL_SEALS = 1033, 1 | 2 | 4 | 8  # no more seals, not shorter, not longer, not written to
_MAP_FIXED = 0x10


def make_executable(image: mmap.mmap, n_bytes: int) -> None:
    """Make the first bytes of an image, whole pages, executable and read-only.

    Some systems do not allow this for memory that was writable (systemd's MemoryDenyWriteExecute, SELinux).
    There a sealed file in memory is mapped in its place. Raises NybbleError where that is not allowed either.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    start, length = ctypes.c_void_p(address_of_image(image)), ctypes.c_size_t(n_bytes)
    executable = mmap.PROT_READ | mmap.PROT_EXEC
    if libc.mprotect(start, length, executable) == 0:
        return
    error = ctypes.get_errno()
    if not sys.platform.startswith("linux") or not hasattr(libc, "memfd_create"):
        refuse_machine_code(error)
    file = libc.memfd_create(b"nybble", _MFD_CLOEXEC | _MFD_ALLOW_SEALING)
    if file < 0:
        refuse_machine_code(error)
    with open(file, "wb") as sealed:
        sealed.write(memoryview(image)[:n_bytes])
        sealed.flush()
        libc.mmap.restype = ctypes.c_void_p
        how = mmap.MAP_PRIVATE | _MAP_FIXED
        if (
            libc.fcntl(file, _F_ADD_SEALS, _ALL_SEALS) < 0
            or libc.mmap(start, length, executable, how, file, ctypes.c_long(0)) != start.value
        ):
            refuse_machine_code(error)


def address_of_image(image: mmap.mmap) -> int:
    """The address of the first byte."""
    return ctypes.addressof(ctypes.c_char.from_buffer(image))


def refuse_machine_code(error: int) -> NoReturn:
    """NybbleError with the system's reason."""
    raise NybbleError(
        f"this system does not allow new machine code ({os.strerror(error)}; SELinux, or systemd's"
        ' MemoryDenyWriteExecute, may forbid it); allow it, or use executor="reference"'
    )
