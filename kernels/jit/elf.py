"""Loads object files of Linux on x86-64, so that a process that compiles nothing needs no LLVM, which takes
50 MB.

An object file (ELF; System V ABI, chapter 4) is a list of sections: code and constants, symbols that name
places in them, and relocations, which say where to write an address. Kernels are compiled for the
large code model, in which every address is a full one (R_X86_64_64: value of the symbol + addend).
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from typing import NamedTuple

from .executable_memory import address_of_image, make_executable

_X86_64, _FULL_ADDRESS = 62, 1
_SYMBOLS, _RELOCATIONS, _ZEROS, _UNWIND = 2, 4, 8, 0x70000001  # types of sections
_CHANGES, _IN_MEMORY = 1, 2  # their flags

_HEADER = struct.Struct("<18xH20xQ12xH2x")  # machine, offset of the sections, their number
_SYMBOL = struct.Struct("<IBxHQQ")  # name, kind, section, value, size
_RELOCATION = struct.Struct("<QIIQ")  # place, type, symbol, addend

_images: list[mmap.mmap] = []  # for the life of the process


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int

    @property
    def is_needed(self) -> bool:
        """Unwinding is for exceptions, and kernels raise none."""
        return self.flags & _IN_MEMORY != 0 and self.type != _UNWIND

    def bytes_of(self, code: bytes) -> bytes:
        return b"" if self.type == _ZEROS else code[self.offset : self.offset + self.size]


_SECTION = struct.Struct("<IIQQQQIIQQ")


def load_elf(symbol: str, code: bytes) -> int | None:
    """Load an object file for the life of the process -> the address of `symbol`. None if this is for another
    loader: another machine, another kind of file, or other relocations.

    Raises NybbleError where the system allows no new machine code, OSError if it lacks a function that the
    code needs.
    """
    if not sys.platform.startswith("linux") or not code.startswith(b"\x7fELF\x02\x01"):
        return None
    machine, offset, n_sections = _HEADER.unpack_from(code)
    if machine != _X86_64:
        return None
    end = offset + n_sections * _SECTION.size
    sections = [_Section._make(fields) for fields in _SECTION.iter_unpack(code[offset:end])]
    relocations = [
        (sections[section.info], entry)
        for section in sections
        if section.type == _RELOCATIONS and sections[section.info].is_needed
        for entry in _RELOCATION.iter_unpack(section.bytes_of(code))
    ]
    if any(type_ != _FULL_ADDRESS for _, (_, type_, _, _) in relocations):
        return None

    starts, n_fixed, n_bytes = _lay_out(sections)
    image = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = address_of_image(image)
    for section, start in starts.items():
        content = section.bytes_of(code)
        image[start : start + len(content)] = content
    addresses = _addresses(code, sections, {section: base + start for section, start in starts.items()})
    values = [value for _, value in addresses]
    for section, (place, _, i, addend) in relocations:
        struct.pack_into("<Q", image, starts[section] + place, (values[i] + addend) % (1 << 64))
    make_executable(image, n_fixed)
    _images.append(image)
    return dict(addresses)[symbol]


def _lay_out(sections: list[_Section]) -> tuple[dict[_Section, int], int, int]:
    """The offset of each section, read-only sections first; the bytes of these, in whole pages; the bytes of
    all."""
    needed = [section for section in sections if section.is_needed]
    starts: dict[_Section, int] = {}
    end = n_fixed = 0
    for section in sorted(needed, key=lambda section: section.flags & _CHANGES):
        if section.flags & _CHANGES:
            n_fixed = n_fixed or _up(end, mmap.PAGESIZE)
            end = max(end, n_fixed)
        starts[section] = _up(end, max(section.align, 1))
        end = starts[section] + section.size
    end = _up(end, mmap.PAGESIZE)
    return starts, n_fixed or end, end


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _addresses(code: bytes, sections: list[_Section], starts: dict[_Section, int]) -> list[tuple[str, int]]:
    """Name and address of each symbol, in a section or in the C library."""
    found = []
    (table,) = (section for section in sections if section.type == _SYMBOLS)
    names = sections[table.link].bytes_of(code)
    for name_at, _, home, value, _ in _SYMBOL.iter_unpack(table.bytes_of(code)):
        name = names[name_at : names.index(b"\0", name_at)].decode()
        if 0 < home < len(sections):
            found.append((name, starts.get(sections[home], 0) + value))
        else:
            found.append((name, _of_c_library(name) if home == 0 and name else value))
    return found


def _of_c_library(name: str) -> int:
    """The address of a function of the C library; OSError if there is none."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise OSError(f"this system has no function {name}, which a kernel needs") from None
