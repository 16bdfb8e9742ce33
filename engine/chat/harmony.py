"""Splits the answers of gpt-oss: messages with a header that says for whom they are.

Source: OpenAI, "Harmony response format" (2025).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .answer_parser import AnswerReader
from .formats.base import Schemas, decoded, parsed_call
from .message import ChatDelta, FunctionCall, ToolCallDelta

_START, _MESSAGE, _CHANNEL = "<|start|>", "<|message|>", "<|channel|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>", _START)
_END = re.compile("|".join(map(re.escape, _ENDS)))
_HEADER_STARTS = (_CHANNEL, _START, "to=", "<|constrain|>", _MESSAGE, "assistant", "<|end|>")
_MAX_HEADER = 1000
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")


class HarmonyParser(AnswerReader):
    """Takes the pieces of an answer to `prompt`: the channel "analysis" is reasoning, a message to
    `functions.NAME` a call, anything else content. `schemas`, `new_id`: as for `AnswerParser`."""

    def __init__(self, prompt: str, schemas: Schemas | None, new_id: Callable[[], str]) -> None:
        super().__init__()
        self._has_tools = schemas is not None
        self._new_id = new_id
        self._n_calls = 0
        self._is_reasoning = False
        self._name: str | None = None  # of the tool whose arguments come
        self._call: list[str] = []
        self._in_header = True
        _, _, header = prompt.rpartition(_START)
        if _MESSAGE in header:  # the prompt has begun a message
            self._open(header.partition(_MESSAGE)[0])
        elif _CHANNEL in header:
            self._text = header

    def finish(self) -> list[ChatDelta]:
        if not self._in_header:
            self._say(self._text[self._at :])
        elif (rest := self._text[self._at :]) and "<|" not in rest and rest.strip() not in ("", "assistant"):
            self._is_reasoning = False
            self._give(rest)
        self._at = len(self._text)
        self._close()
        return self._taken()

    def _advance(self) -> bool:
        if self._in_header:
            return self._read_header()
        if self._say_up_to(_END, _ENDS) is None:
            return False
        self._close()
        self._in_header = True
        return True

    def _read_header(self) -> bool:
        begun = self._text[self._at : self._at + _MAX_HEADER].lstrip()
        is_header = any(mark.startswith(begun) or begun.startswith(mark) for mark in _HEADER_STARTS)
        end = self._text.find(_MESSAGE, self._at, self._at + _MAX_HEADER)
        if is_header and end >= 0:
            header = self._text[self._at : end]
            self._at = end + len(_MESSAGE)
            self._open(header)
            return True
        if not is_header or len(self._text) - self._at >= _MAX_HEADER:  # the model has left the header out
            self._in_header = False
            self._is_reasoning, self._name = False, None
            return True
        return False

    def _open(self, header: str) -> None:
        channel, recipient = _CHANNEL_NAME.search(header), _RECIPIENT.search(header)
        name = recipient[1].removeprefix("functions.") if recipient and self._has_tools else None
        self._name = None if name in ("user", "assistant") else name
        self._is_reasoning = self._name is None and channel is not None and channel[1] == "analysis"
        self._in_header = False

    def _say(self, text: str) -> None:
        if self._name is not None:
            self._call.append(text)
        elif text:
            self._give(text)

    def _give(self, text: str) -> None:
        self._out.append(ChatDelta(reasoning=text) if self._is_reasoning else ChatDelta(content=text))

    def _close(self) -> None:
        """Ends a message: the call that it was, or what was meant to be one as content."""
        if self._name is None:
            return
        text, self._call = "".join(self._call), []
        call = parsed_call(self._name, decoded(text or "{}"))
        self._name, self._is_reasoning = None, False
        if call is None:
            self._give(text)
            return
        delta = ToolCallDelta(self._n_calls, self._new_id(), FunctionCall(call.name, call.arguments))
        self._n_calls += 1
        self._out.append(ChatDelta(tool_calls=(delta,)))
