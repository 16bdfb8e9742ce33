"""Bytes <-> tensors: the mapped GGUF reader, its metadata, the block formats and their dequantization."""

from .dequantize import dequantize
from .errors import GGUFFormatError, GGUFUnsupportedError, ModelError, NybbleError
from .file import GGUFFile, load_gguf
from .formats import FORMATS, BlockFormat
from .metadata import Metadata
from .tensor import Tensor

__all__ = [
    "FORMATS",
    "BlockFormat",
    "GGUFFile",
    "GGUFFormatError",
    "GGUFUnsupportedError",
    "Metadata",
    "ModelError",
    "NybbleError",
    "Tensor",
    "dequantize",
    "load_gguf",
]
