"""Direct logit attribution: which layers and heads write the answer into the residual stream.

The residual stream is a sum of the embedding and of the outputs of attention and feed-forward layer of every
block; the output of attention is a sum over heads. With the scales of norms held fixed a logit is linear in
it, so each part has a share of the logit.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (transformer-circuits.pub).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..engine.tracing.linear_path import LinearPath
from ..engine.tracing.trace import Trace
from ..gguf_io.display import Shown, Table, brief
from .tokens import token_id, token_text


@dataclass(frozen=True, repr=False)
class Attribution(Shown):
    """What each part adds to the logit of a token, or to the difference of two logits."""

    names: list[str]
    """(n_parts,): "embedding", "blk.0.attn", "blk.0.ffn" …; "blk.0" where a block is not in halves. By heads:
    "blk.0.head.0", "blk.0.head.1" …, and "blk.0.attn" for the rest: a bias, rounding."""
    values: NDArray[np.float64]
    """(n_parts, n_positions)"""
    token: str
    """The token whose logit is divided into shares."""
    over: str | None
    """The token whose logit is subtracted; None if there is none."""
    positions: list[int]
    """(n_positions,): the positions in the prompt after which the logits are."""

    @property
    def total(self) -> NDArray[np.float64]:
        """(n_positions,): the logit, or difference of logits, before any factor or cap after the head."""
        return np.asarray(self.values.sum(axis=0))

    @property
    def logit(self) -> str:
        """A description of the logit: "the logit of ' Mary' over ' John'"."""
        return f"the logit of {self.token!r}" + (f" over {self.over!r}" if self.over is not None else "")

    @property
    def heads(self) -> Mapping[int, NDArray[np.float64]]:
        """By block: (n_heads, n_positions), the shares of its heads; empty without `by_head`."""
        rows: dict[int, list[NDArray[np.float64]]] = {}
        for name, values in zip(self.names, self.values, strict=True):
            if ".head." in name:
                rows.setdefault(int(name.split(".")[1]), []).append(values)
        return Table({layer: np.stack(parts) for layer, parts in rows.items()}, "layers")

    def _facts(self) -> dict[str, str]:
        most = np.argsort(-np.abs(self.values[:, 0]))[:5].tolist()
        return {
            "of": self.logit,
            "positions": brief(self.positions),
            "total": brief(self.total.tolist()),
            "parts": str(len(self.names)),
            "most": ", ".join(f"{self.names[i]} {self.values[i, 0]:+.3g}" for i in most),
        }


def logit_attribution(
    llm: LLM,
    prompt: Prompt,
    token: int | str,
    over: int | str | None = None,
    positions: list[int] | None = None,
    *,
    by_head: bool = False,
) -> Attribution:
    """The share of each part of the model in the logit of `token`, less the logit of `over` if it is given.

        parts = research.logit_attribution(llm, "The capital of France is", " Paris", over=" London")

    The logits are those after `positions` (default: the last). `by_head` divides the output of attention.
    Tokens are given by their texts (" Mary") or ids.

    Raises RequestError if the path from the heads to the residual stream is not linear, and what `token_id`,
    `LLM.trace` and `Unembedding.directions` raise.
    """
    wanted = [token_id(llm, each) for each in (token, over) if each is not None]
    heads = [name for name in llm.activations if by_head and name.endswith(".attn_heads")]
    paths = {name.removesuffix(".attn_heads"): llm.linear_path(name) for name in heads}
    needed = [name for path in paths.values() for name in (path.start, *path.needs)]
    found = llm.trace(prompt, ["blk.*.resid_*", *needed], logits=None)
    places = [len(found.ids) - 1] if positions is None else positions
    streams = {name: found[name][places].astype(np.float64) for name in found if ".resid_" in name}
    last = list(streams)[-1]
    directions = llm.unembedding.directions(np.array(wanted), streams[last].astype(np.float32))
    direction = directions[:, 0] - (0 if over is None else directions[:, 1])
    names, shares = [], []
    for name, part in _parts(streams):
        share = np.einsum("pe,pe->p", part, direction)
        block = name.removesuffix(".attn")
        if block in paths and not name.endswith(".ffn"):
            by_heads = _head_shares(found, paths[block], direction, places)
            names += [f"{block}.head.{i}" for i in range(len(by_heads))]
            shares += [*by_heads]
            share = share - by_heads.sum(axis=0)
        names.append(name)
        shares.append(share)
    texts = [token_text(llm, each) for each in wanted]
    return Attribution(names, np.stack(shares), texts[0], texts[1] if len(texts) == 2 else None, places)


def _parts(streams: dict[str, NDArray[np.float64]]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The terms that the residual stream is a sum of, with their names."""
    first = next(iter(streams))
    yield "embedding", streams[first]
    before = streams[first]
    for name, stream in list(streams.items())[1:]:
        block = name.rsplit(".", 1)[0]
        if not name.endswith("resid_pre"):  # that is the output of the block before
            has_halves = f"{block}.resid_mid" in streams
            half = "" if not has_halves else ".attn" if name.endswith("resid_mid") else ".ffn"
            yield block + half, stream - before
        before = stream


def _head_shares(
    found: Trace, path: LinearPath, direction: NDArray[np.float64], places: list[int]
) -> NDArray[np.float64]:
    """(n_heads, n_positions): the shares of the heads that `path` begins with."""
    back = path.pull_back(direction, {name: found[name][places] for name in path.needs})
    values = found.heads(path.start)[places]  # (n_positions, n_heads, value_dim)
    shares: NDArray[np.float64] = (values * back.reshape(values.shape)).sum(axis=2).T
    return shares
