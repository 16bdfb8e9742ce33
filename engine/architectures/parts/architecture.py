"""The record of an architecture: its metadata keys, its tensors and its graph.

Each file of `engine/architectures` fills in one or several.  Nothing else knows an architecture by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ....gguf_io.display import Shown, brief
from ...config.config import Config
from ...config.keys import Key
from ...config.tensor_table import Shape
from ...plan.graph.graph import Graph


def no_head(graph: Graph, config: Config) -> None:
    """The pooled embedding is the embedding."""


@dataclass(frozen=True, repr=False)
class Architecture(Shown):
    """An architecture.  Files are checked against its tables before `build` is called.

    `build(graph, config)` adds the operations; the required tensors are there, in their shapes.
    `build_pooled(graph, config)` adds what follows the pooling of embeddings, from the buffer "pooled".
    """

    name: str
    tensors: Mapping[str, Shape]
    build: Callable[[Graph, Config], None]
    keys: Mapping[str, Key] = field(default_factory=dict)  # beside those that all architectures have
    inert: Mapping[str, str] = field(default_factory=dict)  # keys that change nothing, with the reason
    inert_tensors: Mapping[str, str] = field(default_factory=dict)  # likewise tensors
    build_pooled: Callable[[Graph, Config], None] = no_head

    def _facts(self) -> dict[str, str]:
        return {
            "name": brief(self.name),
            "tensors": str(len(self.tensors)),
            "keys": brief(list(self.keys)),
            "build": f"{self.build.__module__}.{self.build.__qualname__}",
        }
