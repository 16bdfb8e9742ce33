"""Direct logit attribution: which layers write the answer into the residual stream.

The residual stream is a sum: the embedding, and what the attention and the feed-forward half of every block
add. With the last norm's scale held fast a logit is linear in it, so each part has a share of its own.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (transformer-circuits.pub).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine.llm import LLM
from ..engine.prompt import Prompt
from ..gguf_io.errors import RequestError


@dataclass(frozen=True)
class Attribution:
    """What each part adds to the logit of a token, or to that of one token over another."""

    names: list[str]
    """(n_parts,): "embedding", "blk.0.attn", "blk.0.ffn" …; "blk.0" where both halves work side by side."""
    values: NDArray[np.float64]
    """(n_parts, n_positions)"""

    @property
    def total(self) -> NDArray[np.float64]:
        """(n_positions,): the logit, or difference of logits, before any factor or cap behind the head."""
        total: NDArray[np.float64] = self.values.sum(axis=0)
        return total


def logit_attribution(
    llm: LLM, prompt: Prompt, token: int, over: int | None = None, positions: list[int] | None = None
) -> Attribution:
    """The share of each part in the logit of `token` after `positions` (default: the last), less that of
    `over` if it is given. Raises RequestError as `LLM.trace` and `Unembedding.directions` do."""
    found = llm.trace(prompt, "blk.*.resid_*", logits=None)
    places = [len(found.ids) - 1] if positions is None else positions
    wanted = np.array([token] if over is None else [token, over])
    if wanted.min() < 0 or wanted.max() >= llm.config.n_vocab:
        raise RequestError(f"tokens lie in 0 to {llm.config.n_vocab - 1}, not {wanted.tolist()}")
    streams = {name: array[places].astype(np.float64) for name, array in found.items()}
    last = list(streams)[-1]
    directions = llm.unembedding.directions(wanted, streams[last].astype(np.float32))
    direction = directions[:, 0] - (0 if over is None else directions[:, 1])
    first = next(iter(streams))
    names, parts = ["embedding"], [streams[first]]
    before = streams[first]
    for name, stream in list(streams.items())[1:]:
        if name.endswith("resid_pre"):  # what the block before has left
            before = stream
            continue
        block = name.rsplit(".", 1)[0]
        has_halves = f"{block}.resid_mid" in streams
        half = "" if not has_halves else ".attn" if name.endswith("resid_mid") else ".ffn"
        names.append(block + half)
        parts.append(stream - before)
        before = stream
    return Attribution(names, np.stack([np.einsum("pe,pe->p", part, direction) for part in parts]))
