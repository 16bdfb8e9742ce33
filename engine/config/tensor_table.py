"""The tensors that a model must have: a declarative table, checked before anything is computed.

    {"token_embd.weight": required("n_vocab", "n_embd"), "blk.N.attn_q.bias": optional("q_width"), ...}

"blk.N." stands for every layer.  Sizes are formulas over fields of `Config`, so an error can say where a
number came from.  A tensor may belong to some layers only (`when`), or be there instead of another
(`unless`).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from ...errors import ModelError
from ...gguf_io.file import GGUFFile
from ...gguf_io.formats import BF16, F16, F32
from ...gguf_io.tensor import Tensor
from .config import Config
from .ollama import OTHER_TENSORS
from .size import value_of

_EVERY_LAYER = "blk.N."
_LAYER_PREFIX = re.compile(r"^blk\.(\d+)\.")

# Tensors that no model needs, and why.
INERT = {"blk.N.attn_rot_embd.weight": "RoPE frequencies of old converters; they follow from rope.freq_base"}
INPUT_SCALE = ".input_scale"  # for activations in NVFP4, which nybble rounds to 8 bits


@dataclass(frozen=True)
class Shape:
    """What a tensor must look like: its sizes, in NumPy order (rows first)."""

    sizes: tuple[str | int, ...]  # integers and formulas; of "a|b" either is right
    is_required: bool
    when: str = ""  # the field or property of `Config` that is not 0 for layers that have it
    unless: str = ""  # the tensor, of the same layer, that takes its place

    def of(self, config: Config, choice: int = 0) -> tuple[int, ...]:
        """The sizes; of alternatives, the first (0) or the last (-1)."""
        return tuple(
            size if isinstance(size, int) else value_of(size.split("|")[choice], config)
            for size in self.sizes
        )


def required(*sizes: str | int, when: str = "", unless: str = "") -> Shape:
    """A tensor that the model needs."""
    return Shape(sizes, True, when, unless)


def optional(*sizes: str | int, when: str = "") -> Shape:
    """A tensor that is used where it exists."""
    return Shape(sizes, False, when)


def check_tensors(
    file: GGUFFile, config: Config, table: Mapping[str, Shape], inert: Mapping[str, str]
) -> None:
    """Raises ModelError unless `file` has exactly the tensors of the table, in their shapes.

    Tensors of one dimension (norms, biases) must be in a float format. GGUFUnsupportedError if a matrix is in
    a format that nybble does not compute with.  `inert`: tensors of the architecture that no layer needs.
    """
    names = set()
    for name, shape, layer in _expand({**_scales(table), **table}, config):
        if shape.unless and _beside(name, shape.unless) in file.tensors:
            continue
        names.add(name)
        tensor = file.tensors.get(name)
        if tensor is not None:
            _check(file, layer, tensor, shape)
        elif shape.is_required:
            raise ModelError(
                f"{file.path}: tensor {name} is missing; the model needs it to be {shape.of(layer)}"
            )
    passed_over = {**INERT, **inert}
    extra = [name for name in file.tensors if name not in names and not _is_inert(name, config, passed_over)]
    if extra:
        others = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise ModelError(
            f"{file.path}: tensor {extra[0]}{others} would not be used: {config.architecture!r} with "
            f"{config.n_layers} layers uses {len(file.tensors) - len(extra)} of {len(file.tensors)} tensors"
        )


def check_all_used(file: GGUFFile, config: Config, used: Collection[str], inert: Mapping[str, str]) -> None:
    """Raises ModelError if the graph of the architecture left out a tensor that is not known to be inert."""
    passed_over = {**INERT, **inert}
    for name in file.tensors:
        if name not in used and not name.endswith(INPUT_SCALE) and not _is_inert(name, config, passed_over):
            raise ModelError(
                f"{file.path}: tensor {name} would not be used: {config.architecture!r} has no place for it "
                "beside the other tensors of the file"
            )


def _scales(table: Mapping[str, Shape]) -> dict[str, Shape]:
    """The scales that NVFP4 gives to any matrix, or to each of a stack, and to its input."""
    matrices = {name: shape for name, shape in table.items() if len(shape.sizes) > 1}
    return {
        name.removesuffix(".weight") + suffix: optional(1 if len(shape.sizes) == 2 else shape.sizes[0])
        for name, shape in matrices.items()
        for suffix in (".scale", INPUT_SCALE)
    }


def _expand(table: Mapping[str, Shape], config: Config) -> Iterator[tuple[str, Shape, Config]]:
    """The entries, "blk.N." replaced by the prefix of every layer that has the tensor, with its Config."""
    for name, shape in table.items():
        if not name.startswith(_EVERY_LAYER):
            yield name, shape, config
    for layer in range(config.n_layers):
        own = config.at(layer)
        for name, shape in table.items():
            if name.startswith(_EVERY_LAYER) and (not shape.when or attrgetter(shape.when)(own)):
                yield f"blk.{layer}." + name.removeprefix(_EVERY_LAYER), shape, own


def _check(file: GGUFFile, config: Config, tensor: Tensor, shape: Shape) -> None:
    expected = shape.of(config)
    stacked = (1,) * (len(expected) - len(tensor.shape)) + tensor.shape
    if stacked != expected and stacked != shape.of(config, -1):
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


def _beside(name: str, other: str) -> str:
    """The name of `other` in the layer of `name`."""
    block = _LAYER_PREFIX.match(name)
    return (block.group() if block else "") + other


def _is_inert(name: str, config: Config, inert: Mapping[str, str]) -> bool:
    if name.startswith((*OTHER_TENSORS, "mtp.")):
        return True  # of images or sound, or predicts tokens after the next
    block = _LAYER_PREFIX.match(name)
    if block and config.n_layers <= int(block[1]) < config.n_layers + config.n_nextn:
        return True  # predicts tokens after the next, which nybble does not use
    return _LAYER_PREFIX.sub(_EVERY_LAYER, name) in inert
