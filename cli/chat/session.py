"""A conversation with a model, as it grows."""

from __future__ import annotations

import os
from typing import Any

from ...engine.answers.chat_output import ChatOutput
from ...engine.backend import Backend, Stream
from ...engine.chat.conversation import checked_messages
from ...engine.chat.message import ChatDelta
from ...engine.sampling.params import SamplingParams
from ...errors import RequestError
from .transcript import read_transcript, write_transcript

Answer = Stream[ChatDelta, ChatOutput]


class Session:
    """The messages so far. `ask` and `regenerate` begin an answer, which is read by the caller; `keep` takes
    it into the conversation, whole or cut short.

    What no longer fits into the context is left out of the middle, for the model alone: `messages` has all.
    """

    def __init__(self, backend: Backend, params: SamplingParams, system: str | None = None) -> None:
        self.backend = backend
        self.last: ChatOutput | None = None
        """The last answer."""
        self._params = params
        self._messages: list[dict[str, Any]] = []
        self._system = system

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole conversation, after the system's message if there is one."""
        told = [] if self._system is None else [{"role": "system", "content": self._system}]
        return [*told, *self._messages]

    def ask(self, text: str) -> Answer:
        """The answer to what the user says next. RequestError for what the model cannot be asked; then it is
        not in the conversation."""
        self._messages.append({"role": "user", "content": text})
        return self._answer()

    def regenerate(self) -> Answer:
        """Another answer to what the user has said last; RequestError if that is nothing. At temperature 0
        it is the same one."""
        while self._messages and self._messages[-1]["role"] != "user":
            self._messages.pop()
        if not self._messages:
            raise RequestError("there is no question yet that could be answered again")
        return self._answer()

    def keep(self, answer: Answer) -> ChatOutput:
        """Takes an answer, as far as it has come, into the conversation; without any of it the question goes,
        too."""
        self.last = answer.output()
        message = self.last.message
        if message.content or message.reasoning or message.tool_calls:
            self._messages.append(message.as_dict())
        else:
            self._messages.pop()
        return self.last

    def reset(self) -> None:
        """Begins anew, with the same message of the system."""
        self._messages = []
        self.last = None

    def tell(self, system: str | None) -> None:
        """Puts another system's message, or none, before the conversation; RequestError for what is no
        text."""
        if system is not None:
            checked_messages([{"role": "system", "content": system}])
        self._system = system

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes the conversation to a file; -> the number of messages. RequestError if there are none."""
        write_transcript(path, self.messages, self.backend.info.name)
        return len(self.messages)

    def load(self, path: str | os.PathLike[str]) -> int:
        """Takes a conversation from a file in the place of this one; -> the number of messages. RequestError
        for a file that has none."""
        messages = read_transcript(path)
        has_system = messages[0]["role"] == "system"
        self._system = messages[0]["content"] if has_system else None
        self._messages = messages[has_system:]
        self.last = None
        return len(messages)

    def _answer(self) -> Answer:
        try:
            return self.backend.chat_stream(self.messages, self._params, overflow="drop_middle")
        except BaseException:
            self._messages.pop()
            raise
