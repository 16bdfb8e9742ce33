"""Packing of whole tensors: in parts, by several threads, into one piece of memory, out of a file."""

import sys
from pathlib import Path

import numpy as np
import pytest
from linear_cases import random_weights
from resident import resident_bytes

from nybble.engine.executors.numba.storage import packing
from nybble.engine.executors.numba.storage.packed_matrix import packed_bytes
from nybble.engine.executors.numba.storage.packing import pack_tensors
from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.gguf_io.mapped_file import MappedFile
from nybble.gguf_io.tensor import Tensor
from nybble.kernels.language.rows import CACHE_LINE

some_formats = pytest.mark.parametrize(
    "format", [formats.Q4_0, formats.Q4_K, formats.IQ2_S, formats.BF16, formats.F64], ids=lambda f: f.name
)


def random_tensor(format: BlockFormat, shape: tuple[int, ...]) -> Tensor:
    n_rows = int(np.prod(shape[:-1]))
    if format is formats.F64:
        data = np.random.default_rng(0).standard_normal(n_rows * shape[-1]).view(np.uint8)
    else:
        data = random_weights(np.random.default_rng(0), format, n_rows, shape[-1])
    return Tensor(format.name, shape, format, data)


@some_formats
def test_parts_make_the_whole(format: BlockFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each matrix of a stack the last tile has rows missing; some parts have no tile."""
    tensor = random_tensor(format, (3, 84, 256))
    (whole,) = pack_tensors([tensor], 1).values()
    assert whole.nbytes == packed_bytes(tensor)
    for part_bytes, n_threads in ((tensor.nbytes // 5, 2), (tensor.nbytes // 7, 3), (1 << 30, 20)):
        monkeypatch.setattr(packing, "PART_BYTES", part_bytes)
        (in_parts,) = pack_tensors([tensor], n_threads).values()
        assert in_parts.data.tobytes() == whole.data.tobytes()


def test_matrices_lie_in_one_piece_of_memory() -> None:
    """So that huge pages hold nearly all of it; with nothing that they share."""
    shapes = {formats.Q4_0: (35, 64), formats.F16: (2, 17, 9), formats.Q6_K: (16, 512), formats.F32: (1, 1)}
    tensors = [random_tensor(format, shape) for format, shape in shapes.items()]
    packed = [matrix.data for matrix in pack_tensors(tensors, 2).values()]
    starts = [data.ctypes.data for data in packed]
    n_bytes = [packed_bytes(tensor) for tensor in tensors]
    assert [data.nbytes for data in packed] == n_bytes
    assert starts == sorted(starts) and starts[-1] - starts[0] < sum(n_bytes) + CACHE_LINE * len(starts)
    assert not any(start % CACHE_LINE for start in starts)
    for tensor, data in zip(tensors, packed, strict=True):
        assert data.tobytes() == pack_tensors([tensor], 1)[tensor.name].data.tobytes()
        data.view(np.uint8)[:] = 255  # is nobody else's


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what is in memory")
@some_formats
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_files_pages_are_given_back(
    format: BlockFormat, n_threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but those that other tensors are on, too."""
    monkeypatch.setattr(packing, "PART_BYTES", 1 << 19)
    in_memory = random_tensor(format, (2, (4 << 20) // format.nbytes(512) // 2, 512))
    path, start = tmp_path / "file", 4096 + 32
    path.write_bytes(bytes(start) + in_memory.data.tobytes())
    with path.open("rb") as file:
        mapping = MappedFile(file.fileno(), path.stat().st_size)
    data = np.frombuffer(mapping, np.uint8)[start:]
    tensor = Tensor(in_memory.name, in_memory.shape, format, data, str(path))
    assert int(data[::4096].max()) >= 0 and resident_bytes(path) >= tensor.nbytes - 4096
    (matrix,) = pack_tensors([tensor], n_threads).values()
    assert resident_bytes(path) <= 2 * 65536
    assert matrix.data.tobytes() == pack_tensors([in_memory], 1)[tensor.name].data.tobytes()
