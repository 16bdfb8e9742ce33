"""Facts about a model that is loaded, as a server or an application shows them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..gguf_io.display import Shown
from ..gguf_io.file import GGUFFile
from ..gguf_io.mixtures import FILE_TYPES
from ..tokenizer import has_tokenizer
from .model import Model


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

    @classmethod
    def of(cls, model: Model, n_ctx: int, executor: str, cache_type: str, has_chat_template: bool) -> Self:
        """The facts of a model, and how it was loaded."""
        file, config = model.file, model.config
        named, tensors = file.metadata.get("general.name"), file.tensors.values()
        return cls(
            name=named if isinstance(named, str) and named else Path(file.path).stem,
            path=os.fspath(file.path),
            architecture=config.architecture,
            format=weight_format(file),
            n_params=sum(tensor.n_values for tensor in tensors),
            n_bytes=sum(tensor.nbytes for tensor in tensors),
            n_layers=config.n_layers,
            n_embd=config.n_embd,
            n_vocab=config.n_vocab,
            n_ctx=n_ctx,
            n_ctx_train=config.n_ctx_train,
            executor=executor,
            cache_type=cache_type,
            has_tokenizer=has_tokenizer(file),
            has_chat_template=has_chat_template,
            can_generate=model.can_generate,
        )


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
