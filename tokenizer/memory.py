"""Checks that there is memory for the tables that another package builds: without it `tokenizers` ends the
process, which cannot be caught."""

import mmap
import os

# Bytes for an entry, and for the packages themselves: measured on vocabularies of 50,000 to 262,000 tokens,
# and rounded up.
BPE_ENTRY = 400  # a token or a merge
UNIGRAM_ENTRY = 1300
PROTO_BYTE = 16  # of SentencePiece's form of a vocabulary
_PACKAGE = 20 << 20
_THREAD = 128 << 20  # of address space, which the C library reserves for each
_CHARACTER = 128  # of a text


def require_memory(n_bytes: int, source: str) -> None:
    """MemoryError if the process cannot get so many bytes and those of the package: where the address space
    is limited, or the system does not overcommit memory. `source` names the file in the message."""
    needed = n_bytes + _PACKAGE
    if not _has_room(needed):
        raise MemoryError(
            f"{source}: no memory for the tokenizer, which takes some {needed / 1e6:.0f} MB;"
            " `ulimit -v` says whether address space is limited"
        )


def has_room_for_threads(n_characters: int) -> bool:
    """Can `tokenizers` start its threads, one for each CPU, and encode a text of so many characters?"""
    return _has_room((os.cpu_count() or 1) * _THREAD + n_characters * _CHARACTER)


def _has_room(n_bytes: int) -> bool:
    if os.name == "posix":
        try:
            mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            return False
    return True
