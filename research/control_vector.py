"""Finding control vectors from pairs of prompts that differ in one respect.

Sources: Turner et al. 2023, "Activation Addition" (arXiv:2308.10248); Zou et al. 2023, "Representation
Engineering" (arXiv:2310.01405).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..engine.steering.control_vector import ControlVector
from ..errors import RequestError


def train_control_vector(
    llm: LLM, pairs: Sequence[tuple[Prompt, Prompt]], method: Literal["mean", "pca"] = "mean"
) -> ControlVector:
    """A control vector from pairs of prompts, (more of it, less of it), for all blocks but the first.

        pairs = [("I am happy.", "I am sad."), ("We laughed.", "We wept.")]
        vector = research.train_control_vector(llm, pairs)

    "mean" takes the mean difference of the residual streams at the last token; "pca" the first principal axis
    of the differences, with the sign and the length of their mean along it. Raises RequestError for no pairs,
    and what `LLM.trace` raises.
    """
    if method not in ("mean", "pca"):
        raise RequestError(f'method must be "mean" or "pca", not {method!r:.100}')
    if not pairs:
        raise RequestError("a control vector needs at least one pair of prompts")
    sides = [np.stack([_last_residuals(llm, pair[side]) for pair in pairs]) for side in (0, 1)]
    differences = sides[0].astype(np.float64) - sides[1]  # (n_pairs, n_layers, n_embd)
    directions = {
        layer: _direction(differences[:, layer], method).astype(np.float32)
        for layer in range(1, differences.shape[1])
    }
    return ControlVector(directions, llm.config.architecture)


def _last_residuals(llm: LLM, prompt: Prompt) -> NDArray[np.float32]:
    trace = llm.trace(prompt, "blk.*.resid_post", logits=None)
    return np.stack([value[-1] for value in trace.values()])


def _direction(differences: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """(n_pairs, n_embd) -> the direction (n_embd,)."""
    mean: NDArray[np.float64] = differences.mean(axis=0)
    if method == "mean":
        return mean
    axis = np.linalg.svd(differences, full_matrices=False)[2][0]
    along: NDArray[np.float64] = axis * (axis @ mean)
    return along
