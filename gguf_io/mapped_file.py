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
