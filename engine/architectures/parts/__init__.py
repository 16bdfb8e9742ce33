"""What the files of architectures are written in: the record, its tables, the graph, and shared parts."""

from ...config.config import Config
from ...config.tensor_table import optional, required
from ...plan.graph.graph import Graph
from . import layers, rope, tensors
from .architecture import Architecture
from .rope import rope_table, rope_table_swa

__all__ = [
    "Architecture",
    "Config",
    "Graph",
    "layers",
    "optional",
    "required",
    "rope",
    "rope_table",
    "rope_table_swa",
    "tensors",
]
