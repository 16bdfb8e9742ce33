"""The angles of RoPE, as a plan has them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.display import Shown


@dataclass(frozen=True, eq=False, repr=False)
class RopeTable(Shown):
    """Angles by which a `Rope` rotates: position * inv_freq, cosine and sine multiplied by `scale`.

    LongRoPE has other frequencies for contexts of more than `n_short` positions.
    """

    inv_freq: NDArray[np.float64]  # (n_rot / 2,)
    scale: float = 1.0
    long_inv_freq: NDArray[np.float64] | None = None
    n_short: int = 0

    def for_context(self, n_ctx: int) -> "RopeTable":
        """The table for a context of so many positions."""
        if self.long_inv_freq is None or n_ctx <= self.n_short:
            return self
        return RopeTable(self.long_inv_freq, self.scale)


def rope_frequencies(n_rot: int, base: float, stretch: float = 1.0) -> NDArray[np.float64]:
    """-> base^(-2 i / n_rot) / stretch, (n_rot / 2,); `stretch` is the factor of linear position scaling."""
    if n_rot <= 0 or n_rot % 2:
        raise ValueError(f"n_rot must be even and above 0, not {n_rot}")
    return base ** (-np.arange(0, n_rot, 2, dtype=np.float64) / n_rot) / stretch
