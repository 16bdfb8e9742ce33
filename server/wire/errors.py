"""Errors as clients see them, in the form that each API has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import ContextLengthError, EngineError, ModelError, RequestError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}
_ANTHROPIC_TYPES = {413: "request_too_large", 500: "api_error", 503: "overloaded_error"}
_RETRY_AFTER = 5  # seconds: an engine that has died is back
_NAMED = re.compile(r"`(\w+)`|\A(\w+)(?= must |=|\[| has | names )")


class APIError(Exception):
    """What a client has done wrong, or why it cannot be served now: a status of HTTP, and what it means."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers: dict[str, str] = {}
        if retry_after is not None:
            self.headers["retry-after"] = str(retry_after)
        if status == 401:
            self.headers["www-authenticate"] = "Bearer"
        if closes:
            self.headers["connection"] = "close"

    @property
    def type(self) -> str:
        """As the OpenAI API calls it."""
        return _TYPES.get(self.status, "invalid_request_error")


def bad_field(param: str, problem: str) -> APIError:
    """A field that is wrong: `problem` follows its name."""
    return APIError(400, f"{param} {problem}", param=param.partition("[")[0].partition(".")[0])


def refused(error: Exception) -> APIError:
    """What a model has refused before anything ran."""
    if isinstance(error, ContextLengthError):
        fact = str(error).partition(";")[0]  # the remedies are those of the Python API
        return APIError(400, f"{fact}; shorten it", code="context_length_exceeded", param=None)
    if isinstance(error, RequestError):
        return APIError(400, str(error), param=named_argument(str(error)))
    if isinstance(error, ModelError):  # its template fails for this conversation
        return APIError(400, str(error), code="template_error", param="messages")
    return failed(error)


def failed(error: BaseException) -> APIError:
    """What has ended work that had begun."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, RequestError):
        return refused(error)
    if isinstance(error, EngineError):
        return APIError(503, str(error), code="engine_unavailable", retry_after=_RETRY_AFTER)
    if isinstance(error, ModelError | MemoryError):
        return APIError(500, str(error) or "no memory is left", code=type(error).__name__)
    return APIError(500, "the server has failed; its log has the cause", code="internal_error")


def named_argument(message: str) -> str | None:
    """The argument that a `RequestError` names."""
    found = _NAMED.search(message)
    return (found[1] or found[2]) if found else None


def error_body(error: APIError, path: str) -> Mapping[str, Any]:
    """The JSON object of an error, as the API to which `path` belongs has it."""
    if path.startswith("/api/"):
        return {"error": error.message}
    if path.startswith("/v1/messages"):
        kind = _ANTHROPIC_TYPES.get(error.status, error.type)
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }
