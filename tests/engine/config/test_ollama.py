"""Files as Ollama makes them: other names than llama.cpp's, and what sees and hears in the same file."""

import logging

import architecture_fixtures
import numpy as np
import pytest

from nybble import GGUFUnsupportedError, ModelError
from nybble.engine.check import examine
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.gguf_io.file import load_gguf

IDS = np.array([1, 2, 3, 5, 8, 13], np.int32)

SEEING = {
    "v.blk.0.attn_q.weight": [24, 24],
    "v.patch_embd.weight": [24, 3, 2, 2],
    "mm.input_projection.weight": [24, 32],
}
KEYS_OF_SEEING = {
    "vision.block_count": ["UINT32", 1],
    "vision.attention.head_count": ["UINT32", 2],
    "vision.image_mean": ["ARRAY FLOAT32", [0.5, 0.5, 0.5]],
    "mm.tokens_per_image": ["UINT32", 256],
    "image_token_id": ["UINT32", 7],
    "spatial_merge_size": ["UINT32", 2],
}


def logits(path, made):
    model = Model.load(architecture_fixtures.write(path / "model.gguf", made))
    executor = ReferenceExecutor(model.plan, n_ctx=8)
    found = single_seat(executor).forward(IDS, 0, np.arange(len(IDS)))
    executor.close()
    model.close()
    return found


def prefixed(made, keys):
    return {f"{made['metadata']['general.architecture'][1]}.{key}": value for key, value in keys.items()}


def seeing(made):
    keys = prefixed(made, KEYS_OF_SEEING)
    return made | {"metadata": made["metadata"] | keys, "tensors": made["tensors"] | SEEING}


@pytest.mark.parametrize("name", ["gemma3", "llama4", "mistral3", "qwen2vl", "qwen35", "qwen3vl", "gemma4"])
def test_a_text_model_runs_beside_what_sees(name, tmp_path, caplog):
    made = architecture_fixtures.description(name)
    plain = logits(tmp_path, made)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(logits(tmp_path, seeing(made)), plain)
    (record,) = caplog.records
    assert "the tensors mm.*, v.* see or hear, and are left aside" in record.getMessage()


def test_an_inspected_file_runs_and_says_what_is_left_aside(tmp_path, caplog):
    path = architecture_fixtures.write(
        tmp_path / "model.gguf", seeing(architecture_fixtures.description("gemma3"))
    )
    with load_gguf(path) as file:
        assert examine(file).problems == ()
    assert [record.getMessage().count("left aside") for record in caplog.records] == [1]


def test_a_projector_alone_or_another_stranger_is_not_passed_over(tmp_path):
    made = architecture_fixtures.description("gemma3")
    made["tensors"] |= {"vision.extra.weight": [8, 8]}
    with pytest.raises(ModelError, match=r"tensor vision\.extra\.weight would not be used"):
        logits(tmp_path, made)


def renamed(name, architecture, keys, tensors):
    """The model `name` with other names for the architecture, keys, and what tensors' names end with."""
    made = architecture_fixtures.description(name)
    old = made["metadata"]["general.architecture"][1]

    def key_name(key):
        rest = key.removeprefix(f"{old}.")
        return key if rest == key else f"{architecture}.{keys.get(rest, rest)}"

    def tensor_name(tensor):
        for end, new in tensors.items():
            tensor = tensor.removesuffix(end) + new if tensor.endswith(end) else tensor
        return tensor

    metadata = {key_name(key): value for key, value in made["metadata"].items()}
    return metadata | {"general.architecture": ["STRING", architecture]}, made, tensor_name


@pytest.mark.parametrize(
    ("name", "architecture", "keys", "tensors"),
    [
        ("qwen2vl", "qwen25vl", {"rope.dimension_sections": "rope.mrope_section"}, {}),
        ("olmo2", "olmo3", {}, {}),
        ("gemma3", "gemma3", {"rope.freq_base": "rope.global.freq_base"}, {}),
        ("gemma3n", "gemma3n", {"rope.freq_base_swa": "rope.freq_base_local"}, {}),
        ("qwen35", "qwen35", {}, {".ssm_dt.bias": ".ssm_dt"}),
        ("lfm2", "lfm2", {}, {"token_embd_norm.weight": "output_norm.weight"}),
        (
            "nemotron_h_moe-latent",
            "nemotron_h_moe",
            {},
            {"_latent_down.weight": "_latent_in.weight", "_latent_up.weight": "_latent_out.weight"},
        ),
        (
            "gpt-oss-yarn",
            "gptoss",
            {},
            {
                ".attn_output.weight": ".attn_out.weight",
                ".attn_output.bias": ".attn_out.bias",
                ".attn_sinks.weight": ".attn_sinks",
                ".post_attention_norm.weight": ".ffn_norm.weight",
            },
        ),
    ],
)
def test_other_names(name, architecture, keys, tensors, tmp_path, monkeypatch):
    metadata, made, tensor_name = renamed(name, architecture, keys, tensors)
    plain = logits(tmp_path, made)
    weights = architecture_fixtures.weights  # of a tensor follow from its name in llama.cpp
    changed = {key.split(".", 1)[1] for key in set(metadata) ^ set(made["metadata"])}
    assert architecture not in name.split("-") or changed == {*keys, *keys.values()}
    old = {tensor_name(tensor): tensor for tensor in made["tensors"]}
    assert (set(old) != set(made["tensors"])) == bool(tensors)
    monkeypatch.setattr(architecture_fixtures, "weights", lambda name, shape: weights(old[name], shape))
    shapes = {new: made["tensors"][tensor] for new, tensor in old.items()}
    found = logits(tmp_path, made | {"metadata": metadata, "tensors": shapes})
    np.testing.assert_array_equal(found, plain)


def test_yarn_under_the_names_that_mistral3_had(tmp_path):
    made = architecture_fixtures.description("mistral3")
    yarn = {"type": ["STRING", "yarn"], "factor": ["FLOAT32", 8.0], "original_context_length": ["UINT32", 64]}
    shared = prefixed(made, {f"rope.scaling.{key}": value for key, value in yarn.items()})
    values = {"beta_fast": 16.0, "beta_slow": 2.0, "log_multiplier": 1.0}
    new = prefixed(made, {f"rope.scaling.yarn_{key}": ["FLOAT32", value] for key, value in values.items()})
    old = prefixed(
        made,
        {
            "rope.scaling.beta_fast": ["FLOAT32", 16.0],
            "rope.scaling.beta_slow": ["FLOAT32", 2.0],
            "rope.scaling.mscale_all_dim": ["FLOAT32", 1.0],
        },
    )
    plain = {key: value for key, value in made["metadata"].items() if "rope.scaling" not in key} | shared
    expected = logits(tmp_path, made | {"metadata": plain | new})
    np.testing.assert_array_equal(logits(tmp_path, made | {"metadata": plain | old}), expected)
    assert not np.array_equal(logits(tmp_path, made | {"metadata": plain}), expected)


@pytest.mark.parametrize(
    ("name", "architecture", "key"),
    [("gpt-oss-yarn", "gptoss", "rope.scaling.type"), ("gemma3", "gemma3", "rope.freq_base")],
)
def test_what_the_text_needs_is_not_made_up(name, architecture, key, tmp_path):
    metadata, made, _ = renamed(name, architecture, {}, {})
    del metadata[f"{architecture}.{key}"]
    with pytest.raises(ModelError, match=f"lacks '{architecture}.{key}', which the model needs"):
        logits(tmp_path, seeing(made | {"metadata": metadata}))


def test_a_key_under_two_names_is_refused(tmp_path):
    made = architecture_fixtures.description("gemma3")
    made["metadata"]["gemma3.rope.local.freq_base"] = ["FLOAT32", 77.0]
    made["metadata"]["gemma3.rope.freq_base_swa"] = ["FLOAT32", 78.0]
    with pytest.raises(GGUFUnsupportedError, match=r"gemma3\.rope\.local\.freq_base"):
        logits(tmp_path, made)
