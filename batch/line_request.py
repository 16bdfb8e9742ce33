"""What a line of a batch asks for.

{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": […]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..server.apis import embeddings, openai_chat, openai_completions
from ..server.schema import openai
from ..server.schema.fields import OneOf, Record, Text, fields, required
from ..server.wire.errors import APIError, bad_field
from ..server.wire.json_body import parsed
from ..server.work.call import Handler
from .lines import Line

_HANDLERS: Mapping[str, tuple[Handler, Record]] = {
    "/v1/chat/completions": (openai_chat.chat, openai.CHAT),
    "/v1/completions": (openai_completions.complete, openai.COMPLETION),
    "/v1/embeddings": (embeddings.embeddings, openai.EMBEDDINGS),
}
_LINE = Record(
    {
        **required(url=OneOf(tuple(_HANDLERS)), body=Record(is_open=True)),
        **fields(custom_id=Text(512), method=OneOf(("POST",))),
    }
)
_SEEDED = ("/v1/chat/completions", "/v1/completions")


class LineError(Exception):
    """A line that is no request; `custom_id` is None if not even that can be read."""

    def __init__(self, custom_id: str | None, error: APIError) -> None:
        super().__init__(error.message)
        self.custom_id, self.error = custom_id, error


@dataclass(frozen=True)
class LineRequest:
    """A request that is well formed; `body` has not been checked yet."""

    custom_id: str | None
    url: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, line: Line) -> LineRequest:
        """Reads a line; `LineError` for what is no request."""
        custom_id = None
        try:
            if line.is_cut:
                raise APIError(400, f"the line has {line.n_bytes} bytes, which is too much", code="too_long")
            value = parsed(line.content)
            custom_id = value.get("custom_id")
            if not isinstance(custom_id, str):
                custom_id = None
                if value.get("custom_id") is not None:
                    raise bad_field("custom_id", "must be a text")
            found, unknown = _LINE.read(value)
            if unknown:
                raise bad_field(unknown[0][:100], "is no field; there are custom_id, method, url and body")
        except APIError as error:
            raise LineError(custom_id, error) from None
        return cls(custom_id, found["url"], found["body"])

    @property
    def handler(self) -> Handler:
        """What answers it."""
        return _HANDLERS[self.url][0]

    def fields(self, seed: int) -> dict[str, Any]:
        """The body's fields, checked; the model is the one that there is, and a text whose seed is left to
        chance has `seed`. `APIError` for a field that is wrong, and for streams."""
        found, _ = _HANDLERS[self.url][1].read(self.body)
        if found.get("stream"):
            raise bad_field("stream", "must not be true in a batch")
        if self.url in _SEEDED and found["seed"] in (None, -1):
            found["seed"] = seed
        return {**found, "model": None}
