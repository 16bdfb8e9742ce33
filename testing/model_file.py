"""Writes the tiny model."""

import atexit
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..gguf_io.writer import write_gguf
from .vocabulary import is_text, vocabulary

_HEADS, _KV_HEADS, _HEAD_DIM = 4, 2, 16
_N_EMBD, _N_FF = _HEADS * _HEAD_DIM, 128


def tiny_model(
    path: str | os.PathLike[str] | None = None,
    *,
    n_layers: int = 2,
    n_ctx: int = 2048,
    seed: int = 0,
    chat_template: str | None = None,
) -> Path:
    """Writes a GGUF model of some 500 kB in a moment, without any network; -> its path.

        path = nybble.testing.tiny_model()
        with nybble.LLM(path) as llm:
            print(llm.generate("Once upon a time").text)

    The architecture is llama, with `n_layers` blocks and float32 weights that are random, but always the same
    for the same arguments; so is the file. What it says has no sense: printable ASCII, and now and then an
    end. Its vocabulary has all bytes, so any text comes back from its ids; its chat template (ChatML, with
    tools) may be replaced, "" for none. `n_ctx` is the context that the file says it was trained for.

    Without `path` it lies in a new temporary folder, which is removed when Python ends. Raises RequestError
    for a number below 1, and the system's error if the file cannot be written.
    """
    for name, value in (("n_layers", n_layers), ("n_ctx", n_ctx)):
        if not isinstance(value, int) or value < 1:
            raise RequestError(f"{name} must be an integer from 1 on, not {value!r:.100}")
    metadata = {
        "general.architecture": "llama",
        "general.name": "nybble's tiny model",
        "llama.context_length": n_ctx,
        "llama.embedding_length": _N_EMBD,
        "llama.feed_forward_length": _N_FF,
        "llama.block_count": n_layers,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": _HEAD_DIM,
        **vocabulary(),
    }
    if chat_template:
        metadata["tokenizer.chat_template"] = chat_template
    elif chat_template == "":
        del metadata["tokenizer.chat_template"]
    tokens = metadata["tokenizer.ggml.tokens"]
    metadata["llama.vocab_size"] = len(tokens)
    tensors = _tensors(len(tokens), n_layers, seed)
    silent = [i for i, token in enumerate(tokens) if not is_text(token) and token != "<|im_end|>"]
    tensors["output.weight"][silent] = 0  # their logits are 0, and one of so many others is always larger
    target = _temporary() if path is None else Path(os.path.expanduser(path))
    write_gguf(target, metadata, tensors)
    return target


def _tensors(n_vocab: int, n_layers: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Matrices are normal, with variance 1 / n_in; norms are 1."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (n_vocab, _N_EMBD)}
    n_kv = _KV_HEADS * _HEAD_DIM
    for block in (f"blk.{layer}." for layer in range(n_layers)):
        shapes[f"{block}attn_norm.weight"] = (_N_EMBD,)
        shapes[f"{block}attn_q.weight"] = (_N_EMBD, _N_EMBD)
        shapes[f"{block}attn_k.weight"] = shapes[f"{block}attn_v.weight"] = (n_kv, _N_EMBD)
        shapes[f"{block}attn_output.weight"] = (_N_EMBD, _N_EMBD)
        shapes[f"{block}ffn_norm.weight"] = (_N_EMBD,)
        shapes[f"{block}ffn_gate.weight"] = shapes[f"{block}ffn_up.weight"] = (_N_FF, _N_EMBD)
        shapes[f"{block}ffn_down.weight"] = (_N_EMBD, _N_FF)
    shapes |= {"output_norm.weight": (_N_EMBD,), "output.weight": (n_vocab, _N_EMBD)}
    return {name: _values(name, shape, seed) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    draws = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    return (draws * (3 * shape[1] ** -0.5)).astype(np.float32)


def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="nybble-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "tiny.gguf"
