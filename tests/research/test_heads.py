"""Heads: what each adds to a logit, where it looks, and which ways its output takes."""

import architecture_fixtures
import numpy as np
import pytest
import tiny_model

import nybble
from nybble import RequestError, research

IDS = np.random.default_rng(3).integers(0, 64, 12).astype(np.int32)
CORRUPTED = np.where(np.arange(12) == 4, (IDS + 1) % 64, IDS)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with nybble.LLM(tiny_model.write(tmp_path_factory.mktemp("heads") / "m.gguf"), n_ctx=32) as llm:
        yield llm


def metric(logits):
    return float(logits[5] - logits[9])


def test_the_share_of_a_head_by_the_book(llm):
    found = research.logit_attribution(llm, IDS, token=5, over=9, positions=[3, 11], by_head=True)
    trace = llm.trace(IDS, ["blk.1.attn_heads", "blk.1.resid_post"])
    with nybble.load_gguf(llm.path) as file:
        matrix, head, norm = (
            file.tensors[f"{name}.weight"].dequantize().astype(np.float64)
            for name in ("blk.1.attn_output", "output", "output_norm")
        )
    last = trace["blk.1.resid_post"][[3, 11]].astype(np.float64)
    direction = (head[5] - head[9]) * norm / np.sqrt(np.mean(last**2, axis=1, keepdims=True) + 1e-5)
    for i in range(4):
        columns = slice(16 * i, 16 * (i + 1))
        added = trace["blk.1.attn_heads"][[3, 11], columns] @ matrix[:, columns].T
        expected = (added * direction).sum(axis=1)
        np.testing.assert_allclose(found.values[found.names.index(f"blk.1.head.{i}")], expected, rtol=1e-4)
        np.testing.assert_allclose(found.heads[1][i], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["bitnet", "cohere2", "deepseek2", "gemma2", "gemma3", "qwen35"])
def test_heads_add_up_to_what_attention_adds(name, tmp_path):
    """Through a matrix, norms after it or before it, gates, latent vectors; side by side with the rest."""
    path = architecture_fixtures.write(tmp_path / "m.gguf", architecture_fixtures.description(name))
    with nybble.LLM(path, n_ctx=16, executor="reference") as llm:
        n_heads = llm.config.n_heads
        whole = research.logit_attribution(llm, IDS, token=5)
        parts = research.logit_attribution(llm, IDS, token=5, by_head=True)
        rounding = {layer: share_rounding(llm, layer, token=5) for layer in parts.heads}
    assert parts.heads and all(len(shares) == n_heads for shares in parts.heads.values())
    np.testing.assert_allclose(parts.total, whole.total, rtol=1e-6)
    for layer, shares in parts.heads.items():
        assert rounding[layer] < 0.01 * abs(shares).sum()  # a head that is left out would show
        if f"blk.{layer}.attn" in parts.names:  # else the feed-forward half is left too
            left = parts.values[parts.names.index(f"blk.{layer}.attn")]
            assert abs(left[0]) <= rounding[layer]


def share_rounding(llm, layer, token):
    """What float32 may add to the share of a layer's attention in a logit, whatever the order of sums: eps
    for each of the n products of a sum, and for the addition to the residual stream."""
    name = f"blk.{layer}.attn_heads"
    path = llm.linear_path(name)
    found = llm.trace(IDS, ["blk.*.resid_*", name, *path.needs])
    streams = [key for key in found if ".resid_" in key]
    (direction,) = llm.unembedding.directions(np.array([token]), found[streams[-1]][-1:])[0]
    back = path.pull_back(direction[None], {key: found[key][-1:] for key in path.needs})[0]
    products = np.abs(back * found[name][-1])
    stream = next(key for key in streams if key in (f"blk.{layer}.resid_mid", f"blk.{layer}.resid_post"))
    magnitude = len(products) * products.sum() + np.abs(direction) @ np.abs(found[stream][-1])
    return np.finfo(np.float32).eps * magnitude


def test_a_way_that_is_not_linear_is_refused(llm):
    with pytest.raises(
        RequestError, match=r"blk\.0\.ffn_gate does not come .* linear way: blk\.0\.ffn_act is"
    ):
        llm.linear_path("blk.0.ffn_gate")
    with pytest.raises(RequestError, match="does not come to the residual stream"):
        llm.linear_path("logits")


def test_attention_maps(llm):
    found = research.attention_maps(llm, IDS, [1])
    name = "blk.1.attn_probs"
    assert found.layers[1].tobytes() == llm.trace(IDS, name)[name].swapaxes(0, 1).tobytes()
    assert found.layers[1].shape == (4, 12, 12) and found.tokens == research.token_texts(llm, IDS)
    assert list(research.attention_maps(llm, IDS).layers) == [0, 1]
    with pytest.raises(RequestError, match=r"layer 2 has no attention; those that have are \[0, 1\]"):
        research.attention_maps(llm, IDS, [2])


def test_with_nothing_frozen_heads_are_patched_as_such(llm):
    found = research.path_patch_sweep(llm, IDS, CORRUPTED, metric, frozen=())
    assert found.names == ["blk.0.attn_heads", "blk.1.attn_heads"] and found.effects.shape == (2, 4)
    source = llm.trace(IDS, "blk.0.attn_heads")["blk.0.attn_heads"]

    def patch(value, info):
        value[:, 32:48] = source[info.positions, 32:48]

    patched = llm.trace(CORRUPTED, edit={"blk.0.attn_heads": patch}, logits="last").logits[0]
    expected = (metric(patched) - found.corrupted) / (found.clean - found.corrupted)
    assert found.effects[0, 2] == expected != 0


def test_a_direct_path_adds_to_the_last_residual_stream(llm):
    """With all else frozen the head's change goes past all blocks to the last norm."""
    name, end = "blk.0.attn_heads", "blk.1.resid_post"
    found = research.path_patch_sweep(
        llm, IDS, CORRUPTED, metric, name, frozen=["blk.*.attn_heads", "blk.*.ffn_out"]
    )
    source, base = llm.trace(IDS, name), llm.trace(CORRUPTED, [name, end])
    with nybble.load_gguf(llm.path) as file:
        matrix = file.tensors["blk.0.attn_output.weight"].dequantize()
    for head in range(4):
        columns = slice(16 * head, 16 * (head + 1))
        change = (source[name] - base[name])[-1:, columns] @ matrix[:, columns].T
        logits = llm.unembed(base[end][-1:] + change)[0]
        expected = (metric(logits) - metric(llm.unembed(base[end][-1:])[0])) / (found.clean - found.corrupted)
        assert found.effects[0, head] == pytest.approx(expected, abs=1e-4)


def test_paths_to_receivers(llm):
    """What arrives at the receivers is put into another run; heads of a receiver apart are all of it."""
    inputs = ["blk.1.q_rope", "blk.1.k_rope", "blk.1.v"]
    found = research.path_patch_sweep(llm, IDS, CORRUPTED, metric, "blk.0.attn_heads", inputs, frozen=())
    name = "blk.0.attn_heads"
    source, held = llm.trace(IDS, name), llm.trace(CORRUPTED, [name, "blk.1.resid_mid"])

    def patch(value, info):
        value[:, :16] = source[name][info.positions, :16]

    arrived = llm.trace(CORRUPTED, inputs, {name: patch})
    edit = {end: lambda value, info: arrived[info.name][info.positions] for end in inputs}
    logits = llm.trace(CORRUPTED, edit=edit, logits="last").logits[0]
    expected = (metric(logits) - found.corrupted) / (found.clean - found.corrupted)
    assert found.effects[0, 0] == expected and held[name].shape == (12, 64)
    heads = [("blk.1.q_rope", head) for head in range(4)]
    apart, whole = (
        research.path_patch_sweep(llm, IDS, CORRUPTED, metric, name, ends, frozen=())
        for ends in (heads, ["blk.1.q_rope"])
    )
    assert apart.effects.tobytes() == whole.effects.tobytes()
    one = research.path_patch_sweep(llm, IDS, CORRUPTED, metric, name, [("blk.1.q_rope", 3)])
    assert not np.array_equal(one.effects, whole.effects)


def test_where_senders_are_patched(llm):
    before, at, everywhere = (
        research.path_patch_sweep(llm, IDS, CORRUPTED, metric, frozen=(), positions=positions).effects
        for positions in ([0, 1, 2, 3], [4], None)
    )
    assert not before.any(), "before the difference nothing can matter"
    assert at.any() and not np.array_equal(at, everywhere)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corrupted": IDS[:5]}, "the same number of tokens"),
        ({"corrupted": IDS}, "no difference to explain"),
        (
            {"senders": "blk.1.attn_heads", "receivers": ["blk.0.q"]},
            "no sender is computed before a receiver",
        ),
        ({"senders": "blk.1.atn_heads"}, "the nearest are blk.1.attn_heads"),
        ({"receivers": [("blk.1.q", 4)]}, "blk.1.q has 4 heads; there is no head 4"),
        ({"receivers": ["blk.1.attn_probs"]}, "cannot be patched by head"),
    ],
)
def test_bad_requests(llm, arguments, message):
    with pytest.raises(RequestError, match=message):
        research.path_patch_sweep(
            llm, **{"clean": IDS, "corrupted": CORRUPTED, "metric": metric, **arguments}
        )
