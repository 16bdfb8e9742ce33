"""HOSTILE.md G71 to G94: sound containers with unsound hyperparameters or tensors, from a tiny llama."""

import dataclasses
import re
import time

import forge
import numpy as np
import pytest
import tiny_model
from forge import FLOAT32, I32, STRING, U32, GGUFForge

from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.errors import GGUFUnsupportedError, ModelError

MOD, UNS = ModelError, GGUFUnsupportedError
HUGE = 2**32 - 1
MAX_SECONDS = 1.0
"""Of processor time, so that a busy machine changes nothing."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two layers of 64 values, 4 heads on 2, 283 tokens, a head of its own."""
    return tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.gguf").read_bytes()


def key(name, value, type=None, array_of=None):
    """Sets `name`, which gets the architecture's prefix unless it has one."""
    if type is None and isinstance(value, float):
        type = FLOAT32
    full_name = name if name.startswith(("general.", "tokenizer.")) else f"llama.{name}"
    return lambda made: made.set(full_name, value, type, array_of)


def without_key(name):
    return lambda made: made.remove(name)


def without_tensor(name):
    return lambda made: made.drop_tensor(name)


def dims(name, *sizes):
    """Gives a float32 tensor other dimensions (GGUF order) and as many zeros."""

    def change(made):
        tensor = made.tensor(name)
        tensor.dims, tensor.data = list(sizes), bytes(forge.n_bytes(list(sizes), forge.F32))

    return change


def as_format(name, type):
    def change(made):
        tensor = made.tensor(name)
        tensor.type, tensor.data = type, bytes(forge.n_bytes(tensor.dims, type))

    return change


def extra(name, *sizes):
    return lambda made: made.add_tensor(name, list(sizes))


EPS = "attention.layer_norm_rms_epsilon"
Q, DOWN, NORM = "blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.1.ffn_norm.weight"

CASES = [
    ("G71-missing", without_key("general.architecture"), UNS, "general.architecture is ''; nybble runs"),
    ("G71-empty", key("general.architecture", ""), UNS, "general.architecture is ''"),
    (
        "G71-unknown",
        key("general.architecture", "llama9"),
        UNS,
        "architecture is 'llama9'; nybble runs .*gemma3.*llama",
    ),
    ("G71-format", key("general.architecture", "%s%s%n"), UNS, "architecture is '%s%s%n'"),
    ("G71-newline", key("general.architecture", "a\nb"), UNS, r"architecture is 'a\\nb'"),
    (
        "G72",
        key("general.architecture", 7, U32),
        MOD,
        "architecture has the wrong type: must be text, found u32",
    ),
    ("G72-bytes", key("general.architecture", b"\xff", STRING), MOD, "architecture has the wrong type"),
    ("G73-ctx", without_key("llama.context_length"), MOD, "lacks 'llama.context_length'"),
    ("G73-embd", without_key("llama.embedding_length"), MOD, "lacks 'llama.embedding_length'"),
    ("G73-layer", without_key("llama.block_count"), MOD, "lacks 'llama.block_count'"),
    ("G73-ff", without_key("llama.feed_forward_length"), MOD, "lacks 'llama.feed_forward_length'"),
    ("G73-head", without_key("llama.attention.head_count"), MOD, "lacks 'llama.attention.head_count'"),
    ("G73-eps", without_key(f"llama.{EPS}"), MOD, f"lacks 'llama.{EPS}'"),
    ("G74-zero", key("block_count", 0), MOD, "block_count is 0, must be 1 to 1024"),
    ("G74-million", key("block_count", 10**6), MOD, "block_count is 1000000, must be 1 to 1024"),
    ("G74-huge", key("block_count", HUGE), MOD, "block_count is 4294967295, must be"),
    ("G75", key("block_count", 3), MOD, r"tensor blk\.2\.attn_norm\.weight is missing"),
    ("G75-many", key("block_count", 1024), MOD, r"tensor blk\.2\.attn_norm\.weight is missing"),
    ("G76-negative", key("block_count", -1, I32), MOD, "block_count is -1, must be 1 to 1024"),
    (
        "G76-str",
        key("block_count", "2"),
        MOD,
        "block_count has the wrong type: must be integer, found string",
    ),
    ("G76-f32", key("block_count", 2.0), MOD, "block_count has the wrong type: must be integer, found f32"),
    (
        "G76-array",
        key("block_count", [2, 2], array_of=U32),
        MOD,
        r"block_count has the wrong type: .* found u32\[\]",
    ),
    ("G77-zero", key("attention.head_count", 0), MOD, "head_count is 0, must be"),
    ("G77-3", key("attention.head_count", 3), MOD, "head_count 3 is no multiple of head_count_kv 2"),
    ("G77-6", key("attention.head_count", 6), MOD, "embedding_length 64 is no multiple of head_count 6"),
    ("G77-5", key("attention.head_count", 5), MOD, "head_count 5 is no multiple"),
    ("G77-huge", key("attention.head_count", HUGE), MOD, "head_count is 4294967295, must be"),
    ("G77-8", key("attention.head_count", 8), MOD, "dimension_count is 16, must be even and at most 8"),
    ("G78-zero", key("attention.head_count_kv", 0), MOD, "head_count_kv is 0, must be"),
    ("G78-3", key("attention.head_count_kv", 3), MOD, "head_count 4 is no multiple of head_count_kv 3"),
    ("G78-8", key("attention.head_count_kv", 8), MOD, "head_count 4 is no multiple of head_count_kv 8"),
    (
        "G78-1",
        key("attention.head_count_kv", 1),
        MOD,
        r"attn_k\.weight is \(32, 64\), .* \(16, 64\) \(kv_width=16",
    ),
    (
        "G79-short",
        key("attention.head_count", [4], array_of=U32),
        MOD,
        "head_count has 1 values for 2 layers",
    ),
    (
        "G79-long",
        key("attention.head_count", [4] * 3, array_of=U32),
        MOD,
        "head_count has 3 values for 2 layers",
    ),
    ("G79-empty", key("attention.head_count", [], array_of=U32), MOD, "head_count has 0 values for 2 layers"),
    ("G80-zero", key("embedding_length", 0), MOD, "embedding_length is 0, must be"),
    (
        "G80-80",
        key("embedding_length", 80),
        MOD,
        r"token_embd\.weight is \(283, 64\), the metadata says \(283, 80\) \(n_vocab=283, n_embd=80\)",
    ),
    ("G80-32", key("embedding_length", 32), MOD, "dimension_count is 16, must be even and at most 8"),
    ("G80-65", key("embedding_length", 65), MOD, "embedding_length 65 is no multiple of head_count 4"),
    ("G80-huge", key("embedding_length", 2**31), MOD, "embedding_length is 2147483648, must be"),
    ("G81-zero", key("feed_forward_length", 0), MOD, "feed_forward_length is 0, must be"),
    (
        "G81-96",
        key("feed_forward_length", 96),
        MOD,
        r"ffn_gate\.weight is \(128, 64\), .* \(96, 64\) \(n_ff=96",
    ),
    ("G82-zero", key("context_length", 0), MOD, "context_length is 0, must be 1 to 4294967295"),
    ("G83-nan", key(EPS, float("nan")), MOD, "epsilon is nan, must be finite, above 0 and at most 1"),
    ("G83-negative", key(EPS, -1.0), MOD, r"epsilon is -1\.0, must be finite, above 0"),
    ("G84-inf", key(EPS, float("inf")), MOD, "epsilon is inf, must be finite"),
    ("G84-zero", key(EPS, 0.0), MOD, r"epsilon is 0\.0, must be finite, above 0"),
    ("G85-nan", key("rope.freq_base", float("nan")), MOD, "freq_base is nan, must be finite"),
    ("G85-inf", key("rope.freq_base", float("inf")), MOD, "freq_base is inf, must be finite"),
    ("G85-negative", key("rope.freq_base", -1.0), MOD, r"freq_base is -1\.0, must be finite, above 0"),
    ("G85-zero", key("rope.freq_base", 0.0), MOD, r"freq_base is 0\.0, must be finite, above 0"),
    ("G86-zero", key("rope.dimension_count", 0), MOD, "dimension_count is 0, must be"),
    ("G86-15", key("rope.dimension_count", 15), MOD, "dimension_count is 15, must be even and at most 16"),
    ("G86-18", key("rope.dimension_count", 18), MOD, "dimension_count is 18, must be even and at most 16"),
    ("G86-17", key("rope.dimension_count", 17), MOD, "dimension_count is 17, must be even and at most 16"),
    ("G86-huge", key("rope.dimension_count", 2**20), MOD, "dimension_count is 1048576, must be"),
    ("G87-zero", key("attention.key_length", 0), MOD, "key_length is 0, must be"),
    ("G87-huge", key("attention.key_length", 2**20), MOD, "key_length is 1048576, must be"),
    (
        "G87-32",
        key("attention.key_length", 32),
        MOD,
        r"attn_q\.weight is \(64, 64\), .* \(128, 64\) \(q_width=128",
    ),
    (
        "G88-tokens",
        key("tokenizer.ggml.tokens", ["a", "b"]),
        MOD,
        r"token_embd\.weight is \(283, 64\), .*n_vocab=2,",
    ),
    ("G89-embd", without_tensor("token_embd.weight"), MOD, r"token_embd\.weight is missing; .* \(283, 64\)"),
    ("G89-norm", without_tensor("output_norm.weight"), MOD, r"output_norm\.weight is missing"),
    ("G89-q", without_tensor(Q), MOD, r"blk\.0\.attn_q\.weight is missing; .* \(64, 64\)"),
    ("G89-down", without_tensor(DOWN), MOD, r"blk\.1\.ffn_down\.weight is missing"),
    ("G91-transposed", dims("token_embd.weight", 283, 64), MOD, r"token_embd\.weight is \(64, 283\)"),
    ("G91-small", dims("output.weight", 64, 282), MOD, r"output\.weight is \(282, 64\), .* \(283, 64\)"),
    ("G91-3d", dims(Q, 64, 64, 1), MOD, r"attn_q\.weight is \(1, 64, 64\)"),
    (
        "G91-half",
        dims(NORM, 32),
        MOD,
        r"blk\.1\.ffn_norm\.weight is \(32,\), the metadata says \(64,\) \(n_embd=64\)",
    ),
    ("G91-one", dims(NORM, 1), MOD, r"ffn_norm\.weight is \(1,\)"),
    ("G91-scalar", dims(NORM), MOD, r"ffn_norm\.weight is \(\)"),
    ("G91-k", dims("blk.0.attn_k.weight", 64, 64), MOD, r"attn_k\.weight is \(64, 64\), .* \(32, 64\)"),
    ("G91-swapped", dims(DOWN, 64, 128), MOD, r"ffn_down\.weight is \(128, 64\), .* \(64, 128\)"),
    ("G91-bias", extra("blk.0.attn_q.bias", 63), MOD, r"attn_q\.bias is \(63,\), .* \(64,\) \(q_width=64\)"),
    (
        "G91-freqs",
        extra("rope_freqs.weight", 16),
        MOD,
        r"rope_freqs\.weight is \(16,\), .* \(rope\.n_rot/2=8\)",
    ),
    ("G91-freqs-0", extra("rope_freqs.weight", 8), MOD, r"rope_freqs\.weight must be finite and above 0"),
    ("G92", dims("output.weight", 64, 0), MOD, r"output\.weight is \(0, 64\)"),
    ("G92-first", dims("output.weight", 0, 283), MOD, r"output\.weight is \(283, 0\)"),
    ("G93", as_format(NORM, forge.Q8_0), MOD, r"ffn_norm\.weight .* must be F32, F16 or BF16, found Q8_0"),
    (
        "G93-i64",
        as_format(NORM, forge.I64_TENSOR),
        MOD,
        r"ffn_norm\.weight .* must be F32, F16 or BF16, found I64",
    ),
    (
        "G93-matrix",
        as_format(Q, forge.Q8_1),
        UNS,
        r"blk\.0\.attn_q\.weight': nybble cannot compute with the format Q8_1",
    ),
    (
        "G94",
        extra("blk.7.x", 32),
        MOD,
        r"tensor blk\.7\.x would not be used: 'llama' with 2 layers uses 21 of 22",
    ),
    (
        "G94-layers",
        key("block_count", 1),
        MOD,
        r"tensor blk\.1\.attn_norm\.weight and 8 more would not be used",
    ),
    ("G94-experts", key("expert_shared_count", 8), UNS, r"'llama\.expert_shared_count' \(8\) may change"),
]


@pytest.mark.parametrize(
    ("change", "error", "pattern"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_refused_by_name(sound, tmp_path, change, error, pattern):
    made = GGUFForge.parse(sound)
    change(made)
    path = tmp_path / "case.gguf"
    path.write_bytes(made.build())
    start = time.process_time()
    with pytest.raises((ModelError, GGUFUnsupportedError)) as caught:
        Model.load(path)
    assert time.process_time() - start < MAX_SECONDS
    message = str(caught.value)
    assert type(caught.value) is error
    assert message.startswith(f"{path}: ")
    assert re.search(pattern, message), message


ACCEPTED = {
    "G82-huge": key("context_length", HUGE),
    "G90": without_tensor("output.weight"),
    "G93-f16": as_format(NORM, 1),
    "inert": extra("blk.1.attn_rot_embd.weight", 8),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_runs(sound, tmp_path, name):
    made = GGUFForge.parse(sound)
    ACCEPTED[name](made)
    path = tmp_path / "case.gguf"
    path.write_bytes(made.build())
    model = Model.load(path)
    executor = ReferenceExecutor(model.plan, n_ctx=16)
    logits = single_seat(executor).forward(np.arange(4, dtype=np.int32), 0, np.arange(4))
    assert logits.shape == (4, 283) and np.isfinite(logits).all()
    executor.close()
    model.close()


@pytest.mark.parametrize("declared", [282, 1283])
def test_g88_the_tokens_count(sound, tmp_path, caplog, declared):
    path = tmp_path / "case.gguf"
    path.write_bytes(GGUFForge.parse(sound).set("llama.vocab_size", declared).build())
    model = Model.load(path)
    assert model.config.n_vocab == 283
    assert f"vocab_size is {declared}, but there are 283 tokens" in caplog.text
    model.close()


def test_a_config_cannot_be_changed(sound, tmp_path):
    path = tmp_path / "case.gguf"
    path.write_bytes(sound)
    model = Model.load(path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.config.n_layers = 3
    model.close()


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_any_value_of_any_hyperparameter_is_refused_or_runs(tmp_path, arch):
    """One or two keys at a time get a random value, often of another type; what still loads must compute."""
    whole = tiny_model.write(tmp_path / "sound.gguf", arch=arch, n_layers=2).read_bytes()
    names = [entry.key.decode() for entry in GGUFForge.parse(whole).kv if entry.key.startswith(arch.encode())]
    names += [f"{arch}.rope.scaling.factor", f"{arch}.attention.sliding_window_pattern"]
    integers = [0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 32, 63, 64, 65, 128, 283, 1024, 2**16, 2**31, HUGE]
    floats = [0.0, -0.0, 1e-45, 1e-5, 0.5, 1.0, 1e4, 1e15, 3e38, -1.0, float("inf"), float("nan")]
    rng = np.random.default_rng(95)
    path = tmp_path / "case.gguf"
    n_ran = 0
    for _ in range(400):
        made = GGUFForge.parse(whole)
        for name in rng.choice(names, rng.integers(1, 3), replace=False):
            match rng.integers(6):
                case 0:
                    made.set(name, float(rng.choice(floats)), FLOAT32)
                case 1:
                    made.set(name, rng.choice(integers, rng.integers(0, 4)).tolist(), array_of=forge.U64)
                case 2:
                    made.set(name, str(rng.integers(9)), STRING)
                case _:
                    made.set(name, int(rng.choice(integers)), U32)
        path.write_bytes(made.build())
        try:
            model = Model.load(path)
        except (ModelError, GGUFUnsupportedError):
            continue
        executor = ReferenceExecutor(model.plan, n_ctx=16)
        assert single_seat(executor).forward(np.arange(3, dtype=np.int32), 0, np.arange(3)).shape == (
            3,
            model.config.n_vocab,
        )
        executor.close()
        model.close()
        n_ran += 1
    assert 5 < n_ran < 395
