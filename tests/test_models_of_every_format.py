"""A model whose matrices are random blocks of one format: the kernels compute what the reference does.

`test_numba_executor.py` has more on the formats that `gguf` can write; here is every one. A scale beside each
matrix brings its values to the size that those of real models have.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from numpy.typing import NDArray

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.gguf_io import dequantize
from nybble.gguf_io.formats import PLAIN, SUPPORTED, BlockFormat

N_CTX = 40
BOUND, BOUND_OF_FLOATS = 1e-3, 2e-7
"""NMSE of the logits; with blocks activations are rounded to 8 bits, with floats only keys and values."""

MIDDLE = {"Q4_1": 7.5, "Q5_1": 15.5, "Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}
"""Of the levels of formats with a minimum: weights shall be positive and negative alike."""


def blocks(format: BlockFormat, n_values: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random bytes, with scales about 1, uint8."""
    if format in PLAIN:
        assert format.dtype is not None
        normal = rng.standard_normal(n_values)
        if format.name in ("F32", "F16", "BF16", "F64"):
            values = normal.astype(format.dtype if format.name != "BF16" else "<f4")
            return values.view(np.uint8).reshape(n_values, -1)[:, -format.block_bytes :].reshape(-1).copy()
        return (20 * normal).astype(format.dtype).view(np.uint8)
    data = rng.integers(0, 256, format.nbytes(n_values), dtype=np.uint8)
    fields = data.view(format.dtype)
    if "d" in fields.dtype.names and fields["d"].dtype == np.float16:
        fields["d"] = rng.uniform(0.5, 1.5, fields.shape)
    if format.name in MIDDLE:
        name, sign = ("m", -1) if "m" in fields.dtype.names else ("dmin", 1)
        fields[name] = sign * MIDDLE[format.name] * fields["d"]
    if format.name == "MXFP4":
        fields["e"] = rng.integers(126, 129, fields.shape)
    if format.name == "NVFP4":
        fields["d"] = rng.integers(48, 64, fields["d"].shape)
    if format.name == "IQ1_M":  # the upper four bits of each are a quarter of 1 in float16
        fields["scales"] = fields["scales"] & 0xFFF | np.array([0, 0, 0xC, 3], np.uint16) << 12
    return data


def write(path: Path, format: BlockFormat) -> Path:
    """A llama of one layer with matrices in that format, but for the embedding."""
    made = GGUFForge.parse(tiny_model.write(path, n_layers=1, n_embd=256, n_ff=256, n_ctx=N_CTX).read_bytes())
    for tensor in [t for t in made.tensors if len(t.dims) == 2 and t.name != b"token_embd.weight"]:
        rng = np.random.default_rng(len(tensor.name))
        spread = np.frombuffer(tensor.data, np.float32).std()
        n_values = tensor.dims[0] * tensor.dims[1]
        data = blocks(format, n_values, rng)
        values = dequantize(format, data, n_values)
        tensor.type, tensor.data = format.ggml_id, data.tobytes()
        made.add_tensor(tensor.name.replace(b".weight", b".scale"), [1])
        made.tensors[-1].data = np.float32(spread / values.std()).tobytes()
    path.write_bytes(made.build())
    return path


@pytest.mark.parametrize("format", SUPPORTED, ids=lambda format: format.name)
def test_both_executors_agree(format: BlockFormat, tmp_path: Path) -> None:
    model = Model.load(write(tmp_path / "model.gguf", format))
    ids = np.random.default_rng(3).integers(0, model.config.n_vocab, N_CTX).astype(np.int32)
    expected = ReferenceExecutor(model.plan, model.config, N_CTX).forward(ids, 0, np.arange(N_CTX))
    assert expected.std() > 0.1
    executor = NumbaExecutor(model.plan, model.config, N_CTX, 2)
    for chunk in (N_CTX, 7, 1):
        executor.reset()
        found = [
            executor.forward(ids[i : i + chunk], i, np.arange(len(ids[i : i + chunk]))).copy()
            for i in range(0, N_CTX, chunk)
        ]
        error = np.square(np.concatenate(found) - expected).mean() / expected.var()
        assert error < (BOUND_OF_FLOATS if format in PLAIN else BOUND), chunk
    executor.close()
    model.close()
