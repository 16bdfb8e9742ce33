"""Hyperparameters: one declarative table of metadata keys, checked into a frozen `Config`.

A key under the architecture's prefix is honoured (it is in KEYS or in the architecture's own table), neutral
(present, but with a value that changes nothing), inert (known to change nothing) or an error that names it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..gguf_io.errors import GGUFUnsupportedError, ModelError
from ..gguf_io.file import GGUFFile

_log = logging.getLogger(__name__)

REQUIRED = object()
_PYTHON_TYPES: dict[str, type[Any]] = {"integer": int, "float": float, "text": str}
_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Key:
    """A metadata key: the field of `Config` that it fills, its type, range and default.

    An integer lies in low .. high; a float is finite, above low and at most high.  Where `per_layer`
    allows it, the file may give an array of one value per layer instead, all the same or any.  A default of
    None is worked out from the other fields.
    """

    field: str
    type: Literal["integer", "float", "text"]
    low: float = 0
    high: float = 0
    default: Any = REQUIRED
    per_layer: Literal["no", "same", "any"] = "no"


@dataclass(frozen=True)
class Config:
    """What the metadata says about a model: the numbers that shapes and graph are made from."""

    architecture: str
    n_vocab: int
    n_ctx_train: int
    n_embd: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_ff: int
    norm_eps: float
    n_rot: int
    rope_freq_base: float
    rope_scale: float  # positions are divided by it
    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()  # one per layer: does it see `sliding_window` positions, or all?
    rope_freq_base_swa: float = 0.0  # for the layers with a sliding window

    @property
    def q_width(self) -> int:
        """Width of the queries: all heads side by side."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values."""
        return self.n_kv_heads * self.head_dim

    @property
    def rope_pairs(self) -> int:
        """How many pairs of a head's values are rotated."""
        return self.n_rot // 2


KEYS = {
    "context_length": Key("n_ctx_train", "integer", 1, 2**32 - 1),
    "embedding_length": Key("n_embd", "integer", 1, 2**20),
    "block_count": Key("n_layers", "integer", 1, 1024),
    "feed_forward_length": Key("n_ff", "integer", 1, 2**24, per_layer="same"),
    "attention.head_count": Key("n_heads", "integer", 1, 2**16, per_layer="same"),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 1, 2**16, default=None, per_layer="same"),
    "attention.key_length": Key("head_dim", "integer", 1, 2**16, default=None),
    "attention.value_length": Key("value_dim", "integer", 1, 2**16, default=None),
    "attention.layer_norm_rms_epsilon": Key("norm_eps", "float", 0, 1),
    "rope.dimension_count": Key("n_rot", "integer", 2, 2**16, default=None),
    "rope.freq_base": Key("rope_freq_base", "float", 0, 1e15, default=10000.0),
    "rope.scaling.type": Key("rope_scaling", "text", default="linear"),
    "rope.scaling.factor": Key("rope_scale", "float", 0, 1e6, default=None),
    "rope.scale_linear": Key("old_rope_scale", "float", 0, 1e6, default=1.0),
    "vocab_size": Key("n_vocab", "integer", 1, 2**31 - 1, default=None),
}

# Keys that would change the computation, with the values at which they do not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),
    "attention.temperature_scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0.0,),
    "logit_scale": (0.0, 1.0),
    "nextn_predict_layers": (0,),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.attn_factor": (1.0,),
    "use_parallel_residual": (False,),
}

_OTHERS = "a key of other architectures, which llama.cpp's test models carry"

# Keys that change nothing, and why.
INERT = {
    "tensor_data_layout": "says how a converter found the rows; they are stored as the graph needs them",
    "rope.scaling.finetuned": "says how the model was trained",
    "rope.scaling.original_context_length": "only YaRN and LongRoPE use it, and those are refused",
    "activation.situ_beta": _OTHERS,
    "attention.rope_pattern": _OTHERS,
    "deepstack_mapping": _OTHERS,
    "hash_layer_count": _OTHERS,
    "hrm.prefix_lm": _OTHERS,
    "router_logit_softcapping": _OTHERS,
    "swin_norm": _OTHERS,
    "token_shift_count": _OTHERS,
}


def read_config(
    file: GGUFFile, architecture: str, keys: Mapping[str, Key], inert: Mapping[str, str]
) -> Config:
    """The hyperparameters of `file`; `keys` and `inert` are what the architecture adds to the tables above.

    Raises ModelError for what is missing, of the wrong type, out of range or contradictory, and
    GGUFUnsupportedError for what is sound but not honoured.
    """
    prefix = architecture + "."
    honoured = {**KEYS, **keys}
    for full_name in file.metadata:
        name = full_name.removeprefix(prefix)
        if name != full_name and name not in honoured and name not in INERT and name not in inert:
            _require_neutral(file, full_name, name)
    values = {key.field: _read(file, prefix + name, key) for name, key in honoured.items()}
    for name, key in honoured.items():
        values[key.field] = _per_layer(file, prefix + name, values[key.field], key, values["n_layers"])
    return _derive(file, architecture, values)


def _require_neutral(file: GGUFFile, full_name: str, name: str) -> None:
    is_scalar = file.metadata.length_of(full_name) is None
    if is_scalar and file.metadata[full_name] in NEUTRAL.get(name, ()):
        return
    found = repr(file.metadata[full_name]) if is_scalar else f"a {file.metadata.type_of(full_name)}"
    raise GGUFUnsupportedError(
        f"{file.path}: metadata key {full_name!r} ({found}) may change what the model computes, "
        "and nybble does not know how to honour it"
    )


def _read(file: GGUFFile, name: str, key: Key) -> Any:
    if name not in file.metadata:
        if key.default is REQUIRED:
            raise ModelError(f"{file.path}: the metadata lacks {name!r}, which the model needs")
        return key.default
    if key.per_layer != "no" and file.metadata.length_of(name) is not None:
        return file.metadata[name]
    return _check(file, name, file.metadata[name], file.metadata.type_of(name), key)


def _check(file: GGUFFile, name: str, value: Any, found: str, key: Key) -> Any:
    """`value` itself, if it is of the type and in the range of `key`; `found` is its type in the file."""
    if type(value) is not _PYTHON_TYPES[key.type]:  # a bool is no integer here
        raise ModelError(f"{file.path}: {name} has the wrong type: must be {key.type}, found {found}")
    if key.type == "integer" and not key.low <= value <= key.high:
        raise ModelError(f"{file.path}: {name} is {value}, must be {key.low} to {key.high}")
    if key.type == "float" and not key.low < value <= key.high:  # False for NaN
        raise ModelError(
            f"{file.path}: {name} is {value}, must be finite, above {key.low:g} and at most {key.high:g}"
        )
    return value


def _per_layer(file: GGUFFile, name: str, value: Any, key: Key, n_layers: int) -> Any:
    """An array as a tuple of one value per layer, or that value where they must be the same; else `value`."""
    if not isinstance(value, np.ndarray | list):
        return value
    if len(value) != n_layers:
        raise ModelError(f"{file.path}: {name} has {len(value)} values for {n_layers} layers")
    scalars = value.tolist() if isinstance(value, np.ndarray) else value
    if key.per_layer == "any" and file.metadata.type_of(name) == "bool[]":
        scalars = [int(scalar) for scalar in scalars]
    for scalar in scalars:
        _check(file, name, scalar, file.metadata.type_of(name), key)
    if key.per_layer == "any":
        return tuple(scalars)
    if any(scalar != scalars[0] for scalar in scalars):
        raise GGUFUnsupportedError(
            f"{file.path}: {name} differs from layer to layer, which nybble does not do yet"
        )
    return scalars[0]


def _derive(file: GGUFFile, architecture: str, values: dict[str, Any]) -> Config:
    """Fills in what follows from other values, and checks what must fit together."""

    def contradiction(problem: str) -> ModelError:
        return ModelError(f"{file.path}: {problem}")

    n_heads, n_embd = values["n_heads"], values["n_embd"]
    values["n_kv_heads"] = values["n_kv_heads"] or n_heads
    if n_heads % values["n_kv_heads"]:
        raise contradiction(f"head_count {n_heads} is no multiple of head_count_kv {values['n_kv_heads']}")
    if values["head_dim"] is None:
        if n_embd % n_heads:
            raise contradiction(f"embedding_length {n_embd} is no multiple of head_count {n_heads}")
        values["head_dim"] = n_embd // n_heads
    head_dim = values["head_dim"]
    value_dim = values.pop("value_dim")
    if value_dim not in (None, head_dim):
        raise GGUFUnsupportedError(
            f"{file.path}: attention.value_length {value_dim} differs from key_length {head_dim}, "
            "which nybble does not do yet"
        )
    values["n_rot"] = values["n_rot"] or head_dim
    if values["n_rot"] % 2 or values["n_rot"] > head_dim:
        raise contradiction(
            f"rope.dimension_count is {values['n_rot']}, must be even and at most {head_dim}, the head's size"
        )
    scaling, old_scale = values.pop("rope_scaling"), values.pop("old_rope_scale")
    if scaling not in ("none", "linear"):
        raise GGUFUnsupportedError(f"{file.path}: rope.scaling.type {scaling!r} is not supported yet")
    values["rope_scale"] = 1.0 if scaling == "none" else values["rope_scale"] or old_scale
    values["sliding_layers"] = _sliding_layers(
        values["n_layers"], values.get("sliding_window", 0), values.pop("sliding_pattern", 0)
    )
    values["n_vocab"] = _vocabulary_size(file, values["n_vocab"])
    return Config(architecture=architecture, **values)


def _sliding_layers(n_layers: int, window: int, pattern: int | tuple[int, ...]) -> tuple[bool, ...]:
    """`pattern` is a truth value per layer, or a period p: the last of each p layers sees all (0: none)."""
    if window == 0:
        return (False,) * n_layers
    if isinstance(pattern, tuple):
        return tuple(value != 0 for value in pattern)
    return tuple(pattern == 0 or layer % pattern < pattern - 1 for layer in range(n_layers))


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
