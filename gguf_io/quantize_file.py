"""Writes a model in another file type, tensor by tensor, a slice of rows at a time.

Memory is a few slices for each thread, whatever the model's size. Several slices are converted at once, and
written in order. NumPy lets threads run at the same time within an operation, not between operations, so a
second thread makes some formats a quarter faster and others hardly.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..system.atomic_file import atomic_file
from ..system.threads import starting_threads
from .file import GGUFFile, load_gguf
from .formats import BlockFormat
from .mixtures import choose_formats, file_type
from .quantize import quantize
from .tensor import Tensor, padded
from .writer import Value, file_header

Progress = Callable[[int, int], object]
"""Called from time to time with the bytes that are written, and the bytes in all."""

_VALUES_IN_A_SLICE = 1 << 20
_BYTES_IN_A_COPY = 4 << 20
_QUANTIZATION_VERSION = 2  # of ggml's block formats; llama.cpp writes it too
_SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")

Piece = NDArray[np.uint8]
Job = Callable[[], Piece]


class _Entry(NamedTuple):
    """A tensor of the new file."""

    shape: tuple[int, ...]
    format: BlockFormat

    @property
    def nbytes(self) -> int:
        return self.format.nbytes(math.prod(self.shape))


def quantize_gguf(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format: str,
    *,
    pure: bool = False,
    overwrite: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, BlockFormat]:
    """Writes the model `source` to `target` as `format`, and returns the format that each tensor got.

    `source` may have any format that nybble dequantizes, and be any part of a split model. Quantizing a
    quantized model adds the errors of both. `format` is one of `FILE_TYPES` (Q8_0, Q4_K_M, …), where each
    tensor gets the format that llama.cpp gives it; with `pure` all matrices get the same. `n_threads`:
    default one for each CPU. `progress` is called with the bytes that are written, and the bytes in all.

    The file appears when it is complete. A `target` that exists is replaced only with `overwrite`, and never
    if it is the source: RequestError, as for an unknown format. Raises ModelError, naming the tensor, for
    values that are not finite or too large; GGUFUnsupportedError for a tensor that nybble cannot read;
    NybbleError if the threads cannot be started; and the system's error if the file cannot be written.
    """
    kind = file_type(format)
    if n_threads is None:
        n_threads = os.cpu_count() or 1
    target = os.path.expanduser(target)
    if n_threads < 1:
        raise RequestError(f"n_threads must be at least 1, not {n_threads}")
    with load_gguf(source) as file:
        _check_target(file, Path(target), overwrite)
        chosen = choose_formats(file, kind, pure)
        for name, tensor in file.tensors.items():
            if chosen[name] is not tensor.format:
                tensor.require_supported()
        metadata: dict[str, Value] = {key: file.metadata.raw(key) for key in file.metadata}
        metadata |= {"general.quantization_version": _QUANTIZATION_VERSION, "general.file_type": kind.id}
        for key in _SPLIT_KEYS:
            metadata.pop(key, None)
        entries = {name: _Entry(file.tensors[name].shape, chosen[name]) for name in chosen}
        n_bytes = sum(padded(entry.nbytes, file.alignment) for entry in entries.values())
        with atomic_file(target) as out, ThreadPoolExecutor(n_threads) as pool:
            out.write(file_header(metadata, entries, file.alignment))
            start = out.tell()
            for piece in _in_order(pool, n_threads, _jobs(file, chosen)):
                out.write(piece.data)
                if progress is not None:
                    progress(out.tell() - start, n_bytes)
    return chosen


def _check_target(file: GGUFFile, target: Path, overwrite: bool) -> None:
    """RequestError, before any work is done, if `target` must not be replaced."""
    if not target.exists():
        return
    paths = {file.path, *(tensor.path for tensor in file.tensors.values())}
    if any(os.path.samefile(path, target) for path in paths):
        raise RequestError(f"{target} is the model that is to be quantized; give the new one another name")
    if not target.is_file():
        raise RequestError(f"{target} is not a regular file, so no model can be put there")
    if not overwrite:
        raise RequestError(f"{target} exists; give another name, or replace it with overwrite=True")


def _jobs(file: GGUFFile, chosen: dict[str, BlockFormat]) -> Iterator[Job]:
    """Functions that make the pieces of the data section, in order."""
    for name, tensor in file.tensors.items():
        file.check_unchanged()
        format = chosen[name]
        if format is tensor.format:
            for first in range(0, tensor.nbytes, _BYTES_IN_A_COPY):
                yield partial(_copy, tensor, first, min(first + _BYTES_IN_A_COPY, tensor.nbytes))
        elif tensor.n_values:
            n_rows = math.prod(tensor.shape[:-1])
            step = max(1, _VALUES_IN_A_SLICE // tensor.shape[-1])
            for first in range(0, n_rows, step):
                yield partial(_convert, tensor.rows(first, min(first + step, n_rows)), format)
        n_bytes = format.nbytes(tensor.n_values)
        yield partial(_zeros, padded(n_bytes, file.alignment) - n_bytes)


def _copy(tensor: Tensor, first: int, last: int) -> Piece:
    piece = tensor.data[first:last].copy()
    tensor.release_pages(first, last)
    return piece


def _convert(rows: Tensor, format: BlockFormat) -> Piece:
    piece = quantize(format, rows.dequantize(), f"{rows.path}: tensor {rows.name!r}")
    rows.release_pages()
    return piece


def _zeros(n_bytes: int) -> Piece:
    return np.zeros(n_bytes, np.uint8)


def _in_order(pool: ThreadPoolExecutor, n_threads: int, jobs: Iterator[Job]) -> Iterator[Piece]:
    """The results of the jobs, in order; up to two jobs per thread wait or run at a time."""
    pending: deque[Future[Piece]] = deque()
    for job in jobs:
        with starting_threads(n_threads):
            pending.append(pool.submit(job))
        if len(pending) > 2 * n_threads:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
