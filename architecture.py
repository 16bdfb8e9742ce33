"""For those who write an architecture: its record, and what its tables and its graph are made of.

    from nybble.architecture import Architecture, Graph, Key, layers, register_architecture, rope, tensors

An `Architecture` says what the metadata and the tensors of a file must be, and builds the plan by methods of
`Graph`, an operation a line. `tensors`, `layers` and `rope` are what many architectures share. One in 40
lines is examples/new_architecture.py; "Adding an architecture" in CONTRIBUTING.md goes through the steps.
"""

from .engine.architectures.parts import Architecture, Config, Graph, layers, rope, tensors
from .engine.architectures.registry import register_architecture
from .engine.config.keys import Key

__all__ = ["Architecture", "Config", "Graph", "Key", "layers", "register_architecture", "rope", "tensors"]
