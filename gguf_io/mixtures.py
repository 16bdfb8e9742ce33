"""File types: which format each tensor of a quantized model gets.

A file type such as Q4_K_M is a mixture: the tensors that matter most get more bits. Norms, biases and other
small tensors keep their format. The rules are llama.cpp's, so that a name means the same everywhere.

Source: llama.cpp `src/llama-quant.cpp`, llama_tensor_get_type, without an importance matrix.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError, RequestError
from . import formats
from .file import GGUFFile
from .formats import BlockFormat
from .tensor import Tensor


@dataclass(frozen=True)
class FileType:
    """`id` is the value of `general.file_type`; `base` the format of most tensors."""

    name: str
    id: int
    base: BlockFormat


FILE_TYPES = {
    name: FileType(name, id, base)
    for name, id, base in (
        ("F32", 0, formats.F32),
        ("F16", 1, formats.F16),
        ("BF16", 32, formats.BF16),
        ("Q8_0", 7, formats.Q8_0),
        ("Q6_K", 18, formats.Q6_K),
        ("Q5_K_M", 17, formats.Q5_K),
        ("Q5_K_S", 16, formats.Q5_K),
        ("Q5_1", 9, formats.Q5_1),
        ("Q5_0", 8, formats.Q5_0),
        ("Q4_K_M", 15, formats.Q4_K),
        ("Q4_K_S", 14, formats.Q4_K),
        ("Q4_1", 3, formats.Q4_1),
        ("Q4_0", 2, formats.Q4_0),
        ("Q3_K_L", 13, formats.Q3_K),
        ("Q3_K_M", 12, formats.Q3_K),
        ("Q3_K_S", 11, formats.Q3_K),
        ("Q2_K", 10, formats.Q2_K),
    )
}

_ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}

_NARROWER = {
    formats.Q6_K: formats.Q8_0,
    formats.Q5_K: formats.Q5_1,
    formats.Q4_K: formats.Q5_0,
    formats.Q3_K: formats.Q4_0,
    formats.Q2_K: formats.Q4_0,
}
"""The formats, with blocks of 32, for rows whose length is no multiple of 256."""

_KEPT_NAMES = ("position_embd.weight", "token_types.weight")
_KEPT_PARTS = (
    *("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel"),
    *("per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "attn_rel_b.weight"),
    *("indexer.k_proj.weight", "indexer.q_proj.weight"),
    *("time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight"),
    *("time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight"),
    *("time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight"),
    *("time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight"),
    *(".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger"),
    *("a.rvq.codebook", "mm.a.code_embd"),
)
"""Parts of names of matrices that are not quantized: small ones, and those that would spoil the model."""

_VALUES = ("attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight")
_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")


def file_type(name: str) -> FileType:
    """The file type called `name`, in upper or lower case; RequestError, which lists all, if unknown."""
    wanted = name.upper()
    found = FILE_TYPES.get(_ALIASES.get(wanted, wanted))
    if found is None:
        raise RequestError(f"{name!r:.100} is no format to quantize to; there are {', '.join(FILE_TYPES)}")
    return found


def choose_formats(file: GGUFFile, kind: FileType, pure: bool = False) -> dict[str, BlockFormat]:
    """The format of every tensor of a model in the file type `kind`, in file order; `pure`: no mixture."""
    chooser = _Chooser(file, kind, pure)
    chosen = {name: chooser.choose(file.tensors[name]) for name in sorted(file.tensors, key=_in_layer_order)}
    return {name: chosen[name] for name in file.tensors}


class _Chooser:
    """Chooses for tensor after tensor, in the order of layers: some rules count the tensors of a kind."""

    def __init__(self, file: GGUFFile, kind: FileType, pure: bool) -> None:
        self._kind = kind
        self._base = kind.base
        self._pure = pure or kind.base.block_size == 1
        self._facts = _Facts.read(file)
        self._tied = "output.weight" not in file.tensors
        self._n_values = sum(any(part in name for part in _VALUES) for name in file.tensors)
        self._n_values_seen = 0
        self._n_downs_seen = 0

    def choose(self, tensor: Tensor) -> BlockFormat:
        if not is_quantized(tensor):
            return tensor.format
        wanted = self._base if self._pure else self._by_role(tensor)
        return _fitting(wanted, tensor.shape[-1])

    def _by_role(self, tensor: Tensor) -> BlockFormat:
        name, facts = tensor.name, self._facts
        if name == "output.weight" or (self._tied and name in _EMBEDDINGS):
            if facts.is_falcon or tensor.shape[-1] % self._base.block_size:
                return formats.Q8_0
            return self._base if self._base is formats.Q8_0 else formats.Q6_K
        if name in _EMBEDDINGS:
            return self._base
        if any(part in name for part in _VALUES):
            self._n_values_seen += 1
            return self._attention_values(self._n_values_seen - 1)
        if "attn_k.weight" in name:
            return formats.Q8_0 if facts.n_experts == 8 else self._base
        if "attn_output.weight" in name:
            return self._attention_output()
        if "ffn_down" in name:
            self._n_downs_seen += 1
            by_name = facts.n_experts > 1 and _layer(name) >= 0
            return self._ffn_down(_layer(name) if by_name else self._n_downs_seen - 1)
        return self._base

    def _attention_values(self, layer: int) -> BlockFormat:
        chosen, facts = self._base, self._facts
        match self._kind.name:
            case "Q2_K":
                chosen = formats.Q4_K if facts.n_heads_per_kv_head >= 4 else formats.Q3_K
            case "Q3_K_M":
                chosen = formats.Q5_K if layer < 2 else formats.Q4_K
            case "Q3_K_L":
                chosen = formats.Q5_K
            case "Q4_K_S" if layer < 4:
                chosen = formats.Q5_K
            case "Q4_K_M" | "Q5_K_M" if _wants_more_bits(layer, self._n_values):
                chosen = formats.Q6_K
        if facts.is_70b and chosen in (formats.Q3_K, formats.Q4_K):
            chosen = formats.Q5_K
        return formats.Q8_0 if facts.n_experts == 8 else chosen

    def _attention_output(self) -> BlockFormat:
        kind, facts = self._kind.name, self._facts
        if facts.is_falcon:
            return formats.Q4_K if kind == "Q3_K_L" else self._base
        if facts.n_experts == 8:
            raised = kind in ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M")
            return formats.Q5_K if raised else self._base
        raised_to = {"Q2_K": formats.Q3_K, "Q3_K_M": formats.Q4_K, "Q3_K_L": formats.Q5_K}
        return raised_to.get(kind, self._base)

    def _ffn_down(self, layer: int) -> BlockFormat:
        falcon, n_layers = self._facts.is_falcon, self._facts.n_layers
        more = _wants_more_bits(layer, n_layers)
        match self._kind.name:
            case "Q2_K":
                return formats.Q3_K
            case "Q3_K_M" if layer < n_layers // 16:
                return formats.Q5_K
            case "Q3_K_M" if more or not falcon:
                return formats.Q4_K
            case "Q3_K_L":
                return formats.Q4_K if falcon else formats.Q5_K
            case "Q4_K_S" if layer < n_layers // 8 and not falcon:
                return formats.Q5_K
            case "Q4_K_M" if falcon and layer >= n_layers // 16:
                return formats.Q5_K if more else formats.Q4_K
            case "Q4_K_M" if more or falcon:
                return formats.Q6_K
            case "Q5_K_M" if more:
                return formats.Q6_K
        return self._base


@dataclass(frozen=True)
class _Facts:
    """The metadata that the rules need."""

    is_falcon: bool
    is_70b: bool
    n_layers: int
    n_experts: int
    n_heads_per_kv_head: int

    @classmethod
    def read(cls, file: GGUFFile) -> "_Facts":
        architecture = file.architecture
        n_layers = _number(file, f"{architecture}.block_count", 0)
        n_heads = _number(file, f"{architecture}.attention.head_count", 0)
        n_kv_heads = _number(file, f"{architecture}.attention.head_count_kv", n_heads)
        layers_of_70b = {"deci": 80, "jais2": 68, "olmo": 80, "qwen2": 80}
        if n_heads != n_kv_heads:
            layers_of_70b["llama"] = 80
        return cls(
            is_falcon=architecture == "falcon",
            is_70b=layers_of_70b.get(architecture) == n_layers,
            n_layers=n_layers,
            n_experts=_number(file, f"{architecture}.expert_count", 0),
            n_heads_per_kv_head=n_heads // n_kv_heads if n_kv_heads else 0,
        )


def is_quantized(tensor: Tensor) -> bool:
    """Does this tensor change its format? A matrix of floats does, unless its name is an exception."""
    is_matrix = any(size > 1 for size in tensor.shape[:-1])
    return (
        is_matrix
        and tensor.format not in (formats.I8, formats.I16, formats.I32, formats.I64)
        and tensor.name.endswith("weight")
        and tensor.name not in _KEPT_NAMES
        and not any(part in tensor.name for part in _KEPT_PARTS)
    )


def _fitting(wanted: BlockFormat, row_length: int) -> BlockFormat:
    """`wanted`, or another format for rows that are not whole blocks of it."""
    if row_length % wanted.block_size:
        wanted = _NARROWER.get(wanted, wanted)
    return wanted if row_length % wanted.block_size == 0 else formats.F16


def _wants_more_bits(layer: int, n_layers: int) -> bool:
    """True for the first and the last eighth of the layers, and every third between."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _in_layer_order(name: str) -> tuple[int, str]:
    return _layer(name), name


def _number(file: GGUFFile, key: str, default: int) -> int:
    """An integer of the metadata; of an array with one for each layer, the first."""
    value: Any = file.metadata.get(key, default)
    if isinstance(value, np.ndarray):
        value = value[0].item() if len(value) else default
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelError(f"{file.path}: {key} must be an integer, or one for each layer, found {value!r:.50}")
    return value
