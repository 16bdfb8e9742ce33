"""The edit that adds directions to an activation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ..hooks.taps import EditInfo

_KEY = "add "


@dataclass(frozen=True, eq=False)
class AddedDirections:
    """Adds a sum of directions, each times its strength, at every position. It can be pickled, and has a
    `cache_key`: what runs with it shares what is computed with all that is steered in the same way."""

    parts: tuple[tuple[float, NDArray[np.float32]], ...]
    """Strengths, and directions (width,) float32 of one width."""

    @cached_property
    def total(self) -> NDArray[np.float32]:
        """What is added, (width,) float32."""
        first, *others = [np.float32(strength) * direction for strength, direction in self.parts]
        for other in others:
            first = first + other
        return first

    @cached_property
    def cache_key(self) -> str:
        """Strengths, and hashes of directions."""
        return _KEY + " ".join(f"{strength!r}*{hash_of(direction)}" for strength, direction in self.parts)

    @classmethod
    def of_key(cls, key: str, known: Mapping[str, NDArray[np.float32]]) -> AddedDirections | None:
        """The edit of a `cache_key`, by directions that are known by their hashes; None for the key of
        another kind of edit, and if a direction is not known."""
        parts = []
        for text in key.removeprefix(_KEY).split(" ") if key.startswith(_KEY) else ():
            strength, _, digits = text.partition("*")
            if digits not in known:
                return None
            try:
                parts.append((float(strength), known[digits]))
            except ValueError:
                return None
        return cls(tuple(parts)) if parts and len({d.shape for _, d in parts}) == 1 else None

    def __call__(self, values: NDArray[np.float32], info: EditInfo) -> None:
        if values.shape[1] != len(self.total):
            raise RequestError(
                f"{info.name} is {values.shape[1]} wide, but the control vector has {len(self.total)}"
                " values: it was made for another model"
            )
        values += self.total


def hash_of(direction: NDArray[np.float32]) -> str:
    """The SHA-256 of a direction's numbers, little-endian, in hexadecimal digits."""
    return hashlib.sha256(direction.astype("<f4").tobytes()).hexdigest()
