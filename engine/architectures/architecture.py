"""What an architecture is: one record, filled in by one file, the same for all.

To write one: the metadata keys it adds (`keys`), those it leaves aside (`inert`, with reasons), the tensors
it has (`tensors`), those it leaves aside (`inert_tensors`, with reasons), the graph (`build`), and what
stands behind the pooling of embeddings (`build_pooled`).  Nothing else in nybble knows an architecture by
name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...gguf_io.display import Shown, brief
from ..config.config import Config
from ..config.keys import Key
from ..config.tensor_table import Shape
from ..plan.graph.graph import Graph


def no_head(graph: Graph, config: Config) -> None:
    """The pooled embedding is the embedding."""


@dataclass(frozen=True, repr=False)
class Architecture(Shown):
    """`build(graph, config)` may count on the required tensors of the table being there, in their shapes."""

    name: str
    tensors: Mapping[str, Shape]
    build: Callable[[Graph, Config], None]
    keys: Mapping[str, Key] = field(default_factory=dict)
    inert: Mapping[str, str] = field(default_factory=dict)
    inert_tensors: Mapping[str, str] = field(default_factory=dict)
    build_pooled: Callable[[Graph, Config], None] = no_head

    def _facts(self) -> dict[str, str]:
        return {
            "name": brief(self.name),
            "tensors": str(len(self.tensors)),
            "keys": brief(list(self.keys)),
            "build": f"{self.build.__module__}.{self.build.__qualname__}",
        }
