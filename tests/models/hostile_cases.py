"""The malformed files of HOSTILE.md, sections A to D, each forged in memory, with the outcome it must have.

Run as a script it checks them all without pytest: `python -O -W error hostile_cases.py` (case G135).
"""

import re
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import forge
from forge import GGUFForge, KeyValue, string

from nybble.errors import GGUFFormatError, GGUFUnsupportedError, ModelError
from nybble.gguf_io.file import load_gguf

FMT, UNS, OK = GGUFFormatError, GGUFUnsupportedError, None
MAX_SECONDS = 1.0
"""Of processor time, so that a busy machine changes nothing."""


@dataclass(frozen=True)
class Case:
    """`pattern` is searched in the message after the path; None as `error` means that the file must load."""

    id: str
    error: type[Exception] | None
    pattern: str
    build: Callable[[], bytes]


def check(case: Case, directory: Path) -> None:
    """Loads the file; raises AssertionError (also under -O) unless the outcome is the one it must have."""
    path = directory / "case.gguf"
    path.write_bytes(case.build())
    start = time.process_time()
    try:
        load_gguf(path).close()
    except (GGUFFormatError, GGUFUnsupportedError, ModelError) as error:
        message = str(error)
        if type(error) is not case.error:
            raise AssertionError(f"{case.id}: unexpected {error!r}") from error
        if not message.startswith(f"{path}: ") or not re.search(case.pattern, message[len(str(path)) :]):
            raise AssertionError(f"{case.id}: {message!r} lacks path or {case.pattern!r}") from error
        if not re.search(r" at byte \d+", message):
            raise AssertionError(f"{case.id}: {message!r} lacks the offset") from error
    else:
        if case.error is not None:
            raise AssertionError(f"{case.id}: loaded, but {case.error.__name__} was expected")
    elapsed = time.process_time() - start
    if elapsed > MAX_SECONDS:
        raise AssertionError(f"{case.id}: took {elapsed:.2f} s")


def sound() -> GGUFForge:
    """A small sound file: a few keys of different types and two tensors, of 128 and 68 bytes."""
    file = GGUFForge()
    file.set("general.architecture", "llama").set("x.count", 7).set("x.names", ["a", "bc", ""])
    file.set("x.numbers", [1, -2, 3])
    return file.add_tensor("a.weight", [8, 4]).add_tensor("b.weight", [32, 2], forge.Q8_0)


def with_kv(key: bytes = b"k", type: int = forge.U32, payload: bytes = b"\0\0\0\0") -> bytes:
    """A file whose last key is as given, and that has no tensors after it."""
    return GGUFForge(kv=[*sound().kv, KeyValue(key, type, payload)]).build()


def with_array(element_type: int, count: int, values: int = 1) -> bytes:
    return with_kv(type=forge.ARRAY, payload=forge.array(element_type, [0] * values, count))


def with_tensor(
    dims: list[int],
    type: int = forge.F32,
    name: bytes = b"t",
    data: bytes = bytes(64),
    n_dims: int | None = None,
) -> bytes:
    """A file with one tensor, whose data need not be of the size it declares."""
    return GGUFForge().add_tensor(name, dims, type, data, n_dims=n_dims).build()


def with_offsets(*offsets: int | None) -> bytes:
    """A file with tensors of 128 bytes at the given offsets."""
    file = GGUFForge()
    for index, offset in enumerate(offsets):
        file.add_tensor(f"t{index}", [32], offset=offset)
    return file.build()


def with_alignment(value: object, type: int | None = None) -> bytes:
    file = sound().set("general.alignment", value, type)
    file.alignment = value if isinstance(value, int) and 0 < value <= 64 else 32
    return file.build()


def nested_arrays(depth: int) -> bytes:
    return with_kv(type=forge.ARRAY, payload=struct.pack("<IQ", forge.ARRAY, 1) * depth + bytes(16))


def big_endian() -> bytes:
    return b"GGUF" + struct.pack(">IQQ", 3, 0, 1) + struct.pack(">Q", 1) + b"k" + struct.pack(">II", 4, 7)


def many_keys(n: int, type: int = forge.U8, payload: bytes = b"\1") -> bytes:
    return GGUFForge(kv=[KeyValue(b"%x" % i, type, payload) for i in range(n)]).build()


def many_aliases(n: int) -> bytes:
    infos = b"".join(string(b"%d" % i) + struct.pack("<IQIQ", 1, 1024, forge.F32, 0) for i in range(n))
    head = b"GGUF" + struct.pack("<IQQ", 3, n, 0) + infos
    return head + bytes(-len(head) % 32) + bytes(4096)


def cases() -> list[Case]:
    """Every case of sections A to D. One id may stand for several files."""
    table: list[Case] = []

    def add(id: str, error: type[Exception] | None, pattern: str, build: Callable[[], bytes]) -> None:
        table.append(Case(id, error, pattern, build))

    # A. Header
    add("G1", FMT, "header at byte 0: .*empty", lambda: b"")
    for size in (3, 4, 8, 23):
        add(f"G2-{size}", FMT, f"truncated header at {size}", lambda n=size: sound().build()[:n])
    add("G3", FMT, "magic at byte 0: .*b'FUGG'", lambda: sound().build(magic=b"FUGG"))
    add("G3-binary", FMT, r"magic at byte 0: .*b'\\x00\\xff", lambda: sound().build(magic=b"\0\xff\1\2"))
    add("G4-lower", FMT, "'gguf'.*capitals", lambda: sound().build(magic=b"gguf"))
    add("G4-ggml", FMT, "'lmgg'.*legacy GGML", lambda: sound().build(magic=b"lmgg"))
    add("G4-zip", FMT, "'PK.*ZIP", lambda: sound().build(magic=b"PK\3\4"))
    add("G5", FMT, "version at byte 4", lambda: sound().build(version=0))
    add("G6", UNS, "version at byte 4.*GGUFv1", lambda: sound().build(version=1))
    add("G7", OK, "", lambda: sound().build(version=2))
    for version in (4, 0xFFFFFFFF):
        add(f"G8-{version}", UNS, "version.*newer than 3", lambda v=version: sound().build(version=v))
    add("G9", UNS, "version.*big-endian", lambda: sound().build(version=0x03000000))
    add("G9-whole", UNS, "version.*big-endian", big_endian)
    for id, field, offset in (("G10", "n_tensors", 8), ("G12", "n_kv", 16)):
        for count in (-1, 2**63):
            overrides = {field: count}
            add(f"{id}{count:+}", FMT, f"{field} at byte {offset}", lambda o=overrides: sound().build(**o))
    for id, field in (("G11", "n_tensors"), ("G13", "n_kv")):
        for count in (2**40, 10**9):
            overrides = {field: count}
            add(
                f"{id}-{count}",
                FMT,
                f"{field} at .*need",
                lambda o=overrides: GGUFForge().build(**o) + bytes(8),
            )
    add("G14", OK, "", lambda: GGUFForge().build())

    # B. Key/value section
    for id, length in (("G15", 2**64 - 1), ("G16", 2**30)):
        raw = string(b"abc", length)
        add(id, FMT, "metadata key at byte 24", lambda r=raw: GGUFForge().build(n_kv=1) + r + bytes(16))
    add("G17", FMT, "metadata key.*65535", lambda: with_kv(b"k" * 65536))
    add("G17-max", OK, "", lambda: with_kv(b"k" * 65535))
    add("G18", FMT, "metadata key.*empty", lambda: with_kv(b""))
    add("G19", FMT, "metadata key.*'x.count' occurs twice", lambda: with_kv(b"x.count"))
    add("G20", FMT, "metadata key.*UTF-8", lambda: with_kv(b"\xff\xfe"))
    add("G20-nul", FMT, "metadata key.*NUL", lambda: with_kv(b"a\0b"))
    add("G21", OK, "", lambda: with_kv(type=forge.STRING, payload=string(b"\xff\xfe")))
    for code in (13, 14, 2**31 - 1, -1):
        add(f"G22{code:+}", FMT, f"metadata 'k' at .*type {code % 2**32}", lambda c=code: with_kv(type=c))
    add("G23", OK, "", lambda: with_kv(type=forge.BOOL, payload=b"\2"))
    for length in (2**64 - 1, 100):
        payload = string(b"ab", length)
        add(f"G24-{length}", FMT, "metadata 'k' at", lambda p=payload: with_kv(type=forge.STRING, payload=p))
    for id, element_type in (("G25", forge.U8), ("G26", forge.U64), ("G27", forge.STRING)):
        for count in (2**64 - 1, 2**63, 2**61, 2**30 + 1, 2**28):
            add(
                f"{id}-{count}",
                FMT,
                "metadata 'k' at .*need at least",
                lambda e=element_type, c=count: with_array(e, c, values=0) + bytes(8),
            )
    add(
        "G28",
        FMT,
        "metadata 'k' at .*element type 13",
        lambda: with_kv(type=forge.ARRAY, payload=b"\x0d" + bytes(19)),
    )
    for depth in (1, 100, 5_000, 100_000):
        add(f"G29-{depth}", FMT, "metadata 'k' at .*arrays of arrays", lambda d=depth: nested_arrays(d))
    for element_type in (forge.U8, forge.STRING, forge.FLOAT64, forge.BOOL):
        add(f"G30-{element_type}", OK, "", lambda e=element_type: with_array(e, 0, values=0))
    add("G31", FMT, "metadata 'k' at .*truncated", lambda: with_kv()[:-1])
    add("G31-array", FMT, "metadata 'k' at .*need", lambda: with_array(forge.U32, 2, values=2)[:-1])
    add("G31-strings", FMT, r"metadata 'k'\[2\] at .*truncated", lambda: with_kv(
        type=forge.ARRAY, payload=forge.array(forge.STRING, ["ab", "cdefgh", "i"])
    )[:-5])  # fmt: skip
    add("G32", OK, "", lambda: many_keys(100_000))
    add("G32-arrays", OK, "", lambda: many_keys(50_000, forge.ARRAY, forge.array(forge.STRING, ["a"])))
    add("G32-limit", FMT, "n_kv at .*131072 allowed", lambda: many_keys(131_073))
    for value in (0, 3, 13, 31, 33):
        add(f"G33-{value}", FMT, f"general.alignment at .*found {value}", lambda v=value: with_alignment(v))
    for value in (1, 64):
        add(f"G34-{value}", OK, "", lambda v=value: with_alignment(v))
    for value in (2**20, 2**30, 2**31):
        add(f"G35-{value}", FMT, f"general.alignment at .*found {value}", lambda v=value: with_alignment(v))
    for found, value, value_type in (
        ("i32", 32, forge.I32),
        ("u64", 32, forge.U64),
        ("string", "32", None),
        ("i32[]", [32], None),
    ):
        add(
            f"G36-{found}",
            FMT,
            f"alignment at .*found {re.escape(found)}",
            lambda v=value, t=value_type: with_alignment(v, t),
        )
    return table + tensor_cases()


def tensor_cases() -> list[Case]:
    """C. Tensor infos, D. Data section and file."""
    table: list[Case] = []

    def add(id: str, error: type[Exception] | None, pattern: str, build: Callable[[], bytes]) -> None:
        table.append(Case(id, error, pattern, build))

    for length in (64, 80, 1 << 20):
        add(
            f"G38-{length}",
            FMT,
            "tensor name at byte 24.*63",
            lambda n=length: with_tensor([16], name=b"n" * n),
        )
    add("G38-max", OK, "", lambda: with_tensor([16], name=b"n" * 63))
    add("G39-empty", FMT, "tensor name at byte 24.*empty", lambda: with_tensor([16], name=b""))
    add("G39-nul", FMT, "tensor name at byte 24.*NUL", lambda: with_tensor([16], name=b"a\0b"))
    add("G40", OK, "", lambda: with_tensor([16], name=b"../../etc/passwd"))
    add("G41", FMT, "tensor 'a.weight' at .*twice", lambda: sound().add_tensor("a.weight", [8]).build())
    for n in (5, 9, 2**32 - 1):
        add(f"G42-{n}", FMT, f"tensor 't' at .*{n} dimensions", lambda n=n: with_tensor([4] * 4, n_dims=n))
    add("G43", OK, "", lambda: with_tensor([], data=bytes(4)))
    for dims in ([-1], [8, -8]):
        add(f"G44{dims}", FMT, "tensor 't' at .*too large", lambda d=dims: with_tensor(d))
    add("G45", OK, "", lambda: with_tensor([8, 0], data=b""))
    add("G45-row", OK, "", lambda: with_tensor([0, 8], forge.Q8_0, data=b""))
    for id, tensor_type, dims in (
        ("G46", forge.F32, [2**32, 0, 2**32]),
        ("G47", forge.F32, [2**33 - 4, 2**33 - 4]),
        ("G48", forge.F32, [2**32, 2**32]),
        ("G49", forge.F32, [4194305, 4194305, 211106198978564]),
        ("G50", forge.I64_TENSOR, [2**31, 2**30]),
        ("G51", forge.F32, [4, 2**30 - 1, 2**30 + 1]),
        ("G52-Q8_0", forge.Q8_0, [32, 2**58]),
        ("G52-Q4_0", forge.Q4_0, [2**59]),
        ("G53", forge.I8_TENSOR, [2**63 - 64]),
    ):
        add(id, FMT, "tensor 't' at byte 24.*too large", lambda t=tensor_type, d=dims: with_tensor(d, t))
    for code in (-1, 43, 200, 2**31 - 1):
        add(
            f"G54{code:+}",
            FMT,
            f"tensor 't' at .*unknown type {code % 2**32}",
            lambda c=code: with_tensor([16], c),
        )
    for code in (4, 5, 31, 36):
        add(f"G55-{code}", UNS, f"tensor 't' at .*type {code} .*removed", lambda c=code: with_tensor([16], c))
    add("G56", OK, "", lambda: with_tensor([32], forge.Q8_1, data=bytes(36)))
    add("G57-Q8_0", FMT, "tensor 't' at .*row of 33", lambda: with_tensor([33], forge.Q8_0))
    add("G57-Q4_K", FMT, "tensor 't' at .*row of 32", lambda: with_tensor([32, 8], forge.Q4_K))
    for offset in (-1, 2**64 - 4096, 2**64 - 64):
        add(f"G58{offset:+}", FMT, "tensor 't0' at .*expected 0", lambda o=offset: with_offsets(o))
    add("G59-unaligned", FMT, "tensor 't1' at .*not aligned", lambda: with_offsets(None, 135))
    add("G59-past-end", FMT, "tensor 't1' at .*expected 128", lambda: with_offsets(None, 1 << 20))
    add("G60-half", FMT, "tensor 't1' at .*overlaps", lambda: with_offsets(0, 64))
    add("G60-alias", FMT, "tensor 't1' at .*overlaps", lambda: with_offsets(0, 0))
    add("G61", FMT, "tensor '1' at .*overlaps", lambda: many_aliases(100_000))
    add("G62-gap", FMT, "tensor 't1' at .*gap", lambda: with_offsets(0, 160))
    add("G62-order", FMT, "tensor 't0' at .*expected 0", lambda: with_offsets(128, 0))

    # D. Data section and file
    add(
        "G64",
        FMT,
        r"data of tensor 't1' at .*truncated: need \d+ bytes, have \d+",
        lambda: with_offsets(0, 128)[:-1],
    )
    add("G65-data", FMT, "data of tensor 't0' at .*truncated", lambda: with_offsets(0, 128)[:-256])
    add("G65-padding", FMT, "data of tensor 't0' at .*truncated", lambda: with_offsets(0, 128)[:-257])
    add("G66", FMT, "tensor 't1' at .*truncated", lambda: with_offsets(None, None)[: 24 + 34 + 30])
    add(
        "G67", FMT, "data of tensor 't' at .*truncated", lambda: with_tensor([2**20, 2**18], data=bytes(4096))
    )
    add("G69", OK, "", lambda: sound().build(tail=b"PK\3\4 and more"))
    add("G70", FMT, "magic at byte 0", lambda: b"1234567" + sound().build())
    return table


CASES = cases()

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for case in CASES:
            check(case, Path(directory))
    print(len(CASES), "cases, optimize =", sys.flags.optimize)
