"""Bytes <-> tensors: the mapped GGUF reader, metadata, block formats, dequantization; and the way back."""

from ..errors import GGUFFormatError, GGUFUnsupportedError, ModelError, NybbleError
from .dequantize import dequantize
from .file import GGUFFile, load_gguf
from .formats import FORMATS, BlockFormat
from .metadata import Metadata
from .mixtures import FILE_TYPES, FileType
from .quantize import quantize
from .quantize_file import quantize_gguf
from .tensor import Tensor

__all__ = [
    "FILE_TYPES",
    "FORMATS",
    "BlockFormat",
    "FileType",
    "GGUFFile",
    "GGUFFormatError",
    "GGUFUnsupportedError",
    "Metadata",
    "ModelError",
    "NybbleError",
    "Tensor",
    "dequantize",
    "load_gguf",
    "quantize",
    "quantize_gguf",
]
