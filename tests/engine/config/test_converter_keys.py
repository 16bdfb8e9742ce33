"""What llama.cpp's converters write, as `record_converter_keys.py` found it: every key is decided for every
architecture, and what changes nothing there changes nothing here.
"""

import json
import math
from pathlib import Path

import architecture_fixtures
import numpy as np
import pytest

from nybble import GGUFUnsupportedError, ModelError
from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.config.keys import NEUTRAL, NO_EXPERTS
from nybble.engine.config.read import honoured_keys, inert_keys
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat

PATH = Path(__file__).parents[2] / "data" / "converter_keys.json"
TABLE = {
    key: {kind: names.split() for kind, names in kinds.items()}
    for key, kinds in json.loads(PATH.read_text()).items()
}

REFUSED = {
    (
        "lfm2",
        "embedding_length_out",
    ): "of LFM2-ColBERT, which gives embeddings that another matrix made shorter"
}

# llama.cpp reads these, and computes the same whatever they say.
READ_IN_VAIN = {
    "classifier.output_labels",
    "deepstack_mapping",
    "rope.scaling.finetuned",
    "token_shift_count",
}
READ_IN_VAIN |= {"expert_group_used_count"}  # without groups; architectures that have some honour it


def of(name, kind):
    return {key for key, kinds in TABLE.items() if name in kinds.get(kind, ())}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_key_of_converters_is_decided(name):
    found = ARCHITECTURES[name]
    written = of(name, "read") | of(name, "ignored")
    assert {"block_count", "context_length", "embedding_length"} <= written
    decided = {*honoured_keys(found.keys), *inert_keys(found.keys, found.inert), *NEUTRAL}
    assert {key for key in written if key not in decided and (name, key) not in REFUSED} == set()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_llama_cpp_reads_is_passed_over_with_a_reason_of_its_own(name):
    found = ARCHITECTURES[name]
    shared = {*inert_keys(found.keys, {})} - {*found.inert, *honoured_keys(found.keys)}
    passed_over = (of(name, "read") & shared) - READ_IN_VAIN
    has_experts = any("_exps" in tensor for tensor in found.tensors)
    assert passed_over <= (set() if has_experts else {*NO_EXPERTS})


def logits(path, made, **keys):
    """With keys added to the metadata, or taken away where they are None."""
    changed = {key: value for key, value in (made["metadata"] | keys).items() if value}
    file = architecture_fixtures.write(path / "model.gguf", made | {"metadata": changed})
    model = Model.load(file)
    executor = ReferenceExecutor(model.plan, n_ctx=8)
    found = single_seat(executor).forward(np.array([1, 2, 3, 5, 8, 13], np.int32), 0, np.arange(6))
    executor.close()
    model.close()
    return found


def float32(value):
    return ["FLOAT32", value]


def uint32(value):
    return ["UINT32", value]


YARN = {"rope.scaling.type": ["STRING", "yarn"], "rope.scaling.factor": float32(8.0)}
YARN |= {"rope.scaling.original_context_length": uint32(64)}
OF_YARN = 1 + 0.1 * math.log(8)


@pytest.mark.parametrize(
    ("name", "before", "keys"),
    [
        ("modern-bert", {}, {"attention.layer_norm_rms_epsilon": float32(0.5)}),
        ("nemotron", {}, {"attention.layer_norm_rms_epsilon": float32(0.5)}),
        ("llama", {}, {"attention.layer_norm_epsilon": float32(0.5)}),
        ("deepseek2-ocr", {}, {"attention.sliding_window": uint32(2)}),
        ("hunyuan-dense", {}, {"expert_count": uint32(1)}),
        ("qwen35", {}, {"expert_feed_forward_length": uint32(512), "expert_shared_count": uint32(1)}),
        ("llama-moe", {}, {"expert_group_count": uint32(1), "expert_group_used_count": uint32(1)}),
        ("llama-moe", {}, {"expert_gating_func": uint32(1)}),
        ("step35", {}, {"moe_every_n_layers": uint32(1)}),
        ("ernie4_5", {}, {"rope.dimension_sections": ["ARRAY INT32", [8, 4, 4, 0]]}),
        ("exaone4", {}, {"rope.freq_base_swa": float32(77.0)}),
        ("llama", {}, {"rope.freq_base_swa": float32(77.0)}),
        ("olmo2", YARN, {"rope.freq_base_swa": float32(77.0)}),
        ("olmo2", YARN, {"rope.scaling.yarn_attn_factor": float32(OF_YARN)}),
        ("llama", YARN, {"rope.scaling.yarn_ext_factor": float32(0.5)}),
        ("grok", YARN, {"rope.scaling.yarn_ext_factor": float32(-1.0)}),
        ("nemotron_h", {"attention.layer_norm_rms_epsilon": None}, {}),
    ],
)  # fmt: skip
def test_what_changes_nothing(name, before, keys, tmp_path):
    made = architecture_fixtures.description(name)
    prefix = made["metadata"]["general.architecture"][1] + "."
    plain = logits(tmp_path, made, **{prefix + key: value for key, value in before.items()})
    found = logits(tmp_path, made, **{prefix + key: value for key, value in (before | keys).items()})
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("olmo2", {"rope.scaling.yarn_attn_factor": float32(1.5)} | YARN, r"is 1\.5, must be 1 or 1\.207"),
        ("llama", {"rope.scaling.yarn_log_multiplier": float32(1.0)} | YARN, "yarn_log_multiplier"),
        ("llama-moe", {"expert_group_count": uint32(4)}, "expert_group_count"),
        ("llama-moe", {"expert_gating_func": uint32(2)}, "expert_gating_func"),
        ("lfm2", {"embedding_length_out": uint32(64)}, "embedding_length_out"),
    ],
)  # fmt: skip
def test_what_would_change_something_is_refused(name, keys, message, tmp_path):
    made = architecture_fixtures.description(name)
    prefix = made["metadata"]["general.architecture"][1] + "."
    with pytest.raises(GGUFUnsupportedError, match=message):
        logits(tmp_path, made, **{prefix + key: value for key, value in keys.items()})


def test_a_nemotron_without_any_epsilon_is_refused(tmp_path):
    made = architecture_fixtures.description("nemotron_h")
    names = [f"nemotron_h.attention.layer_norm_{kind}epsilon" for kind in ("", "rms_")]
    with pytest.raises(
        ModelError, match=r"model\.gguf: the metadata lacks nemotron_h\.attention\.layer_norm_rms"
    ):
        logits(tmp_path, made, **dict.fromkeys(names))
