"""Tiny models of every architecture, written from a description, with the logits that llama.cpp computes.

`architectures/NAME.json` has the metadata, the shapes of the tensors and the names of each block's buffers;
the weights are random, but each depends only on its name and shape, so that they need not be kept.
Where rounding would grow from layer to layer, `spread` makes some weights smaller.
`architectures/NAME.npz` has ids (n,), the rows (m,) of them that were recorded, and logits (m, n_vocab), or
for an encoder in their place the embeddings (m, n_embd).  Where the model says how to pool, there is
`pooled`: its embedding of all tokens (n_embd,), or its scores (n_classes,).
`record_architecture.py` makes both.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "architectures"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

MIXED = {
    "llama-moe": {"ffn_gate_exps": "Q4_0", "ffn_up_exps": "Q8_0", "ffn_down_exps": "Q5_1"},
    "gpt-oss": dict.fromkeys(("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"), "MXFP4"),
    "deepseek2": {
        "attn_k_b": "Q8_0",
        "attn_v_b": "Q5_0",
        "ffn_gate_up_exps": "BF16",
        "ffn_down_exps": "Q4_1",
    },
}
"""Models with experts or heads -> formats of theirs, as `write` takes them."""


def description(name: str) -> dict[str, Any]:
    """What `NAME.json` says."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def recorded(name: str) -> dict[str, np.ndarray]:
    """ids, rows and logits of `NAME.npz`."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in ("ids", "rows", "logits")}


def pooled(name: str) -> np.ndarray | None:
    """What `NAME.npz` says llama.cpp makes of all tokens together, if it was asked."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return file.get("pooled")


def write(
    path: Path, made: dict[str, Any], formats: Mapping[str, str] = {}, has_scales: bool = False
) -> Path:
    """Writes the described model, in float32 but for tensors whose names are in `formats` ("ffn_up_exps").

    `has_scales`: the matrices of blocks are divided by powers of two, which stand in tensors `.scale`;
    those called `.input_scale` mean nothing.
    """
    metadata = dict(made["metadata"])
    writer = gguf.GGUFWriter(str(path), metadata.pop("general.architecture")[1])
    for key, (kind, value) in metadata.items():
        if kind.startswith("ARRAY "):
            element = gguf.GGUFValueType[kind.removeprefix("ARRAY ")]
            writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, element)
        else:
            writer.add_key_value(key, value, gguf.GGUFValueType[kind])
    for tensor, shape in made["tensors"].items():
        name = tensor.removesuffix(".weight")
        spread = made.get("spread", {}).get(name.rpartition(".")[2], 1)
        values = weights(tensor, tuple(shape)) * np.float32(spread)
        is_matrix = tensor.endswith(".weight") and values.ndim > 1
        if has_scales and is_matrix and name.startswith("blk.") and not name.endswith("gate_inp"):
            exponents = np.arange(values.shape[0] if values.ndim == 3 else 1) - 2
            scale = np.ldexp(np.float32(1), exponents)
            writer.add_tensor(f"{name}.scale", scale)
            writer.add_tensor(f"{name}.input_scale", np.full_like(scale, 3))
            values /= scale.reshape(-1, *[1] * (values.ndim - 1))
        kind = gguf.GGMLQuantizationType[formats.get(name.split(".")[-1], "F32")]
        writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of a size that such a tensor has in real models."""
    rng = np.random.default_rng([7, zlib.crc32(name.encode())])
    normal = rng.standard_normal(shape)
    if "rope_f" in name:
        values = rng.uniform(1, 8, shape)
    elif "norm" in name and name.endswith(".weight"):
        values = 1 + 0.1 * normal
    elif name.endswith("ssm_a"):
        values = -rng.uniform(0.1, 1.1, shape)
    elif name.endswith((".scale", ".scales", "ssm_d", "layer_output_scale.weight")):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith((".bias", "_coef.weight")):
        values = 0.1 * normal
    elif name.startswith(("token_embd", "position_embd", "token_types")):
        values = normal
    else:
        values = normal * shape[-1] ** -0.5
    return np.ascontiguousarray(values, np.float32)
