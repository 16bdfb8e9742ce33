"""Rows of a matrix in a file, copied without mapping them."""

import os
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from resident import resident_bytes

from nybble.errors import ModelError
from nybble.gguf_io.file import load_gguf
from nybble.gguf_io.formats import F32
from nybble.gguf_io.row_reader import RowReader
from nybble.gguf_io.tensor import Tensor

N_ROWS, WIDTH = 3000, 256
IDS = np.random.default_rng(1).integers(0, N_ROWS, 500)


@pytest.fixture(scope="module")
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((N_ROWS, WIDTH), np.float32)


@pytest.fixture
def path(tmp_path: Path, values: NDArray[np.float32]) -> Path:
    writer = gguf.GGUFWriter(str(tmp_path / "table.gguf"), "llama")
    writer.add_tensor("first", np.ones(8, np.float32))
    writer.add_tensor("table", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "table.gguf"


def copied(tensor: Tensor, ids: NDArray[np.integer]) -> NDArray[np.float32]:
    out = np.zeros((len(ids) + 1, 4 * WIDTH), np.uint8)
    RowReader(tensor).copy(ids, out)
    assert not out[-1].any()
    return out[:-1].view(np.float32)


@pytest.mark.parametrize("ids", [IDS, IDS[:1].astype(np.int32), IDS[:0]], ids=len)
def test_the_rows_are_those_of_the_ids(path: Path, values: NDArray[np.float32], ids: NDArray) -> None:
    in_memory = Tensor("table", (N_ROWS, WIDTH), F32, values.view(np.uint8).reshape(-1))
    assert (copied(in_memory, ids) == values[ids]).all()
    with load_gguf(path) as file:
        table = file.tensors["table"]
        assert (copied(table, ids) == values[ids]).all()
        assert (copied(table.rows(5, N_ROWS), ids % 100) == values[5 + ids % 100]).all()
    assert (copied(table, ids) == values[ids]).all(), "a tensor outlives the file object"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what is in memory")
def test_no_page_comes_into_memory(path: Path) -> None:
    with load_gguf(path) as file:
        before = resident_bytes(path)
        copied(file.tensors["table"], IDS)
        assert resident_bytes(path) == before > 0


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the file is read through its mapping")
def test_a_file_that_was_cut(path: Path) -> None:
    with load_gguf(path) as file:
        os.truncate(path, path.stat().st_size - 4 * WIDTH)
        with pytest.raises(ModelError, match=r"table\.gguf: model file changed while it was open"):
            copied(file.tensors["table"], np.array([0, N_ROWS - 1]))
