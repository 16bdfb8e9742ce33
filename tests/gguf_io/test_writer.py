"""GGUF files made from others: what `load_gguf` gives is what `write_gguf` takes."""

import gguf
import numpy as np
import pytest
import tiny_model

import nybble
from nybble import RequestError


@pytest.mark.parametrize(("arch", "weight_format"), [("llama", "Q4_K"), ("gemma3", "Q5_1")])
def test_a_copy_is_the_same_model(arch, weight_format, tmp_path):
    source, copy = tiny_model.write(tmp_path / "a.gguf", arch, weight_format), tmp_path / "b.gguf"
    with nybble.load_gguf(source) as a:
        nybble.write_gguf(copy, a.metadata, a.tensors)
        with nybble.load_gguf(copy) as b:
            assert list(b.metadata) == list(a.metadata) and list(b.tensors) == list(a.tensors)
            for key, value in a.metadata.items():
                assert np.array_equal(b.metadata[key], value) and b.metadata.type_of(
                    key
                ) == a.metadata.type_of(key)
            for name, tensor in a.tensors.items():
                found = b.tensors[name]
                assert (found.format, found.shape) == (tensor.format, tensor.shape)
                assert found.data.tobytes() == tensor.data.tobytes()
    read = gguf.GGUFReader(copy)
    assert [(t.name, t.tensor_type, t.n_elements) for t in read.tensors] == [
        (t.name, t.tensor_type, t.n_elements) for t in gguf.GGUFReader(source).tensors
    ]


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">i2", "u4", "i4", "f4", "bool", "u8", "i8", ">f8"])
def test_arrays_keep_their_type(dtype, tmp_path):
    values = np.array([0, 1, 100]).astype(dtype)
    nybble.write_gguf(tmp_path / "x.gguf", {"x": values}, {})
    with nybble.load_gguf(tmp_path / "x.gguf") as file:
        assert np.array_equal(file.metadata["x"], values)
        assert file.metadata["x"].dtype == values.dtype.newbyteorder("=")


def test_the_alignment_is_that_of_the_metadata(tmp_path):
    tensors = {name: np.arange(3, dtype=np.float32) for name in "ab"}
    nybble.write_gguf(tmp_path / "x.gguf", {"general.alignment": 256}, tensors)
    with nybble.load_gguf(tmp_path / "x.gguf") as file:
        assert file.alignment == 256 and file.trailing_bytes == 0
        assert file.tensors["b"].dequantize().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.alignment": 48}, "must be a power of two, not 48"),
        ({"x": np.zeros((2, 2))}, r"no array of float64 \(2, 2\)"),
        ({"x": np.zeros(2, complex)}, "no array of complex128"),
        ({"x": 2**70}, "does not fit in 64 bits"),
    ],
)
def test_metadata_that_gguf_cannot_hold_leave_no_file(metadata, message, tmp_path):
    with pytest.raises(RequestError, match=message):
        nybble.write_gguf(tmp_path / "x.gguf", metadata, {})
    assert not list(tmp_path.iterdir())
