"""Arrays in awkward places: right before an unreadable page, or beside any alignment.

A kernel that touches one byte beyond a guarded array dies of a signal, so run it in a child process.
"""

import ctypes
import mmap

import numpy as np
from numpy.typing import NDArray

_PROT_NONE = 0


def guarded(array: NDArray) -> NDArray:
    """A copy whose last byte is the last one before an unreadable page."""
    readable = -(-max(array.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, readable + mmap.PAGESIZE)
    guard = ctypes.addressof(ctypes.c_char.from_buffer(pages, readable))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect failed")
    copy = np.frombuffer(pages, array.dtype, array.size, readable - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy  # holds `pages`, which go with it


def misaligned(array: NDArray, n_bytes: int) -> NDArray:
    """A copy that starts about `n_bytes` (whole elements) beyond a cache line."""
    room = np.empty(array.nbytes + 128, np.uint8)
    offset = -room.ctypes.data % 64 + n_bytes // array.itemsize * array.itemsize
    copy = room[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
