"""What a server is told when it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...engine.steering.control_vector import ControlVector
from ...errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and rules. Times are in seconds, sizes in bytes."""

    keys: tuple[str, ...] = ()
    """API keys; without any everybody may ask."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names that a request's Host may have; "*" allows all. IP addresses and localhost always are."""
    strict: bool = False
    """Fields that no API knows are errors, too."""
    n_seq_max: int = 32
    """How many texts run side by side, and how many one request may ask for."""
    n_waiting_max: int = 512
    """How many texts may wait for a place beside them."""
    n_per_key_max: int | None = None
    """How many requests of one key may run or wait."""
    n_connections_max: int = 1024
    n_per_address_max: int = 512
    """How many connections one IP address (of IPv6: one network of 64 bits) may have."""
    body_max: int = 10_000_000
    """Of one request."""
    bodies_max: int = 256_000_000
    """Of all requests that are being read or prepared, and of captured activations."""
    read_seconds: float = 10.0
    """How long a head, and each piece of a body, may take to come."""
    write_seconds: float = 30.0
    """How long a client may take nothing of what is sent to it."""
    ping_seconds: float = 30.0
    """After so long without anything to say a stream says that it is alive."""
    drain_seconds: float = 30.0
    """How long running requests may go on after SIGTERM."""
    control_vectors: Mapping[str, ControlVector] = field(default_factory=dict)
    """By the names that requests give."""
    activations_max: int = 64_000_000
    """Of the activations that one request captures."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            low = 0 if name == "n_waiting_max" else 1
            if name.endswith("_max") and value is not None and value < low:
                raise RequestError(f"{name} must be at least {low}, not {value}")
            if name.endswith("_seconds") and not 0 < value < math.inf:
                raise RequestError(f"{name} must be a number of seconds above 0, not {value}")
