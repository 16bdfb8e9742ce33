"""A file that is mapped into memory, and can still be read by its descriptor."""

import mmap
import os
import weakref


class MappedFile(mmap.mmap):
    """A read-only mapping. `fd` is a duplicate descriptor that lives as long as the mapping; None where the
    system has no `preadv`."""

    fd: int | None

    def __new__(cls, fd: int, size: int) -> "MappedFile":
        """Raises what `mmap.mmap` raises."""
        self = super().__new__(cls, fd, size, access=mmap.ACCESS_READ)
        self.fd = None
        if hasattr(os, "preadv"):
            self.fd = os.dup(fd)
            weakref.finalize(self, os.close, self.fd)
        return self

    def release_pages(self, first: int, last: int) -> None:
        """Tells the system that bytes `first` to `last` - 1 will not be read soon (MADV_DONTNEED).

        Their pages leave this process's memory; reading them loads them again. Does nothing where the system
        has no such call.
        """
        start, stop = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, last // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED") and start < stop:
            self.madvise(mmap.MADV_DONTNEED, start, stop - start)
