"""Tiny valid models for the tests, written with `gguf`'s own writer (an implementation that is not ours).

    tiny_model.write(path)                                      llama, float32, byte-level BPE vocabulary
    tiny_model.write(path, arch="gemma3", weight_format="Q8_0") gemma3, SentencePiece vocabulary

The weights are random but seeded, and each tensor depends only on `seed`, its shape and its name, so the same
arguments always give the same file. Matrices are stored in `weight_format`; norms stay float32, as in real
files. Rows are 64 values wide, or 256 for the K formats, whose blocks hold 256.
"""

import zlib
from pathlib import Path

import gguf
import numpy as np

HEADS, KV_HEADS = 4, 2
LLAMA_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA_MERGES = [
    "Ġ t", "h e", "i n", "Ġ a", "e r", "o n", "Ġt he", "r e", "Ġ s", "a t", "Ġ c", "o r", "e n", "a n",
    "in g", "Ġ w", "o u", "Ġa n", "Ġan d", "i s", "l l", "Ġ is", "er e", "he ll",
]  # fmt: skip
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
GEMMA_USER_DEFINED = ["\n\n", "  "]
GEMMA_MERGED = [
    "▁t", "he", "in", "▁a", "er", "on", "▁the", "re", "▁s", "at", "▁c", "or", "en", "an", "ing",
    "▁an", "▁and",
]  # fmt: skip
GEMMA_LETTERS = "▁etaoinsrhldcumfpgwybvkxjqzETAOINS.,é"


def write(
    path: str | Path,
    arch: str = "llama",
    weight_format: str = "F32",
    *,
    seed: int = 0,
    n_layers: int | None = None,
    n_embd: int | None = None,
    n_ff: int | None = None,
    n_ctx: int = 128,
    tied: bool | None = None,
) -> Path:
    """Writes a tiny model and returns its path.

    llama has 2 layers and an output head of its own; gemma3 has 6 (5 local layers with a window of 8, then a
    global one) and shares its embedding with the head. `tied` overrides the latter.
    """
    wide = weight_format.endswith("_K")
    n_embd = n_embd or (256 if wide else 64)
    n_ff = n_ff or 2 * n_embd
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    if arch == "llama":
        n_layers = n_layers or 2
        head_dim = n_embd // HEADS
        writer.add_rope_freq_base(10000.0)
        writer.add_rope_dimension_count(head_dim)
        n_vocab = _add_llama_vocabulary(writer)
        writer.add_vocab_size(n_vocab)
    elif arch == "gemma3":
        n_layers = n_layers or 6
        head_dim = n_embd // 2  # independent of n_embd / n_head, as in the real model
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
        writer.add_rope_freq_base(1000000.0)
        writer.add_sliding_window(8)
        n_vocab = _add_gemma_vocabulary(writer)
    else:
        raise ValueError(f"tiny_model knows llama and gemma3, not {arch!r}")
    writer.add_block_count(n_layers)

    if tied is None:
        tied = arch == "gemma3"
    for name, (shape, spread) in _tensors(arch, n_vocab, n_embd, n_ff, n_layers, head_dim, tied).items():
        _add_tensor(writer, name, shape, spread, weight_format, seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def _tensors(
    arch: str, n_vocab: int, n_embd: int, n_ff: int, n_layers: int, head_dim: int, tied: bool
) -> dict[str, tuple[tuple[int, ...], float]]:
    """Name -> (NumPy shape, spread): the standard deviation of a matrix, the mean of a norm."""
    table: dict[str, tuple[tuple[int, ...], float]] = {}
    matrix_spread = n_embd**-0.5
    table["token_embd.weight"] = ((n_vocab, n_embd), 1.0 if arch == "llama" else 2 * matrix_spread)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        table[block + "attn_norm.weight"] = ((n_embd,), 1.0)
        table[block + "attn_q.weight"] = ((HEADS * head_dim, n_embd), matrix_spread)
        table[block + "attn_k.weight"] = ((KV_HEADS * head_dim, n_embd), matrix_spread)
        table[block + "attn_v.weight"] = ((KV_HEADS * head_dim, n_embd), matrix_spread)
        table[block + "attn_output.weight"] = ((n_embd, HEADS * head_dim), (HEADS * head_dim) ** -0.5)
        if arch == "gemma3":
            table[block + "attn_q_norm.weight"] = ((head_dim,), 1.0)
            table[block + "attn_k_norm.weight"] = ((head_dim,), 1.0)
            # The branches must outweigh the tied embedding, or the output only repeats the input.
            # The branches must outweigh the tied embedding, or the output only repeats the input.
            table[block + "post_attention_norm.weight"] = ((n_embd,), 3.0)
            table[block + "post_ffw_norm.weight"] = ((n_embd,), 3.0)
        table[block + "ffn_norm.weight"] = ((n_embd,), 1.0)
        table[block + "ffn_gate.weight"] = ((n_ff, n_embd), matrix_spread)
        table[block + "ffn_up.weight"] = ((n_ff, n_embd), matrix_spread)
        table[block + "ffn_down.weight"] = ((n_embd, n_ff), 2 * n_ff**-0.5)
    table["output_norm.weight"] = ((n_embd,), 1.0)
    if not tied:
        table["output.weight"] = ((n_vocab, n_embd), 4 * matrix_spread)
    return table


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], spread: float, weight_format: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if len(shape) == 1:
        writer.add_tensor(name, (spread * rng.uniform(0.8, 1.2, shape)).astype(np.float32))
        return
    qtype = gguf.GGMLQuantizationType[weight_format]
    values = (spread * rng.standard_normal(shape)).astype(np.float32)
    if weight_format in _K_SCALES:
        rows = random_blocks(weight_format, values.size // 256, rng, spread).reshape(shape[0], -1)
    else:
        rows = gguf.quants.quantize(values, qtype)
    writer.add_tensor(name, rows, raw_dtype=qtype)


# `gguf` cannot quantize to the K formats, so their blocks are random bytes with float16 scales in a sane
# range: block bytes, offset of d, offset of dmin, and the d and dmin that give mean 0, deviation 1.
_K_SCALES: dict[str, tuple[int, int, int | None, float, float]] = {
    "Q4_K": (144, 0, 2, 1 / 260, 1 / 34.7),
    "Q5_K": (176, 0, 2, 1 / 525, 1 / 33.9),
    "Q6_K": (210, 208, None, 1 / 1400, 0.0),
}


def random_blocks(weight_format: str, n_blocks: int, rng: np.random.Generator, spread: float) -> np.ndarray:
    """uint8 (n_blocks * block bytes,): random blocks of a K format, deviating by about `spread` from zero."""
    n_bytes, at_d, at_dmin, d, dmin = _K_SCALES[weight_format]
    blocks = rng.integers(0, 256, (n_blocks, n_bytes), dtype=np.uint8)
    blocks[:, at_d : at_d + 2] = np.full((n_blocks, 1), d * spread, np.float16).view(np.uint8)
    if at_dmin is not None:
        blocks[:, at_dmin : at_dmin + 2] = np.full((n_blocks, 1), dmin * spread, np.float16).view(np.uint8)
    return blocks.reshape(-1)


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte: itself where printable, else the next from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _add_llama_vocabulary(writer: gguf.GGUFWriter) -> int:
    merged = [merge.replace(" ", "") for merge in LLAMA_MERGES]
    tokens = [*LLAMA_SPECIAL, *_byte_letters(), *merged]
    n_special = len(LLAMA_SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * n_special + [1] * (len(tokens) - n_special))
    writer.add_token_merges(LLAMA_MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    return len(tokens)


def _add_gemma_vocabulary(writer: gguf.GGUFWriter) -> int:
    pieces = [*GEMMA_MERGED, *GEMMA_LETTERS]
    tokens = [*GEMMA_SPECIAL, *GEMMA_USER_DEFINED, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [3, 3, 3, 2, 3, 3] + [4] * len(GEMMA_USER_DEFINED) + [6] * 256 + [1] * len(pieces)
    n_unscored = len(tokens) - len(pieces)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * n_unscored + [-float(rank) for rank in range(len(pieces))])
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    return len(tokens)
