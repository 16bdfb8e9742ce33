"""The chat templates of a file: its own one, and others with names ("tool_use", "rag")."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import RequestError, did_you_mean
from ...system.notices import say
from ...tokenizer import Tokenizer
from .default_templates import PLAIN, default_template
from .template import ChatTemplate

KEY = "tokenizer.chat_template"
_NO_CHAT = ("rerank",)  # read where rerankers are asked
_log = logging.getLogger(__name__)


class ChatTemplates:
    """The templates in the metadata of the file `path`. One that is no text is ignored, with a warning.

    `own`: the file's template, None if it has none; `named`: name -> template.
    """

    def __init__(self, metadata: Mapping[str, Any], path: str, tokenizer: Tokenizer) -> None:
        self._path, self._tokenizer = path, tokenizer
        self.own: ChatTemplate | None = None
        self.named: dict[str, ChatTemplate] = {}
        self._default: ChatTemplate | None = None
        for key in metadata:
            if key != KEY and not key.startswith(KEY + "."):
                continue
            source = metadata[key]
            name = key.removeprefix(KEY).removeprefix(".")
            if not isinstance(source, str):
                _log.warning("%s: %s is no UTF-8 text, and is ignored", path, key)
            elif source and name not in _NO_CHAT:
                self._add(name, self._template(source, f"{path}: {key}"))

    def replace(self, template: str | os.PathLike[str]) -> None:
        """Puts another in the place of the file's: a text with a "{", or the path of a file with one.
        RequestError if there is no such file."""
        source = template
        title = "chat_template"
        if not isinstance(template, str | os.PathLike):
            raise RequestError(f"chat_template must be a text or a path, not {template!r:.100}")
        if not isinstance(template, str) or "{" not in template:
            path = Path(template).expanduser()
            title = f"chat_template {path}"
            try:
                source = path.read_text("utf-8")
            except UnicodeDecodeError as error:
                raise RequestError(f"{title} must be a UTF-8 text: {error}") from error
            except (FileNotFoundError, ValueError) as error:
                raise RequestError(
                    f"chat_template must be a Jinja template, or the path of one, not {str(path)!r:.200}"
                ) from error
        self.own, self.named = self._template(str(source), title), {}

    def find(self, name: str | None, has_tools: bool) -> ChatTemplate:
        """The template with this name. For None that for tools where there are some ("tool_use"), the file's
        own, or a default for its vocabulary, which is said once. RequestError for an unknown name."""
        if name is not None:
            if not isinstance(name, str) or name not in self.named:
                hint = did_you_mean(str(name), self.named) or f"; it has {', '.join(self.named) or 'none'}"
                raise RequestError(f"{self._path} has no chat template named {name!r:.100}{hint}")
            return self.named[name]
        if has_tools and "tool_use" in self.named:
            return self.named["tool_use"]
        if self.own is not None:
            return self.own
        if self._default is None:
            self._default = self._made_default()
        return self._default

    def _made_default(self) -> ChatTemplate:
        default = default_template(self._tokenizer.control_names)
        why = "names no format" if default is PLAIN else "has its control tokens"
        say(f"{Path(self._path).name} has no chat template; its vocabulary {why}, so {default.name} is used")
        return self._template(default.source, f"the chat template {default.name}", default.stop)

    def _add(self, name: str, template: ChatTemplate) -> None:
        if name:
            self.named[name] = template
        else:
            self.own = template

    def _template(self, source: str, title: str, stop: tuple[str, ...] = ()) -> ChatTemplate:
        tokenizer = self._tokenizer

        def token(id_: int | None) -> str:
            raw = b"" if id_ is None else tokenizer.token_bytes(id_, skip_special_tokens=False)
            return raw.decode(errors="replace")

        variables = {"bos_token": token(tokenizer.bos_id), "eos_token": token(tokenizer.eos_id)}
        return ChatTemplate(source, title, variables, tokenizer.control_names, stop)
