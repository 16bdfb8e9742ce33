"""Activations of the real models: against those that llama.cpp computes, and as interventions need them.

`record_activations.py` has recorded llama.cpp's (float16, SmolLM2, 8 tokens, three layers). Both engines
round activations to 8 bits, each in its way, and that adds up from layer to layer: the errors, the mean
square of a token's difference in units of its own, grow from 1e-7 to some 1e-2.
"""

import re

import golden_data
import numpy as np
import pytest

import nybble

RECORDED = golden_data.FOLDER / "smollm2_activations.npz"


@pytest.fixture(scope="module")
def smollm2(smollm2_path):
    with nybble.LLM(smollm2_path, n_ctx=128) as llm:
        yield llm


@pytest.mark.parametrize(("executor", "first"), [("numba", 1e-4), ("reference", 4e-4)])
def test_llama_cpp_has_the_same_inside(smollm2_path, executor, first):
    with np.load(RECORDED) as file:
        recorded = {name: file[name] for name in file}
    ids = recorded.pop("ids")
    with nybble.LLM(smollm2_path, n_ctx=32, executor=executor) as llm:
        assert llm.tokenizer.decode(ids.tolist()) == "When Mary and John went to the store"
        trace = llm.trace(ids, capture=list(recorded))
    for name, value in recorded.items():
        expected, found = (x.reshape(len(ids), -1).astype(np.float64) for x in (value, trace[name]))
        error = ((found - expected) ** 2).sum(axis=1) / (expected**2).sum(axis=1)
        assert error.max() < (first if name.startswith("blk.0.") else 2e-2), name


PRODUCTS = re.compile(r"(blk\.\d+\.)?(q|k|v|attn_out|ffn_gate|ffn_up|ffn_out|logits)")


@pytest.mark.parametrize("model", ["smollm2_path", "gemma3_path"])
def test_both_executors_have_the_same_inside(request, model):
    """Every activation, run freely, and each computed from the reference's: products of 8-bit activations are
    near, attention with keys and values in float16 nearer, the rest is rounding in float32."""
    path = request.getfixturevalue(model)
    ids = np.random.default_rng(0).integers(100, 5000, 8)
    with nybble.LLM(path, n_ctx=8, executor="reference") as llm:
        expected = llm.trace(ids, "*")
    alone = {}

    def replace(value, info):
        alone[info.name] = value.copy()
        return expected[info.name]

    with nybble.LLM(path, n_ctx=8) as llm:
        assert list(expected) == list(llm.activations)
        free = llm.trace(ids, "*")
        llm.trace(ids, edit={"*": replace})
        assert len(alone) == len({spec.buffer for spec in llm.activations.values()})
    for name, value in expected.items():
        bound = 2e-3 if PRODUCTS.fullmatch(name) else 1e-5
        for found, limit in ((free, 2e-2), (alone, bound)):
            if name in found:
                error = ((found[name].astype(np.float64) - value) ** 2).sum()
                assert error <= limit * (value.astype(np.float64) ** 2).sum(), name  # NaN fails


def test_a_residual_stream_from_another_run_brings_its_logits(smollm2):
    text = "When Mary and John went to the store, {} gave a drink to"
    mary, john = (smollm2.trace(text.format(name), "blk.11.resid_post") for name in ("Mary", "John"))
    name = "blk.11.resid_post"
    found = smollm2.logits(mary.ids, edit={name: lambda value, info: john[name][info.positions]})
    assert found.tobytes() == john.logits.tobytes() != mary.logits.tobytes()


def test_an_ablated_head_is_gone(smollm2):
    """Its part of attn_out is what the output matrix makes of its 64 columns."""

    def ablate(value, info):
        value[:, 64:128] = 0

    ids = smollm2.tokenizer.encode("The capital of France is")
    names = ["blk.3.attn_heads", "blk.3.attn_out"]
    plain, edited = smollm2.trace(ids, names), smollm2.trace(ids, names, {"blk.3.attn_heads": ablate})
    assert not edited.heads(names[0])[:, 1].any()
    with nybble.load_gguf(smollm2.path) as file:
        matrix = file.tensors["blk.3.attn_output.weight"].dequantize()
    expected = plain.heads(names[0])[:, 1] @ matrix[:, 64:128].T
    found = plain[names[1]] - edited[names[1]]
    assert ((found - expected) ** 2).sum() < 1e-3 * (expected**2).sum()


def test_gemma_steered_says_something_else_and_then_as_before(gemma3_path):
    params = nybble.SamplingParams(max_tokens=8)
    with nybble.LLM(gemma3_path, n_ctx=64) as llm:
        plain = llm.generate("The capital of France is", params)
        trace = llm.trace("I hate this. It is awful.", "blk.9.resid_post", logits=None)
        vector = trace["blk.9.resid_post"][-1]

        def steer(value, info):
            value += vector

        steered = llm.generate("The capital of France is", params, edit={"blk.9.resid_post": steer})
        assert steered.token_ids != plain.token_ids
        assert llm.generate("The capital of France is", params).token_ids == plain.token_ids
