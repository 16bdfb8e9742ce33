"""A file in memory, which can still be read as a file."""

import mmap
import os
import weakref


class MappedFile(mmap.mmap):
    """A mapping for reading. `fd` is a descriptor of its own, as long as the mapping lives; None where the
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
        """Tells the system that bytes `first` to `last` will not be read soon.

        Their pages leave this process's memory, and come back from the file if they are read after all. Does
        nothing where the system cannot do that.
        """
        start, stop = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, last // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED") and start < stop:
            self.madvise(mmap.MADV_DONTNEED, start, stop - start)
