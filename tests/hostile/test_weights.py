"""HOSTILE.md G95 and G96: weights that are no numbers are an error at the first logits, in both executors."""

import struct

import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble.errors import ModelError

IDS = [70, 71, 72, 73]
ERROR = "the model produced NaN or infinite logits at position"

each_executor = pytest.mark.parametrize("executor", ["numba", "reference"])
each_format = pytest.mark.parametrize("weight_format", ["Q4_0", "Q8_0", "Q4_K", "Q6_K"])


def embeddings(value):
    """G95: every value of the embedding."""

    def change(made):
        tensor = made.tensor("token_embd.weight")
        tensor.data = struct.pack("<f", value) * (len(tensor.data) // 4)

    return change


def block_scale(name, scale, row=0):
    """G96: the float16 scale of a row's first block, which Q4_0, Q8_0 and Q4_K have first and Q6_K last."""

    def change(made):
        tensor = made.tensor(name)
        _, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(tensor.type)]
        at = row * (len(tensor.data) // tensor.dims[1])
        at += n_bytes - 2 if tensor.type == gguf.GGMLQuantizationType.Q6_K else 0
        tensor.data = tensor.data[:at] + np.float16(scale).tobytes() + tensor.data[at + 2 :]

    return change


def load(tmp_path, executor, weight_format, change):
    """A tiny llama with the change."""
    path = tiny_model.write(tmp_path / "sound.gguf", weight_format=weight_format)
    made = GGUFForge.parse(path.read_bytes())
    change(made)
    path = tmp_path / "case.gguf"
    path.write_bytes(made.build())
    return nybble.LLM(path, executor=executor, n_ctx=16, n_threads=2)


def assert_noticed(llm):
    for work in (llm.generate, llm.logits, llm.generate):  # an error leaves a model that can be asked again
        with pytest.raises(ModelError, match=ERROR):
            work(IDS)


@each_executor
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_g95_damaged_embeddings(tmp_path, executor, value):
    with load(tmp_path, executor, "F32", embeddings(value)) as llm:
        with pytest.raises(ModelError, match=f"{ERROR} 0"):
            llm.logits(IDS)
        assert_noticed(llm)


@each_executor
@each_format
@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_g96_a_damaged_block_scale(tmp_path, executor, weight_format, scale):
    with load(tmp_path, executor, weight_format, block_scale("blk.0.ffn_down.weight", scale)) as llm:
        assert_noticed(llm)


@each_executor
@each_format
@pytest.mark.parametrize("name", ["token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.1.attn_v", "output"])
def test_g96_in_any_matrix(tmp_path, executor, weight_format, name):
    """Row 70, which is the embedding of a token in the prompt; the smaller matrices have fewer."""
    row = 70 if name in ("token_embd", "output") else 5
    with load(tmp_path, executor, weight_format, block_scale(f"{name}.weight", np.nan, row)) as llm:
        assert_noticed(llm)


@each_executor
@each_format
def test_g96_a_denormal_block_scale_is_a_number_like_others(tmp_path, executor, weight_format):
    with load(tmp_path, executor, weight_format, block_scale("blk.0.ffn_down.weight", 6e-8)) as llm:
        assert np.isfinite(llm.logits(IDS)).all()
        assert len(llm.generate(IDS, nybble.SamplingParams(max_tokens=4)).token_ids) >= 1
