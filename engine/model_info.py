"""Facts about a model that is loaded, as a server or an application shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..gguf_io.display import Shown
from ..gguf_io.file import GGUFFile
from ..gguf_io.mixtures import FILE_TYPES


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelInfo(Shown):
    """What a model is, and how it runs."""

    name: str
    """As the file says it, or the file's name."""
    path: str
    architecture: str
    format: str
    """Of the weights: "Q4_K_M", say, or what most bytes of them are."""
    n_params: int
    n_bytes: int
    """Of the weights in the file."""
    n_layers: int
    n_embd: int
    n_vocab: int
    n_ctx: int
    """How many tokens of prompt and generated text fit."""
    n_ctx_train: int
    """How many the model was trained for."""
    executor: str
    cache_type: str
    has_tokenizer: bool
    has_chat_template: bool
    """Is there a template for conversations in the file, or was one given?"""
    can_generate: bool
    """Does it continue texts? Models of embeddings do not."""


def weight_format(file: GGUFFile) -> str:
    """The file's type as its metadata has it, or the format of most bytes."""
    found = file.metadata.get("general.file_type")
    names = {kind.id: name for name, kind in FILE_TYPES.items()}
    if isinstance(found, int) and found in names:
        return names[found]
    n_bytes: Counter[str] = Counter()
    for tensor in file.tensors.values():
        n_bytes[tensor.format.name] += tensor.nbytes
    return n_bytes.most_common(1)[0][0]
