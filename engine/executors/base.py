"""What an executor is: the part that runs a plan.  There are two, `reference` (NumPy) and `numba`."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..hooks.taps import Taps


class Executor(Protocol):
    """Runs one sequence of tokens through a plan, and keeps its state (keys and values) between calls."""

    @property
    def compile_seconds(self) -> float:
        """What making this executor spent on compiling kernels, or reading them from the cache."""

    @property
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that must be read to decode one token, as this executor has packed them."""

    @property
    def has_float16_cache(self) -> bool:
        """Are keys and values rounded to float16?"""

    def forward(
        self, ids: NDArray[np.int32], start: int, rows: NDArray[np.intp], taps: Taps | None = None
    ) -> NDArray[np.float32]:
        """Runs `ids` (n,) at the positions start, start + 1 …; -> the logits of `rows`: (len(rows), n_vocab),
        or of a model without logits the embeddings: (len(rows), n_embd).

        `rows` are indices into `ids`, ascending; with none of them the head is skipped.  The state must hold
        exactly the positions before `start`.  The next call may overwrite the result.

        `taps` are shown what they listen to.  If they raise, the state is undefined until the next `reset`.
        """

    def reset(self) -> None:
        """Forgets all positions."""

    def truncate(self, n_positions: int) -> None:
        """Forgets all positions from `n_positions` on."""

    def close(self) -> None:
        """Frees memory and ends threads; the executor is not usable afterwards."""
