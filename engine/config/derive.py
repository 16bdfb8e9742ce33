"""The fields of `Config` that no key gives: they follow from those that keys give, and all are checked."""

import logging
from typing import Any

from ...errors import GGUFUnsupportedError, ModelError
from ...gguf_io.file import GGUFFile
from .config import GROUPS, Config, split_groups

_log = logging.getLogger(__name__)

_TOKENS = "tokenizer.ggml.tokens"
_LAYERED = (
    *("n_heads", "n_kv_heads", "n_ff", "moe.n_ff", "moe.n_used", "rope.is_on", "sparsity"),
    *("moe.swiglu_limit", "moe.swiglu_limit_shared"),
    *("xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps"),
)
"""The fields that may differ from layer to layer."""
INPUTS = (
    "rope.old_scale",
    "sliding_pattern",
    "sliding_pattern_dense_first",
    "head_dim_swa",
    "value_dim_swa",
    "mla.kv_lora_rank_swa",
    "mla.key_dim_swa",
    "mla.value_dim_swa",
)
"""What keys may fill besides fields of `Config`; fields follow from it."""

_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")


def derive(file: GGUFFile, architecture: str, values: dict[str, Any]) -> Config:
    """The hyperparameters whose keys gave `values`, by field; `values` is changed.

    Raises ModelError for values that contradict each other, GGUFUnsupportedError for a kind of RoPE that
    nybble does not have.
    """
    if values["n_nextn"] >= values["n_layers"]:
        raise _contradiction(file, f"nextn_predict_layers {values['n_nextn']} leaves no layer")
    values["n_layers"] -= values["n_nextn"]
    _derive_wkv_heads(file, values)
    if values["n_kv_heads"] is None:
        values["n_kv_heads"] = values["n_heads"]
    values["per_layer"] = _layered(values)
    _derive_heads(file, values)
    _derive_rope(file, values)
    _derive_layers(values)
    _derive_sliding_heads(file, values)
    _derive_latent(values)
    _check_recurrence(file, values)
    _derive_experts(file, values)
    values["n_vocab"] = _vocabulary_size(file, values["n_vocab"])
    labels = f"{architecture}.classifier.output_labels"
    values["n_classes"] = (labels in file.metadata and file.metadata.length_of(labels)) or 1
    flat, grouped = split_groups(values)
    own = grouped.pop("own", {})
    groups = {name: GROUPS[name](**group) for name, group in grouped.items()}
    return Config(architecture=architecture, own=own, **flat, **groups)


def _contradiction(file: GGUFFile, problem: str) -> ModelError:
    return ModelError(f"{file.path}: {problem}")


def _layered(values: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """The fields that differ from layer to layer; in `values` they become their maximum."""
    n_layers, layered = values["n_layers"], {}
    for name in _LAYERED:
        if isinstance(values.get(name), tuple):
            layered[name] = values[name][:n_layers]
            values[name] = max(layered[name])
    return layered


def _derive_wkv_heads(file: GGUFFile, values: dict[str, Any]) -> None:
    """The heads of RWKV: the file gives their size, and their number follows."""
    size = values.get("rwkv.head_dim")
    if size is None:
        return
    if values["n_embd"] % size:
        raise _contradiction(
            file, f"embedding_length {values['n_embd']} is no multiple of {size}, a head's size"
        )
    values["n_heads"], values["head_dim"], values["value_dim"] = values["n_embd"] // size, size, size
    values["n_kv_heads"] = values["n_kv_heads"] or values["n_heads"]


def _derive_heads(file: GGUFFile, values: dict[str, Any]) -> None:
    """Numbers and widths of heads."""
    n_heads, n_kv_heads, n_embd = values["n_heads"], values["n_kv_heads"], values["n_embd"]
    layered = values["per_layer"]
    of_layer = layered.get("n_heads", (n_heads,) * values["n_layers"])
    kv_of_layer = layered.get("n_kv_heads", (n_kv_heads,) * values["n_layers"])
    for heads, kv_heads in zip(of_layer, kv_of_layer, strict=True):
        if kv_heads and (heads % kv_heads or heads == 0):
            raise _contradiction(file, f"head_count {heads} is no multiple of head_count_kv {kv_heads}")
    if "kda.head_dim" in values:
        values["kda.n_heads"] = n_heads  # where a layer has a number of its own, that is of attention
    if n_heads == 0:  # no layer attends
        values["head_dim"] = values["head_dim"] or 0
    if values["head_dim"] is None:
        if n_embd % (of_layer[0] or n_heads):
            raise _contradiction(file, f"embedding_length {n_embd} is no multiple of head_count {n_heads}")
        values["head_dim"] = n_embd // (of_layer[0] or n_heads)
    values["value_dim"] = values["value_dim"] or values["head_dim"]


def _derive_rope(file: GGUFFile, values: dict[str, Any]) -> None:
    """The width that RoPE rotates, and the scale of positions."""
    head_dim = values["head_dim"]
    values["rope.n_rot"] = values["rope.n_rot"] or head_dim
    if values["rope.n_rot"] % 2 or values["rope.n_rot"] > head_dim:
        raise _contradiction(
            file,
            f"rope.dimension_count is {values['rope.n_rot']}, "
            f"must be even and at most {head_dim}, the head's size",
        )
    scaling, old_scale = values["rope.scaling"], values.pop("rope.old_scale")
    if scaling not in _ROPE_SCALINGS:
        raise GGUFUnsupportedError(f"{file.path}: rope.scaling.type {scaling!r} is not supported yet")
    values["rope.scale"] = 1.0 if scaling == "none" else values["rope.scale"] or old_scale
    values["rope.n_ctx_original"] = values["rope.n_ctx_original"] or values["n_ctx_train"]


def _derive_layers(values: dict[str, Any]) -> None:
    """Which layers have a sliding window, and which are recurrent."""
    n_layers = values["n_layers"]
    pattern, dense_first = values.pop("sliding_pattern", 0), "sliding_pattern_dense_first" in values
    if dense_first:
        pattern = values.pop("sliding_pattern_dense_first")
    values["sliding_layers"] = _sliding_layers(
        n_layers, values.get("sliding_window", 0), pattern, dense_first
    )
    recurrent = values.get("recurrent_layers", ())
    interval = values.get("full_attention_interval", 0)
    if isinstance(recurrent, int):  # one value for all
        recurrent = (recurrent,) * n_layers
    elif not recurrent and interval:
        recurrent = [(layer + 1) % interval for layer in range(n_layers)]
    elif not recurrent:
        recurrent = [heads == 0 for heads in values["per_layer"].get("n_kv_heads", ())]
    values["recurrent_layers"] = tuple(bool(value) for value in recurrent[:n_layers])


def _derive_sliding_heads(file: GGUFFile, values: dict[str, Any]) -> None:
    """Sizes of heads, where layers with a sliding window have their own."""
    if "head_dim_swa" not in values:
        return
    n_rot_swa = values.pop("rope.n_rot_swa") or values["rope.n_rot"]
    for name, own in (
        ("head_dim", values.pop("head_dim_swa")),
        ("value_dim", values.pop("value_dim_swa")),
        ("rope.n_rot", n_rot_swa),
    ):
        sizes = tuple(own if is_sliding else values[name] for is_sliding in values["sliding_layers"])
        values["per_layer"][name] = sizes
    for head_dim, value_dim, n_rot in zip(
        *(values["per_layer"][name] for name in ("head_dim", "value_dim", "rope.n_rot")), strict=True
    ):
        if head_dim != value_dim:
            raise _contradiction(file, f"heads have keys of {head_dim} and values of {value_dim}")
        if n_rot % 2 or n_rot > head_dim:
            raise _contradiction(file, f"rope.dimension_count {n_rot} must be even and at most {head_dim}")
    shared, n_layers = values.get("n_shared_kv_layers", 0), values["n_layers"] + values["n_nextn"]
    if shared and n_layers - shared < 2:
        raise _contradiction(file, f"attention.shared_kv_layers {shared} leaves less than two of {n_layers}")


def _derive_latent(values: dict[str, Any]) -> None:
    """Sizes of heads of latent attention.

    Old files give them by the keys of ordinary heads.  Layers with a sliding window may have other sizes.
    """
    if "mla.key_dim" in values:
        values["mla.has_split_kv"] = bool(values["mla.key_dim"])
        values["mla.key_dim"] = values["mla.key_dim"] or values["head_dim"]
        values["mla.value_dim"] = values["mla.value_dim"] or values["value_dim"]
    for name in ("mla.kv_lora_rank", "mla.key_dim", "mla.value_dim"):
        if own := values.pop(f"{name}_swa", 0):
            sizes = tuple(own if is_sliding else values[name] for is_sliding in values["sliding_layers"])
            values["per_layer"][name] = sizes


def _check_recurrence(file: GGUFFile, values: dict[str, Any]) -> None:
    """Recurrent heads and groups must divide evenly; a head of latent attention must be longer than n_rot."""
    if "ssm.n_heads" in values:
        inner, heads, groups = values["ssm.d_inner"], values["ssm.n_heads"], values["ssm.n_groups"] or 1
        if inner % heads or inner % groups or heads % groups:
            raise _contradiction(
                file,
                f"ssm.inner_size {inner}, ssm.time_step_rank {heads} and ssm.group_count {groups} do not "
                "divide evenly",
            )
    if (
        "mla.key_dim" in values
        and values["mla.key_dim"] <= values["rope.n_rot"]
        and values["mla.has_split_kv"]
    ):
        raise _contradiction(
            file,
            f"attention.key_length_mla {values['mla.key_dim']} must be above rope.dimension_count "
            f"{values['rope.n_rot']}",
        )


def _derive_experts(file: GGUFFile, values: dict[str, Any]) -> None:
    """Widths of the experts, where they follow from others."""
    n_experts, n_used = values.get("moe.n_experts", 0), values.get("moe.n_used", 0)
    if n_experts == 0:
        return
    if not 0 < n_used <= n_experts:
        raise _contradiction(file, f"expert_used_count is {n_used}, must be 1 to {n_experts}, expert_count")
    groups, used = values.get("moe.n_groups", 1), values.get("moe.n_groups_used", 1)
    if groups > 1 and (n_experts % groups or not 0 < used <= groups or n_used > n_experts // groups * used):
        raise _contradiction(
            file, f"{n_used} of {n_experts} experts cannot come from {used} of {groups} equal groups"
        )
    if values.get("moe.n_ff") is None:  # the architecture has no key for it, or one with this default
        values["moe.n_ff"] = values["n_ff"]
    values["moe.n_ff"] = values["moe.n_ff"] or values["n_ff"] // n_used
    if values.get("moe.n_ff_shared", 0) is None:
        values["moe.n_ff_shared"] = values["n_ff"]
    elif not values.get("moe.n_ff_shared", 0):
        of_each = values.get("moe.n_ff_each_shared") or values["moe.n_ff"]
        values["moe.n_ff_shared"] = of_each * values.get("moe.n_shared", 0)
    if "moe.n_ff_chunk" in values:
        values["moe.n_ff_chunk"] = values["moe.n_ff_chunk"] or values["head_dim"]


def _sliding_layers(
    n_layers: int, window: int, pattern: int | tuple[int, ...], dense_first: bool
) -> tuple[bool, ...]:
    """`pattern`: a boolean per layer, or a period p; the last of each p layers sees all positions
    (`dense_first`: the first; p = 0: none).
    """
    if window == 0:
        return (False,) * n_layers
    if isinstance(pattern, tuple):
        return tuple(value != 0 for value in pattern[:n_layers])
    dense = 0 if dense_first else pattern - 1
    return tuple(pattern == 0 or layer % pattern != dense for layer in range(n_layers))


def _vocabulary_size(file: GGUFFile, declared: int | None) -> int:
    """The number of tokens that the file lists; what it declares counts only where it lists none."""
    listed = file.metadata.length_of(_TOKENS) if _TOKENS in file.metadata else None
    if listed is None:
        if declared is None:
            raise ModelError(
                f"{file.path}: neither vocab_size nor {_TOKENS} says how large the vocabulary is"
            )
        return declared
    if declared not in (None, listed):
        _log.warning(
            "%s: vocab_size is %d, but there are %d tokens; using those", file.path, declared, listed
        )
    return listed
