"""Metadata to `Config`: defaults, derived values, per-layer arrays, and what is refused."""

import forge
import numpy as np
import pytest
from forge import BOOL, FLOAT32, I32, STRING, U32, U64, GGUFForge

from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.config.keys import KEYS
from nybble.engine.config.read import read_config
from nybble.errors import GGUFUnsupportedError, ModelError
from nybble.gguf_io.file import load_gguf

LLAMA = {
    "context_length": 2048,
    "embedding_length": 64,
    "block_count": 3,
    "feed_forward_length": 128,
    "attention.head_count": 4,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "vocab_size": 100,
}
GEMMA3 = LLAMA | {"attention.sliding_window": 16}


def metadata(architecture, values):
    made = GGUFForge().set("general.architecture", architecture)
    for name, value in values.items():
        made.set(f"{architecture}.{name}", value, FLOAT32 if isinstance(value, float) else None)
    return made


@pytest.fixture
def config_of(tmp_path):
    def read(made, architecture="llama"):
        path = tmp_path / "model.gguf"
        path.write_bytes(made.build())
        found = ARCHITECTURES[architecture]
        with load_gguf(path) as file:
            return read_config(file, architecture, found.keys, found.inert)

    return read


def test_defaults_follow_from_the_rest(config_of):
    c = config_of(metadata("llama", LLAMA))
    assert (c.n_ctx_train, c.n_embd, c.n_layers, c.n_ff, c.n_heads) == (2048, 64, 3, 128, 4)
    assert (c.n_kv_heads, c.head_dim, c.rope.n_rot, c.n_vocab) == (4, 16, 16, 100)
    assert (c.q_width, c.kv_width) == (64, 64)
    assert (c.rope.freq_base, c.rope.scale) == (10000.0, 1.0)
    assert c.norm_eps == np.float32(1e-5)
    assert c.sliding_layers == (False, False, False)


def test_what_the_file_says_wins(config_of):
    more = {
        "attention.head_count_kv": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "rope.dimension_count": 8,
        "rope.freq_base": 500000.0,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0,
    }
    c = config_of(metadata("llama", LLAMA | more))
    assert (c.n_kv_heads, c.head_dim, c.rope.n_rot, c.q_width, c.kv_width) == (2, 32, 8, 128, 64)
    assert (c.rope.freq_base, c.rope.scale) == (500000.0, 8.0)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({"rope.scaling.factor": 4.0}, 4.0),
        ({"rope.scale_linear": 2.0}, 2.0),
        ({"rope.scaling.factor": 4.0, "rope.scale_linear": 2.0}, 4.0),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, 1.0),
    ],
)
def test_rope_scaling(config_of, keys, factor):
    assert config_of(metadata("llama", LLAMA | keys)).rope.scale == factor


def test_the_tokens_count_where_there_are_some(config_of, caplog):
    made = metadata("llama", LLAMA).set("tokenizer.ggml.tokens", ["a", "b", "c"])
    assert config_of(made).n_vocab == 3
    assert "vocab_size is 100, but there are 3 tokens" in caplog.text
    caplog.clear()
    assert config_of(made.remove("llama.vocab_size")).n_vocab == 3
    assert not caplog.text


def test_a_vocabulary_of_unknown_size_is_refused(config_of):
    with pytest.raises(ModelError, match=r"neither vocab_size nor tokenizer\.ggml\.tokens"):
        config_of(metadata("llama", LLAMA).remove("llama.vocab_size"))


@pytest.mark.parametrize(
    ("pattern", "array_of", "expected"),
    [
        (None, None, (True, True, True)),
        (2, None, (True, False, True)),
        (1, None, (False, False, False)),
        (0, None, (True, True, True)),
        ([1, 0, 1], U32, (True, False, True)),
        ([False, True, False], BOOL, (False, True, False)),
    ],
)
def test_sliding_layers(config_of, pattern, array_of, expected):
    made = metadata("gemma3", GEMMA3)
    if pattern is not None:
        made.set("gemma3.attention.sliding_window_pattern", pattern, array_of=array_of)
    assert config_of(made, "gemma3").sliding_layers == expected


def test_no_window_no_sliding_layers(config_of):
    assert config_of(metadata("gemma3", LLAMA), "gemma3").sliding_layers == (False, False, False)


@pytest.mark.parametrize("key", ["feed_forward_length", "attention.head_count", "attention.head_count_kv"])
def test_equal_values_per_layer_are_one_value(config_of, key):
    made = metadata("llama", LLAMA | {"attention.head_count_kv": 4}).set(
        f"llama.{key}", [4, 4, 4], array_of=I32
    )
    assert getattr(config_of(made), KEYS[key].field) == 4


@pytest.mark.parametrize(
    ("values", "array_of", "error", "message"),
    [
        ([4, 4, 2], U32, GGUFUnsupportedError, "llama.attention.head_count differs from layer to layer"),
        ([4, 4], U32, ModelError, "llama.attention.head_count has 2 values for 3 layers"),
        ([4, 0, 4], U32, ModelError, "llama.attention.head_count is 0, must be 1 to 65536"),
        ([4.0] * 3, FLOAT32, ModelError, "wrong type: must be integer, found f32"),
        (["4"] * 3, STRING, ModelError, "wrong type: must be integer, found string"),
        ([True] * 3, BOOL, ModelError, "wrong type: must be integer, found bool"),
    ],
)
def test_arrays_that_do_not_fit(config_of, values, array_of, error, message):
    with pytest.raises(error, match=message):
        config_of(metadata("llama", LLAMA).set("llama.attention.head_count", values, array_of=array_of))


def test_an_array_for_a_scalar_is_refused(config_of):
    with pytest.raises(ModelError, match=r"llama.embedding_length has the wrong type: .* found u32\[\]"):
        config_of(metadata("llama", LLAMA).set("llama.embedding_length", [64, 64, 64], array_of=U32))


@pytest.mark.parametrize("key", [key for key, spec in KEYS.items() if spec.type != "text" and key in LLAMA])
@pytest.mark.parametrize("value_type", [BOOL, STRING])
def test_wrong_types_name_the_key(config_of, key, value_type):
    value = "4" if value_type == STRING else True
    with pytest.raises(ModelError, match=f"llama.{key} has the wrong type"):
        config_of(metadata("llama", LLAMA).set(f"llama.{key}", value, value_type))


def test_any_width_of_integer_will_do(config_of):
    made = (
        metadata("llama", LLAMA).set("llama.embedding_length", 128, U64).set("llama.block_count", 2, forge.U8)
    )
    assert (config_of(made).n_embd, config_of(made).n_layers) == (128, 2)


@pytest.mark.parametrize("key", [key for key in LLAMA if key != "vocab_size"])
def test_required_keys(config_of, key):
    with pytest.raises(ModelError, match=f"lacks 'llama.{key}'"):
        config_of(metadata("llama", LLAMA).remove(f"llama.{key}"))


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"expert_shared_count": 2}, r"'llama\.expert_shared_count' \(2\)"),
        ({"rope.scaling.type": "spiral"}, r"rope\.scaling\.type 'spiral'"),
        ({"rope.scaling.yarn_log_multiplier": 0.5}, r"'llama\.rope\.scaling\.yarn_log_multiplier' \(0\.5\)"),
        ({"logit_scale": 0.5}, r"'llama\.logit_scale'"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"attention.causal": False}, r"attention\.causal' \(False\)"),
        ({"some.new.trick": 1}, r"'llama\.some\.new\.trick' \(1\)"),
        ({"some.list": [1, 2]}, r"'llama\.some\.list' \(a u32\[\]\)"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(config_of, keys, named):
    made = metadata("llama", {key: value for key, value in (LLAMA | keys).items() if key != "some.list"})
    if "some.list" in keys:
        made.set("llama.some.list", keys["some.list"], array_of=U32)
    with pytest.raises(GGUFUnsupportedError, match=named):
        config_of(made)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"expert_count": 8}, "expert_used_count is 0, must be 1 to 8"),
        ({"expert_count": 2, "expert_used_count": 3}, "expert_used_count is 3, must be 1 to 2"),
        ({"nextn_predict_layers": 3}, "nextn_predict_layers 3 leaves no layer"),
    ],
)
def test_contradictions(config_of, keys, message):
    with pytest.raises(ModelError, match=message):
        config_of(metadata("llama", LLAMA | keys))


def test_neutral_and_inert_keys_pass(config_of):
    keys = {
        "expert_count": 0,
        "attention.causal": True,
        "logit_scale": 1.0,
        "tensor_data_layout": "Meta AI original pth",
        "attention.sliding_window": 4096,
    }
    assert config_of(metadata("llama", LLAMA | keys)).sliding_window == 0
    with pytest.raises(GGUFUnsupportedError, match=r"gemma3\.attention\.sliding_windows"):
        config_of(metadata("gemma3", LLAMA | {"attention.sliding_windows": 4096}), "gemma3")


def test_keys_of_other_prefixes_are_nobodys_business(config_of):
    config_of(metadata("llama", LLAMA).set("general.sampling.temp", 0.5, FLOAT32).set("llamas.trick", 1))
