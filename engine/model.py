"""A model file, opened and checked, with the plan to run it."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from ..errors import GGUFUnsupportedError, ModelError, RequestError
from ..gguf_io.display import Table
from ..gguf_io.file import GGUFFile, load_gguf
from ..gguf_io.file_kind import other_kind
from ..tokenizer import IdsOnly, Tokenizer, has_tokenizer
from .architectures import ARCHITECTURES
from .architectures.parts.architecture import Architecture
from .chat.templates import ChatTemplates
from .config.config import Config
from .config.ollama import ARCHITECTURES as OLLAMA_NAMES, as_llama_cpp
from .config.read import read_config
from .config.tensor_table import check_all_used, check_tensors
from .hooks.activations import ActivationSpec, activation_table
from .plan.graph.graph import Graph
from .plan.plan import Plan

_DEFAULT_N_CTX = 4096


@dataclass(frozen=True)
class Model:
    """The open file, its hyperparameters and its plans.  The plans' tensors are views of the mapped file."""

    file: GGUFFile
    config: Config
    plan: Plan
    pooled_plan: Plan
    """The operations after the pooling of embeddings, from the buffer "pooled" on; may be empty."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Opens `path` and checks it: the container, then as `of` does. OSErrors are passed on."""
        file = load_gguf(path)
        try:
            return cls.of(file)
        except BaseException:
            file.close()
            raise

    @classmethod
    def of(cls, file: GGUFFile) -> Self:
        """Checks the architecture, hyperparameters and tensors of an open file, in that order.

        Raises GGUFUnsupportedError or ModelError.
        """
        file = as_llama_cpp(file)
        architecture = find_architecture(file)
        config = read_config(file, architecture.name, architecture.keys, architecture.inert)
        check_tensors(file, config, architecture.tensors, architecture.inert_tensors)
        graph, pooled = Graph(file.tensors), Graph(file.tensors)
        architecture.build(graph, config)
        pooled.begin_pooled(config.n_embd)
        architecture.build_pooled(pooled, config)
        check_all_used(file, config, graph.used | pooled.used, architecture.inert_tensors)
        return cls(file, config, graph.plan(), pooled.pooled_plan())

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the file; None if it has none, and its model runs on ids alone."""
        return find_tokenizer(self.file)

    @cached_property
    def text(self) -> Tokenizer | IdsOnly:
        """The tokenizer, or its substitute where there is none."""
        return self.tokenizer or IdsOnly.from_gguf(self.file, self.config.n_vocab)

    @cached_property
    def chat_templates(self) -> ChatTemplates | None:
        """The file's templates for conversations, not compiled yet; None if it has no tokenizer."""
        if self.tokenizer is None:
            return None
        return ChatTemplates(self.file.metadata, str(self.file.path), self.tokenizer)

    @property
    def default_n_ctx(self) -> int:
        """The default size of a context: memory is taken for it, so it is limited."""
        return min(self.config.n_ctx_train, self.plan.n_ctx_max or _DEFAULT_N_CTX, _DEFAULT_N_CTX)

    @cached_property
    def activations(self) -> Table[str, ActivationSpec]:
        """The activations that can be read and replaced, by name, in the order of computation."""
        return activation_table(self.plan)

    @property
    def can_generate(self) -> bool:
        """Does it say what comes next?"""
        return self.plan.has_logits and self.plan.is_causal

    def require_logits(self, more: str = "") -> None:
        """RequestError, which says what to use instead (and `more`), if this model gives embeddings only."""
        if not self.plan.has_logits:
            raise RequestError(
                f"{self.file.path}: a model of architecture {self.config.architecture!r} gives embeddings of "
                f"a text and does not say what comes next; use `LLM.embed`{more}"
            )

    def require_generation(self) -> None:
        """RequestError, which says what to use instead, if this model does not generate text."""
        self.require_logits()
        if not self.plan.is_causal:
            raise RequestError(
                f"{self.file.path}: a model of architecture {self.config.architecture!r} fills in a text "
                "whose tokens see each other, and does not go on with one; use `LLM.logits` or `LLM.embed`"
            )

    def close(self) -> None:
        """Closes the file; tensors that were taken before stay valid."""
        self.file.close()


def find_tokenizer(file: GGUFFile) -> Tokenizer | None:
    """The tokenizer of a file, None if it has none; raises what `Tokenizer.from_gguf` raises."""
    return Tokenizer.from_gguf(file) if has_tokenizer(file) else None


def find_architecture(file: GGUFFile) -> Architecture:
    """The architecture that `file` names; GGUFUnsupportedError if it names none that nybble knows, or if the
    file is no language model."""
    kind = other_kind(file)
    if kind is not None:
        raise GGUFUnsupportedError(f"{file.path}: this is {kind.name}; {kind.advice}")
    key = "general.architecture"
    name = file.metadata.get(key, "")
    if not isinstance(name, str):
        found = file.metadata.type_of(key)
        raise ModelError(f"{file.path}: {key} has the wrong type: must be text, found {found}")
    name = OLLAMA_NAMES.get(name, name)
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise GGUFUnsupportedError(f"{file.path}: {key} is {name!r}; nybble runs {known}")
    return ARCHITECTURES[name]
