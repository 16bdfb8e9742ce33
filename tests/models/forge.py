"""Forges GGUF files in memory, sound ones and corrupted ones. Knows nothing of nybble's reader.

forge = GGUFForge.parse(tiny_model.write(path).read_bytes())    or GGUFForge() for an empty file
forge.set("llama.block_count", 1_000_000)                       replaces or appends; type guessed: u32
forge.set("llama.block_count", -1, I32)
forge.set("tokenizer.ggml.tokens", [1, 2], array_of=U32)
forge.remove("llama.block_count")
forge.tensor("output.weight").dims = [64, 0]                    GGUF order, fastest first
forge.add_tensor("blk.7.x", [32], F32)                          zeros of the right size
data = forge.build(n_tensors=2**63, version=4)                  the header may lie
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import gguf

U8, I8, U16, I16, U32, I32, FLOAT32, BOOL, STRING, ARRAY, U64, I64, FLOAT64 = range(13)
_LAYOUTS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))

F32, F16, Q4_0, Q8_0, Q4_K, I64_TENSOR, I8_TENSOR, Q8_1 = 0, 1, 2, 8, 12, 27, 24, 9

_SIZES = {int(type): sizes for type, sizes in gguf.GGML_QUANT_SIZES.items()}
_SIZES |= {Q8_1: (32, 36)}  # `gguf` 0.19 has 40 bytes


def string(text: str | bytes, length: int | None = None) -> bytes:
    """A string as it lies in the file; `length` may lie."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length % 2**64) + raw


def array(element_type: int, values: list[Any], count: int | None = None) -> bytes:
    """The payload of an array value; `count` may lie."""
    n = len(values) if count is None else count % 2**64
    return struct.pack("<IQ", element_type, n) + b"".join(scalar(element_type, value) for value in values)


def scalar(value_type: int, value: Any) -> bytes:
    """The payload of a string or number."""
    return string(value) if value_type == STRING else struct.pack("<" + _LAYOUTS[value_type], value)


@dataclass
class KeyValue:
    """One metadata entry; `payload` is what follows the value type."""

    key: bytes
    type: int
    payload: bytes

    def build(self) -> bytes:
        return string(self.key) + struct.pack("<I", self.type % 2**32) + self.payload


@dataclass
class TensorSpec:
    """One tensor; `offset` None means where it belongs, `n_dims` None the number of dims."""

    name: bytes
    dims: list[int]
    type: int
    data: bytes
    offset: int | None = None
    n_dims: int | None = None

    def build(self, offset: int) -> bytes:
        offset = offset if self.offset is None else self.offset
        n_dims = len(self.dims) if self.n_dims is None else self.n_dims
        dims = b"".join(struct.pack("<Q", dim % 2**64) for dim in self.dims)
        tail = struct.pack("<IQ", self.type % 2**32, offset % 2**64)
        return string(self.name) + struct.pack("<I", n_dims % 2**32) + dims + tail


@dataclass
class GGUFForge:
    """A GGUF file in parts. Anything may be changed; `build` puts it together and checks nothing."""

    kv: list[KeyValue] = field(default_factory=list)
    tensors: list[TensorSpec] = field(default_factory=list)
    alignment: int = 32

    def set(
        self, key: str | bytes, value: Any, type: int | None = None, array_of: int | None = None
    ) -> "GGUFForge":
        """Replaces the value of `key`, in its place, or appends it; without a type, one that is usual."""
        key = key.encode() if isinstance(key, str) else key
        if isinstance(value, list | tuple):
            element_type = array_of if array_of is not None else _usual_type(value[0] if value else "", I32)
            entry = KeyValue(key, ARRAY, array(element_type, list(value)))
        else:
            value_type = type if type is not None else _usual_type(value, U32)
            entry = KeyValue(key, value_type, scalar(value_type, value))
        return self.put(entry)

    def put(self, entry: KeyValue) -> "GGUFForge":
        """Replaces the entry of the same key, in its place, or appends it."""
        for index, old in enumerate(self.kv):
            if old.key == entry.key:
                self.kv[index] = entry
                return self
        self.kv.append(entry)
        return self

    def remove(self, key: str) -> "GGUFForge":
        before = len(self.kv)
        self.kv = [entry for entry in self.kv if entry.key != key.encode()]
        if len(self.kv) == before:
            raise KeyError(key)
        return self

    def tensor(self, name: str) -> TensorSpec:
        return next(tensor for tensor in self.tensors if tensor.name == name.encode())

    def add_tensor(
        self, name: str | bytes, dims: list[int], type: int = F32, data: bytes | None = None, **fields: Any
    ) -> "GGUFForge":
        """Appends a tensor, of zeros if no data are given."""
        name = name.encode() if isinstance(name, str) else name
        data = bytes(n_bytes(dims, type)) if data is None else data
        self.tensors.append(TensorSpec(name, dims, type, data, **fields))
        return self

    def drop_tensor(self, name: str) -> "GGUFForge":
        self.tensors.remove(self.tensor(name))
        return self

    def build(
        self,
        *,
        magic: bytes = b"GGUF",
        version: int = 3,
        n_tensors: int | None = None,
        n_kv: int | None = None,
        tail: bytes = b"",
    ) -> bytes:
        """The file. Tensors follow one another, each padded to the alignment."""
        parts = [entry.build() for entry in self.kv]
        data = b""
        for tensor in self.tensors:
            parts.append(tensor.build(len(data)))
            data += tensor.data + bytes(-len(tensor.data) % self.alignment)
        counts = (
            len(self.tensors) if n_tensors is None else n_tensors % 2**64,
            len(self.kv) if n_kv is None else n_kv % 2**64,
        )
        head = magic + struct.pack("<IQQ", version, *counts) + b"".join(parts)
        padding = bytes(-len(head) % self.alignment) if self.tensors else b""
        return head + padding + data + tail

    @classmethod
    def parse(cls, data: bytes) -> "GGUFForge":
        """Takes a sound file apart."""
        forge = cls()
        walk = _Walk(data)
        for _ in range(walk.n_kv):
            key = walk.string()
            value_type = walk.number("I")
            start = walk.position
            walk.skip_value(value_type)
            forge.kv.append(KeyValue(key, value_type, data[start : walk.position]))
            if key == b"general.alignment":
                forge.alignment = struct.unpack("<I", forge.kv[-1].payload)[0]
        infos = [walk.tensor() for _ in range(walk.n_tensors)]
        base = walk.position + -walk.position % forge.alignment
        for name, dims, type, offset in infos:
            start = base + offset
            forge.tensors.append(TensorSpec(name, dims, type, data[start : start + n_bytes(dims, type)]))
        return forge


def n_bytes(dims: list[int], type: int) -> int:
    """The bytes of a tensor of these dimensions."""
    block_size, block_bytes = _SIZES[type]
    n_values = 1
    for dim in dims:
        n_values *= dim
    return n_values // block_size * block_bytes


def number_fields(data: bytes) -> list[tuple[int, int]]:
    """(offset, size) of every number in the header, metadata and tensor list of a sound file.

    These are counts, lengths, types, values, dimensions and offsets; of an array, the first few elements.
    """
    walk = _Walk(data)
    for _ in range(walk.n_kv):
        walk.string()
        walk.skip_value(walk.number("I"))
    for _ in range(walk.n_tensors):
        walk.tensor()
    return walk.fields


class _Walk:
    """Walks through a sound file and notes where its numbers are."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 4
        self.fields: list[tuple[int, int]] = []
        self.number("I")
        self.n_tensors = self.number("Q")
        self.n_kv = self.number("Q")

    def number(self, letter: str, note: bool = True) -> Any:
        layout = struct.Struct("<" + letter)
        (value,) = layout.unpack_from(self.data, self.position)
        if note:
            self.fields.append((self.position, layout.size))
        self.position += layout.size
        return value

    def string(self, note: bool = True) -> bytes:
        length = self.number("Q", note)
        self.position += length
        return self.data[self.position - length : self.position]

    def skip_value(self, value_type: int, note: bool = True) -> None:
        if value_type == STRING:
            self.string(note)
        elif value_type == ARRAY:
            element_type = self.number("I")
            for index in range(self.number("Q")):
                self.skip_value(element_type, note=index < 3)
        else:
            self.number(_LAYOUTS[value_type], note)

    def tensor(self) -> tuple[bytes, list[int], int, int]:
        name = self.string()
        dims = [self.number("Q") for _ in range(self.number("I"))]
        return name, dims, self.number("I"), self.number("Q")


def _usual_type(value: Any, for_int: int) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return for_int
    return FLOAT32 if isinstance(value, float) else STRING
