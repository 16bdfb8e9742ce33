"""The part of a model that reads what is asked of it: its file, tokenizer and templates, and no weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..tokenizer import Tokenizer
from .answers.chatter import Chatter
from .chat.template import ChatTemplate
from .config.config import Config
from .generation.prompt import Prompt, prompt_ids
from .generation.prompts import Prompts
from .hooks.activations import ActivationSpec
from .model import Model
from .sampling.params import SamplingParams
from .sampling.recommended import recommended_params, recommended_values


class TextFront(Chatter):
    """Texts and conversations become ids, and are checked; a subclass says what runs them."""

    path: Path
    config: Config
    tokenizer: Tokenizer | Any  # not `| None`: few files have none
    """None if the file has none: then prompts and results are ids without text."""
    _model: Model

    def _read(self, model: Model, path: Path, chat_template: str | os.PathLike[str] | None) -> None:
        """Takes from an open file what texts need; the metadata is not needed afterwards."""
        self._model, self.path, self.config = model, path, model.config
        self.tokenizer = model.tokenizer
        self._chat_templates = model.chat_templates
        if chat_template is not None:
            if self._chat_templates is None:
                raise RequestError(f"chat_template needs a tokenizer, and {path} has none")
            self._chat_templates.replace(chat_template)
        self._text = model.text
        self._recommended = recommended_values(model.file.metadata)

    @property
    def chat_template(self) -> ChatTemplate | None:
        """The template for conversations; None if the file has none, as those of base models, and none was
        given."""
        return self._chat_templates.own if self._chat_templates else None

    @property
    def activations(self) -> Mapping[str, ActivationSpec]:
        """The activations that `trace` can read and `edit` replace: name -> dims, meaning and more, in the
        order of computation."""
        return self._model.activations

    @property
    def file_identity(self) -> tuple[object, ...]:
        """See `GGUFFile.identity`."""
        return self._model.file.identity

    def require_generation(self) -> None:
        """RequestError, which says what to use instead, if this model does not generate text."""
        self._model.require_generation()

    def default_sampling_params(self) -> SamplingParams:
        """The parameters of sampling that the file recommends (`general.sampling.*`); greedy if it recommends
        none. `dataclasses.replace` changes some of them. GGUFFormatError if they are out of range.

            llm.generate("Once upon a time", llm.default_sampling_params())
        """
        return recommended_params(self._recommended, os.fspath(self.path))

    def prompt_ids(self, prompt: Prompt) -> NDArray[np.int32]:
        """The ids of the tokens of a prompt, BOS included, (n_tokens,) int32; RequestError if it cannot be
        run."""
        self._check_usable()
        return self._checked_ids(prompt)

    def _prompts(self, given: Any, name: str = "prompt", *, is_one: bool | None = None) -> Prompts:
        self._check_usable()
        return Prompts(given, self._checked_ids, name, is_one=is_one)

    def _require_logits(self, also: str = "") -> None:
        self._model.require_logits(also)

    def _checked_ids(self, prompt: Prompt) -> NDArray[np.int32]:
        return prompt_ids(prompt, self._encode, self.config.n_vocab, self.n_ctx, self.config.n_ctx_train)

    def _encode(self, text: str, add_special: bool = True) -> list[int]:
        """The ids of a prompt, whose author is trusted: names of control tokens are read as such. Untrusted
        text should be encoded without `parse_special`, and passed as ids."""
        if self.tokenizer is None:
            raise RequestError(f"{self.path} has no tokenizer: a prompt must be a list of token ids, no text")
        return self.tokenizer.encode(text, add_special, parse_special=True)
