"""A chat template: conversations -> texts as a model was trained to see them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...errors import ModelError, RequestError, did_you_mean
from ...gguf_io.display import Shown
from ...tokenizer import Tokenizer
from .answer_format import AnswerFormat
from .conversation import Conversation
from .derive import derived_format
from .marks import Marker, unused_character, with_plain_marks
from .renderer import RENDERER, RendererDiedError
from .traits import TemplateTraits

_MAX_CHARACTERS = 1 << 18
_MAX_PROBED = 1 << 18  # characters of what a template makes of a made-up conversation
_WAY_OUT = "`LLM.generate` continues a text without it"
RESERVED = frozenset(
    {
        *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message"),
        *("bos_token", "eos_token", "chat_template", "tokenize", "return_dict"),
    }
)
"""Variables of templates that are no arguments of a request."""


@dataclass(frozen=True, repr=False)
class RenderedChat(Shown):
    """A conversation, ready for the model."""

    text: str
    token_ids: list[int]
    """With one BOS if the file asks for it. Control tokens are those that the template has written; their
    names in a message are text."""


class ChatTemplate:
    """Renders conversations by the Jinja template `source`, in a process with limits (`renderer.py`).

    `title` names it in messages: a file, and where in it. `variables` are those of the template besides the
    conversation: `bos_token`, `eos_token`. `control_names` are the names of the vocabulary's control tokens.
    `stop`: texts that end an answer.
    """

    def __init__(
        self,
        source: str,
        title: str,
        variables: Mapping[str, str],
        control_names: Collection[str] = (),
        stop: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.stop = stop
        self._title = title
        self._variables = dict(variables)
        self._control_names = control_names
        self._exceeds_limits = False  # then it is not tried out any more

    def render(self, conversation: Conversation, tokenizer: Tokenizer) -> RenderedChat:
        """The text and the ids of a conversation. Raises RequestError if the template refuses it, knows no
        such variable, or does not show what is to be continued; ModelError for a template that is not valid
        Jinja, fails, or exceeds its limits."""
        text, mark = self._marked_text(conversation)
        ids = tokenizer.encode(text, add_special=False, parse_special=True, mark=mark)
        if tokenizer.add_bos and tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
            ids.insert(0, tokenizer.bos_id)
        return RenderedChat(text.replace(mark, "") if mark else text, ids)

    @cached_property
    def traits(self) -> TemplateTraits:
        """How it wants messages to look. A template that fails has those of most."""
        return TemplateTraits(self.probe)

    @cached_property
    def answer_format(self) -> AnswerFormat:
        """How the parts of an answer are told apart."""
        return derived_format(self.probe, self.source, self.traits)

    @property
    def probe(self) -> Callable[[Mapping[str, Any]], str | None]:
        """Renders variables that are made up, to see what the template makes of them; None if it cannot."""

        def render(variables: Mapping[str, Any]) -> str | None:
            if self._exceeds_limits:
                return None
            try:
                text = self._rendered(self._defaults() | dict(variables))
                return text if len(text) <= _MAX_PROBED else None
            except (ModelError, RequestError):
                return None

        return render

    def _marked_text(self, conversation: Conversation) -> tuple[str, str]:
        """The text, with marks in the names of control tokens that are no control tokens, and the mark."""
        self._check_variables(conversation.variables)
        messages = self.traits.adapted(conversation.messages)
        end = ""
        if conversation.is_continued:
            end = unused_character(messages, self.source)
            messages[-1] = self.traits.with_end(messages[-1], end)
        given = [messages, conversation.tools, conversation.documents, conversation.variables]
        mark = self._marker.mark_for(*given)
        messages, tools, documents, variables = self._marker.marked(given, mark)
        text = self._rendered(
            {
                **self._defaults(),
                **variables,
                "messages": messages,
                "tools": tools or None,
                "documents": documents or None,
                "add_generation_prompt": conversation.add_generation_prompt and not conversation.is_continued,
            }
        )
        if conversation.is_continued:
            text, found, _ = text.rpartition(end)
            if not found:
                raise RequestError(f"{self._title} does not show the last message, so it cannot be continued")
        return with_plain_marks(text, mark), mark

    def _defaults(self) -> dict[str, Any]:
        return {"tools": None, "documents": None, "add_generation_prompt": True, **self._variables}

    def _check_variables(self, variables: Mapping[str, Any]) -> None:
        for name in variables:
            if name in RESERVED:
                raise RequestError(
                    f"chat_template_kwargs must not have {name!r}: it is an argument of its own, or none"
                )
            if name not in self._names:
                known = sorted(set(self._names) - RESERVED)
                raise RequestError(
                    f"chat_template_kwargs has {name!r}, which {self._title} does not read"
                    f"{did_you_mean(name, known)}"
                )

    @cached_property
    def _names(self) -> list[str]:
        """The variables that the template reads."""
        names: list[str] = self._reply({"source": self.source})["names"]
        return names

    @cached_property
    def _marker(self) -> Marker:
        return Marker(self._control_names, self.source)

    def _rendered(self, variables: Mapping[str, Any]) -> str:
        text: str = self._reply({"source": self.source, "variables": variables})["text"]
        return text

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(self.source) > _MAX_CHARACTERS:
            raise self._error(f" has {len(self.source):,} characters, of {_MAX_CHARACTERS:,} at most")
        try:
            reply = RENDERER.ask(request)
        except RendererDiedError as error:
            self._exceeds_limits = True
            raise self._error(" is stopped: it takes too much time or memory") from error
        message = reply.get("message", "")
        match reply.get("error"):
            case None:
                return reply
            case "refused":
                raise RequestError(f"{self._title} refuses the conversation: {message}")
            case "syntax":
                raise self._error(f" is no Jinja template{message}")
            case "limit":
                self._exceeds_limits = True
                raise self._error(f" is stopped: {message}")
            case _:
                raise self._error(f" fails: {message}")

    def _error(self, problem: str) -> ModelError:
        return ModelError(f"{self._title}{problem}; {_WAY_OUT}")
