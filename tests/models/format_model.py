"""A llama of one layer whose matrices are random blocks of one format, be it one that `gguf` cannot write.

A scale beside each matrix brings its values to the size that those of real models have.
"""

from pathlib import Path

import numpy as np
import tiny_model
from forge import GGUFForge
from numpy.typing import NDArray

from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import PLAIN, BlockFormat

N_CTX = 40

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
