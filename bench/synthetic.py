"""Write a model with random weights, of a given shape and in a block format: no quantizer, no download.

    python bench/synthetic.py 1.1b Q4_0 /tmp/1.1b-q4_0.gguf
    python bench/synthetic.py 1.1b Q4_K_M /tmp/1.1b-q4_k_m.gguf

Such a file says nothing, but it is as large and as fast as a real model of that shape; the same arguments
give the same file. Q4_K_M is the usual mixture: Q4_K, with Q6_K for the output matrix and for half of the
attn_v and ffn_down matrices. There is no tokenizer inside (`tokenizer.ggml.model = none`), so it runs on
token ids only; --vocabulary FILE takes that of another model, with its template and its number of tokens.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from nybble.gguf_io import formats
from nybble.gguf_io.codecs.simple_quants import unsigned_float8
from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import BlockFormat
from nybble.system.atomic_file import atomic_path


@dataclass(frozen=True)
class Shape:
    """A Llama-like model: what decides its size and speed. With experts it is a qwen3moe, n_ff of each."""

    n_embd: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_ff: int
    n_vocab: int
    n_experts: int = 0
    n_experts_used: int = 0

    @property
    def head_dim(self) -> int:
        """Columns of each head."""
        return self.n_embd // self.n_heads


SHAPES = {
    "135m": Shape(576, 30, 9, 3, 1536, 49152),
    "1.1b": Shape(2048, 22, 32, 4, 5632, 32000),
    "3b": Shape(3072, 28, 24, 8, 8192, 128256),
    "moe": Shape(1024, 8, 16, 4, 512, 32000, 64, 8),
}
FORMATS = {
    format.name: format
    for format in formats.SUPPORTED
    if format not in formats.PLAIN or format in (formats.F32, formats.F16, formats.BF16)
}
N_CTX = 8192


def matrices(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape (n_out, n_in) of every matrix, or (n_experts, n_out, n_in)."""
    n_embd, kv_width = shape.n_embd, shape.head_dim * shape.n_kv_heads
    stack, suffix = ((shape.n_experts,), "_exps") if shape.n_experts else ((), "")
    yield "token_embd", (shape.n_vocab, n_embd)
    for i in range(shape.n_layers):
        yield f"blk.{i}.attn_q", (n_embd, n_embd)
        yield f"blk.{i}.attn_k", (kv_width, n_embd)
        yield f"blk.{i}.attn_v", (kv_width, n_embd)
        yield f"blk.{i}.attn_output", (n_embd, n_embd)
        if shape.n_experts:
            yield f"blk.{i}.ffn_gate_inp", (shape.n_experts, n_embd)
        yield f"blk.{i}.ffn_gate{suffix}", (*stack, shape.n_ff, n_embd)
        yield f"blk.{i}.ffn_up{suffix}", (*stack, shape.n_ff, n_embd)
        yield f"blk.{i}.ffn_down{suffix}", (*stack, n_embd, shape.n_ff)
    yield "output", (shape.n_vocab, n_embd)


def vectors(shape: Shape) -> Iterator[tuple[str, int]]:
    """Name and width of every norm."""
    for i in range(shape.n_layers):
        yield f"blk.{i}.attn_norm", shape.n_embd
        yield f"blk.{i}.ffn_norm", shape.n_embd
        if shape.n_experts:
            yield f"blk.{i}.attn_q_norm", shape.head_dim
            yield f"blk.{i}.attn_k_norm", shape.head_dim
    yield "output_norm", shape.n_embd


def format_of(name: str, mixture: str, shape: Shape) -> BlockFormat:
    """The format of a matrix; one and the same, but for routers and mixtures."""
    if name.endswith("gate_inp"):
        return formats.F32
    if mixture != "Q4_K_M":
        return FORMATS[mixture]
    if name == "output":
        return formats.Q6_K
    if name.endswith(("attn_v", "ffn_down", "ffn_down_exps")):
        layer = int(name.split(".")[1])
        eighth = shape.n_layers // 8
        if layer < eighth or layer >= 7 * eighth or (layer - eighth) % 3 == 2:
            return formats.Q6_K
    return formats.Q4_K


def set_scales(blocks: np.ndarray, format: BlockFormat, scale: float) -> None:
    """Give all blocks the same scale, as near to `scale` as the format allows."""
    if format is formats.MXFP4:
        blocks["e"] = round(math.log2(scale)) + 128
    elif format is formats.NVFP4:
        floats = unsigned_float8(np.arange(127, dtype=np.uint8)) / 2
        blocks["d"] = np.abs(floats - scale).argmin()
    elif format is formats.IQ1_M:  # a float16 in the upper bits of four numbers
        pieces = np.float16(scale).view(np.uint16) >> np.array([0, 4, 8, 12], np.uint16)
        blocks["scales"] = (blocks["scales"] & 0xFFF) | pieces << 12
    else:
        for name in {"d", "dmin"} & set(blocks.dtype.names or ()):
            blocks[name] = scale


def random_rows(rng: np.random.Generator, format: BlockFormat, n_out: int, n_in: int) -> np.ndarray:
    """Random blocks (n_out, bytes of a row) whose values spread by about 1 / sqrt(n_in)."""
    spread = 1 / math.sqrt(n_in)
    if format in (formats.F32, formats.F16, formats.BF16):
        values = rng.standard_normal((n_out, n_in), np.float32) * np.float32(spread)
        if format is formats.BF16:
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return values.astype(format.dtype).view(np.uint8)
    n_bytes = n_out * format.nbytes(n_in)
    blocks = np.frombuffer(rng.bytes(n_bytes), format.dtype).copy()
    fields = blocks.dtype.names or ()
    if format.name[:2] not in ("Q4", "Q5", "Q6", "Q8"):
        set_scales(blocks, format, 1.0)
        sample = blocks[:1000].view(np.uint8).reshape(-1)
        values = dequantize(format, sample, len(blocks[:1000]) * format.block_size)
        set_scales(blocks, format, spread / float(values.std()))
        return blocks.view(np.uint8).reshape(n_out, -1)
    bits = {"Q4": 4, "Q5": 5, "Q6": 6, "Q8": 8}[format.name[:2]]
    level_spread = 2**bits / math.sqrt(12)
    scale = spread / level_spread / (32 if "scales" in fields else 1)  # K-quants: times a sub-scale of 0 … 63
    blocks["d"] = scale
    for name in ("m", "dmin"):
        if name in fields:
            blocks[name] = (-1 if name == "m" else 1) * scale * 2 ** (bits - 1)
    return blocks.view(np.uint8).reshape(n_out, -1)


def vocabulary_of(path: Path) -> dict[str, tuple[Any, ...]]:
    """What a file says of its tokenizer: by key the value, its type, and that of its entries."""
    fields = gguf.GGUFReader(path).fields.items()
    return {
        key: (field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
        for key, field in fields
        if key.startswith("tokenizer.")
    }


def write(shape: Shape, mixture: str, path: Path, seed: int = 0, vocabulary: Path | None = None) -> None:
    """Write the model; one matrix at a time is in memory."""
    facts = {} if vocabulary is None else vocabulary_of(vocabulary)
    if facts:
        shape = replace(shape, n_vocab=len(facts["tokenizer.ggml.tokens"][0]))
    writer = gguf.GGUFWriter(path, "qwen3moe" if shape.n_experts else "llama")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    if shape.n_experts:
        writer.add_expert_count(shape.n_experts)
        writer.add_expert_used_count(shape.n_experts_used)
        writer.add_expert_feed_forward_length(shape.n_ff)
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    writer.add_vocab_size(shape.n_vocab)
    if not facts:
        writer.add_tokenizer_model("none")
    for key, (value, kind, entry) in facts.items():
        writer.add_key_value(key, value, kind, entry)
    for name, width in vectors(shape):
        writer.add_tensor_info(f"{name}.weight", (width,), np.dtype(np.float32), 4 * width)
    for name, sizes in matrices(shape):
        format = format_of(name, mixture, shape)
        kind = gguf.GGMLQuantizationType(format.ggml_id)
        in_bytes = (*sizes[:-1], format.nbytes(sizes[-1]))
        writer.add_tensor_info(f"{name}.weight", in_bytes, np.dtype(np.uint8), math.prod(in_bytes), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, width in vectors(shape):
        writer.write_tensor_data(np.ones(width, np.float32))
    rng = np.random.default_rng(seed)
    for name, sizes in matrices(shape):
        n_rows = math.prod(sizes[:-1])
        writer.write_tensor_data(random_rows(rng, format_of(name, mixture, shape), n_rows, sizes[-1]))
    writer.close()


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    writable = set(FORMATS) - {"Q2_0"}  # which `gguf` 0.19 does not know
    parser.add_argument("format", choices=[*sorted(writable), "Q4_K_M"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with atomic_path(arguments.out) as partial:
        write(SHAPES[arguments.shape], arguments.format, partial, arguments.seed, arguments.vocabulary)


if __name__ == "__main__":
    main()
