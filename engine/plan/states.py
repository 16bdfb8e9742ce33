"""The states of layers, as a plan specifies them: keys and values, or what a recurrence carries on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KVSpec:
    """Keys and values of an attention layer; window 0 keeps all, w > 0 those less than w positions back."""

    n_kv_heads: int
    head_dim: int
    window: int = 0
    value_dim: int = 0  # 0: as head_dim


@dataclass(frozen=True)
class RecurrentSpec:
    """What a recurrence carries from one token to the next: an array of this shape, zero at the start."""

    shape: tuple[int, ...]


StateSpec = KVSpec | RecurrentSpec
