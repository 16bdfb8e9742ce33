"""The tensors that a model must have: a declarative table, checked before anything is computed.

    {"token_embd.weight": required("n_vocab", "n_embd"), "blk.N.attn_q.bias": optional("q_width"), ...}

"blk.N." stands for every layer.  Sizes are fields of `Config`, so an error can say where a number came from.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..gguf_io.errors import ModelError
from ..gguf_io.file import GGUFFile
from ..gguf_io.formats import BF16, F16, F32
from ..gguf_io.tensor import Tensor
from .hyperparameters import Config

_EVERY_LAYER = "blk.N."

# Tensors that no model needs, and why.
INERT = {
    "blk.N.attn_rot_embd.weight": "RoPE frequencies of old converters; they follow from rope.freq_base",
}


@dataclass(frozen=True)
class Shape:
    """What a tensor must look like: the `Config` fields that give its sizes, in NumPy order (rows first)."""

    sizes: tuple[str, ...]
    is_required: bool

    def of(self, config: Config) -> tuple[int, ...]:
        return tuple(getattr(config, size) for size in self.sizes)


def required(*sizes: str) -> Shape:
    """A tensor that the model cannot do without."""
    return Shape(sizes, True)


def optional(*sizes: str) -> Shape:
    """A tensor that is used where it exists."""
    return Shape(sizes, False)


def check_tensors(file: GGUFFile, config: Config, table: Mapping[str, Shape]) -> None:
    """Raises ModelError unless `file` has the tensors of the table, no more and no less, in their shapes.

    What has one dimension (norms, biases) must be in a float format; GGUFUnsupportedError if a matrix is in a
    format that nybble does not compute with.
    """
    names = set()
    for name, shape in _expand(table, config.n_layers):
        names.add(name)
        tensor = file.tensors.get(name)
        if tensor is not None:
            _check(file, config, tensor, shape)
        elif shape.is_required:
            raise ModelError(
                f"{file.path}: tensor {name} is missing; the model needs it to be {shape.of(config)}"
            )
    extra = [name for name in file.tensors if name not in names and not _is_inert(name)]
    if extra:
        others = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise ModelError(
            f"{file.path}: tensor {extra[0]}{others} would not be used: {config.architecture!r} with "
            f"{config.n_layers} layers uses {len(file.tensors) - len(extra)} of {len(file.tensors)} tensors"
        )


def _expand(table: Mapping[str, Shape], n_layers: int) -> Iterator[tuple[str, Shape]]:
    """The table with "blk.N." replaced by every layer's own prefix."""
    for name, shape in table.items():
        if not name.startswith(_EVERY_LAYER):
            yield name, shape
    for layer in range(n_layers):
        for name, shape in table.items():
            if name.startswith(_EVERY_LAYER):
                yield f"blk.{layer}." + name.removeprefix(_EVERY_LAYER), shape


def _check(file: GGUFFile, config: Config, tensor: Tensor, shape: Shape) -> None:
    expected = shape.of(config)
    if tensor.shape != expected:
        names = ", ".join(f"{size}={value}" for size, value in zip(shape.sizes, expected, strict=True))
        raise ModelError(
            f"{file.path}: tensor {tensor.name} is {tensor.shape}, the metadata says {expected} ({names})"
        )
    tensor.require_supported()
    if len(expected) == 1 and tensor.format not in (F32, F16, BF16):
        raise ModelError(
            f"{file.path}: tensor {tensor.name} is a norm, bias or the like and must be F32, F16 or BF16, "
            f"found {tensor.format.name}"
        )


def _is_inert(name: str) -> bool:
    return re.sub(r"^blk\.\d+\.", _EVERY_LAYER, name) in INERT
