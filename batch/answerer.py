"""Answers the lines of a file of requests, by the handlers of the server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..engine.embedding.embedder import Pooling
from ..engine.llm import LLM
from ..errors import ModelError
from ..server.models.registry import Registry
from ..server.wire.errors import APIError, error_body, failed
from ..server.work.call import Call, Reply
from ..server.work.served_model import ServedModel, defaults_of
from ..server.work.settings import Settings
from ..server.work.usage import Usage
from .line_request import LineError, LineRequest
from .lines import Line


class Answer(NamedTuple):
    """What is written for a line, whether it is an error, and how many tokens were generated."""

    result: dict[str, Any]
    is_failed: bool = True
    n_generated: int = 0


class Answerer:
    """A model, and how lines are answered by it.

    `key` says what determines answers beside the line.
    """

    def __init__(self, llm: LLM, pooling: Pooling | None) -> None:
        self.settings = Settings(n_seq_max=llm.scheduler.executor.n_seq_max, n_waiting_max=1 << 30)
        defaults = defaults_of(llm.default_sampling_params())
        fingerprint, template = llm.fingerprint(), llm.chat_template
        self._path, self._file = llm.path, _identity(llm.path)
        model = ServedModel(llm.path.stem, llm, fingerprint, defaults, pooling)
        self._models = Registry.of([model])
        facts = (fingerprint, model.name, llm.n_ctx, pooling, template and template.source)
        self.key = hashlib.sha256(repr(facts).encode()).digest()

    async def answer(self, line: Line) -> Answer:
        """What is written for a line. Raises what has nothing to do with this line alone."""
        id = result_id(self.key, line)
        try:
            request = LineRequest.of(line)
        except LineError as wrong:
            problem = {"code": wrong.error.code or "invalid_request", "message": wrong.error.message}
            return Answer({"id": id, "custom_id": wrong.custom_id, "response": None, "error": problem})
        usage, status = Usage(), 200
        try:
            body = await self._body(request, id, usage)
        except (APIError, ModelError) as error:
            if isinstance(error, ModelError) and _identity(self._path) != self._file:
                raise
            found = failed(error)
            status, body = found.status, error_body(found, request.url)
        response = {"status_code": status, "request_id": id.removeprefix("batch_"), "body": body}
        result = {"id": id, "custom_id": request.custom_id, "response": response, "error": None}
        return Answer(result, status != 200, usage.n_generated if status == 200 else 0)

    def close(self) -> None:
        """Lets its threads end."""
        self._models.close()

    async def _body(self, request: LineRequest, id: str, usage: Usage) -> Mapping[str, Any]:
        digits = id.rpartition("_")[2]
        call = Call(
            id=digits,
            path=request.url,
            fields=request.fields(seed=int(digits[:16], 16)),
            settings=self.settings,
            models=self._models,
            cache_salt=None,
            usage=usage,
            admit=lambda n_texts: None,
        )
        with call.at_end:
            reply = await request.handler(call)
        if not isinstance(reply, Reply):
            raise TypeError("a request of a batch is answered at once, and by no stream")
        return _repeatable(reply.content)


def result_id(key: bytes, line: Line) -> str:
    """Says the request, and what determines its answer."""
    return f"batch_req_{hashlib.sha256(key + line.content).hexdigest()[:32]}"


def _repeatable(body: dict[str, Any]) -> Mapping[str, Any]:
    """A body without what depends on the time, or on what else has run."""
    if "created" in body:
        body["created"] = 0
    body["usage"].pop("prompt_tokens_details", None)
    return body


def _identity(path: os.PathLike[str]) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
