"""A file's chat template: conversations -> texts as the model was trained to see them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, RequestError
from ...gguf_io.display import Shown
from ...tokenizer import Tokenizer

if TYPE_CHECKING:
    from jinja2 import Template

Message = Mapping[str, str]

KEY = "tokenizer.chat_template"
_MAX_CHARACTERS = 1 << 18
_WAY_OUT = "`LLM.generate` continues a text without it"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class RenderedChat(Shown):
    """A conversation, ready for the model."""

    text: str
    token_ids: list[int]
    """With one BOS if the file asks for it."""


class ChatTemplate:
    """Renders conversations by the Jinja template `source` of a file; it is compiled on first use.

    `path` names the file in messages. `variables` are the variables of the template besides the conversation:
    `bos_token`, `eos_token`.
    """

    def __init__(self, source: str, path: str, variables: Mapping[str, str]) -> None:
        self.source = source
        self._path = path
        self._variables = dict(variables)

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, Any], path: str, tokenizer: Tokenizer
    ) -> ChatTemplate | None:
        """The template of a file, None if it has none. Warns of one that is no text, and ignores it."""
        source = metadata.get(KEY)
        if source is not None and not isinstance(source, str):
            _log.warning("%s: %s is no UTF-8 text, and is ignored", path, KEY)
            return None
        return cls(source, path, _special_tokens(tokenizer)) if source else None

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The text of a conversation; with `add_generation_prompt` it ends where the answer begins.

        `messages`: {"role": "user", "content": "…"}, one after another. Raises RequestError for messages of
        another form, and if the template refuses the conversation; ModelError for a template that is not
        valid Jinja, fails, or exceeds its limits (`sandbox.py`).
        """
        from .sandbox import LimitError, RefusedError, render

        variables = {
            "messages": _checked(messages),
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self._variables,
        }
        try:
            return render(self._template, variables)
        except RefusedError as error:
            raise RequestError(
                f"{self._path}: its chat template refuses the conversation: {error}"
            ) from error
        except ModelError:
            raise
        except LimitError as error:
            raise self._error(f"is stopped: {error}") from error
        except Exception as error:  # a template can cause any error of Python
            raise self._error(f"fails: {type(error).__name__}: {error!s:.200}") from error

    @cached_property
    def _template(self) -> Template:
        from .sandbox import LimitedEnvironment

        if len(self.source) > _MAX_CHARACTERS:
            raise self._error(f"has {len(self.source):,} characters, of {_MAX_CHARACTERS:,} at most")
        try:
            return LimitedEnvironment().from_string(self.source)
        except Exception as error:  # also RecursionError, for parentheses by the thousand
            place = f" in line {error.lineno}" if hasattr(error, "lineno") else ""
            raise self._error(f"is no Jinja template{place}: {error!s:.200}") from error

    def _error(self, problem: str) -> ModelError:
        return ModelError(f"{self._path}: {KEY} {problem}; {_WAY_OUT}")


def render_chat(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool
) -> RenderedChat:
    """The text and the ids of a conversation; names of control tokens are read as such. Raises what
    `ChatTemplate.render` raises, and RequestError for lone surrogates."""
    text = template.render(messages, add_generation_prompt=add_generation_prompt)
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    if tokenizer.add_bos and tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
        ids.insert(0, tokenizer.bos_id)
    return RenderedChat(text, ids)


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    def name(id_: int | None) -> str:
        raw = b"" if id_ is None else tokenizer.token_bytes(id_, skip_special_tokens=False)
        return raw.decode(errors="replace")

    return {"bos_token": name(tokenizer.bos_id), "eos_token": name(tokenizer.eos_id)}


def _checked(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Copies of the messages, which a template may change; RequestError for messages of another form."""
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise RequestError(f"messages must be a list of at least one message, not {messages!r:.100}")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise RequestError(f'messages[{index}] must be {{"role": …, "content": …}}, not {message!r:.100}')
        for key, value in message.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise RequestError(f"messages[{index}][{key!r:.40}] must be a text, not {value!r:.100}")
    return [dict(message) for message in messages]
