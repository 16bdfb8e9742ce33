"""Shows what is in a GGUF file: metadata, tensors, and how much of which format; or its activations.

FILE is the path of a GGUF file, or a name.
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..engine.models import resolve
from ..gguf_io.file import GGUFFile, load_gguf
from ..gguf_io.tensor import Tensor

_N_SHOWN = 4  # elements of an array
_WIDTH = 72  # letters of a value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--activations",
        action="store_true",
        help="show instead what can be read and replaced while the model runs, in the order of computation",
    )


def run(args: argparse.Namespace) -> None:
    if args.activations:
        _print_activations(args.file)
        return
    with load_gguf(resolve(args.file)) as file:
        n_bytes = sum(tensor.nbytes for tensor in file.tensors.values())
        print(f"{file.path}: GGUF v{file.version}, {_size(n_bytes)} of weights")
        print(f"\nmetadata ({len(file.metadata)} keys)")
        _print_table(_metadata_rows(file))
        print(f"\ntensors ({len(file.tensors)}; shapes are rows x columns)")
        _print_table(_tensor_row(tensor) for tensor in file.tensors.values())
        print("\nformats")
        _print_table(_format_rows(list(file.tensors.values())))


def _print_activations(file: str) -> None:
    from ..engine.model import Model  # the plans of all architectures, which nothing else here needs

    model = Model.load(resolve(file))
    _print_table((spec.name, spec.shape, spec.meaning) for spec in model.activations.values())
    model.close()


def _metadata_rows(file: GGUFFile) -> Iterator[tuple[str, ...]]:
    for key in file.metadata:
        length = file.metadata.length_of(key)
        kind = file.metadata.type_of(key)
        if length is not None:
            kind = kind.replace("[]", f"[{length}]")
        yield _plain(key), kind, _value(file.metadata[key])


def _tensor_row(tensor: Tensor) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    return _plain(tensor.name), tensor.format.name, shape, _size(tensor.nbytes)


def _format_rows(tensors: list[Tensor]) -> Iterator[tuple[str, ...]]:
    """Per format: tensors, values, bytes, bits per value; then the sum."""

    def row(name: str, chosen: list[Tensor]) -> tuple[str, ...]:
        n_values, n_bytes = sum(t.n_values for t in chosen), sum(t.nbytes for t in chosen)
        bits = 8 * n_bytes / n_values if n_values else 0.0
        return (
            name,
            f"{len(chosen)} tensor{'s' if len(chosen) != 1 else ''}",
            f"{n_values:,} values",
            _size(n_bytes),
            f"{bits:.2f} bits a value",
        )

    for name in sorted({tensor.format.name for tensor in tensors}):
        yield row(name, [tensor for tensor in tensors if tensor.format.name == name])
    yield row("all", tensors)


def _value(value: Any) -> str:
    """A value on one line, elided; text in quotes and with escapes, for it may hold anything."""
    if isinstance(value, list | np.ndarray):
        shown = ", ".join(_value(element) for element in islice(value, _N_SHOWN))
        return f"[{shown}{', …' if len(value) > _N_SHOWN else ''}]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:g}"
    text = repr(value[: 2 * _WIDTH] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _plain(name: str) -> str:
    """A name from the file, with escapes if it holds control characters."""
    return name if name.isprintable() else repr(name)


def _size(n_bytes: int) -> str:
    """In decimal units, as disks and bandwidths are."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
