"""Runs of a model whose activations are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Table
from ..hooks.activations import ActivationSpec, nearest

Array = NDArray[np.float32]


class Trace(Mapping[str, Array]):
    """The result of `LLM.trace`: captured activations by their names, in the order of computation.

        trace = llm.trace("The capital of France is", capture="blk.*.resid_post", logits=None)
        trace["blk.3.resid_post"].shape  # (n_tokens, n_embd)

    Each is (n_tokens, width) float32; attention probabilities are (n_tokens, n_heads, n_tokens). The arrays
    stay valid after the LLM is closed; two names of one buffer ("blk.1.resid_pre", "blk.0.resid_post") give
    the same array.
    """

    def __init__(
        self,
        ids: NDArray[np.int32],
        logits: Array | None,
        specs: Mapping[str, ActivationSpec],
        arrays: Mapping[str, Array],
    ) -> None:
        self.ids = ids
        """The ids of the tokens that were run, (n_tokens,) int32."""
        self._logits = logits
        self._specs = specs
        self._arrays = arrays

    @property
    def logits(self) -> Array:
        """(n_positions, n_vocab) float32, at the positions asked for; RequestError if there were none."""
        if self._logits is None:
            raise RequestError('this trace has no logits; ask for them: trace(..., logits="all")')
        return self._logits

    @property
    def names(self) -> list[str]:
        """The names of the captured activations, in the order of computation."""
        return list(self._specs)

    def heads(self, name: str) -> Array:
        """An activation with the dims of `LLM.activations`, heads, experts or groups: (n_tokens, n_heads,
        head_dim), a view; (n_tokens, width) for one without."""
        value, dims = self[name], self._specs[name].dims
        return value if "n_keys" in dims else value.reshape(len(value), *map(int, dims))

    def __getitem__(self, name: str) -> Array:
        if name not in self._specs:
            hint = nearest(self._specs, name) if isinstance(name, str) else ""
            raise KeyError(f"{name!r:.100} was not captured{hint} (of {len(self._specs)} that were)")
        return self._arrays[self._specs[name].buffer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        logits = "no" if self._logits is None else len(self._logits)
        return f"Trace({len(self.ids)} tokens, {len(self)} activations, {logits} rows of logits)"

    def _repr_html_(self) -> str:
        return Table(self, f"activations of {len(self.ids)} tokens")._repr_html_()
