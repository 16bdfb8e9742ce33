"""Spans of OpenTelemetry, one for each request, if its package is installed; without it nothing is imported.

Who wants them configures a tracer provider, as `opentelemetry-instrument nybble serve …` does by variables of
the environment; without one spans go nowhere. They have the attributes `gen_ai.*` and `http.*` of its
conventions, and nothing of what was asked and answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from starlette.types import Scope

from .work.usage import Usage

Recorder = Callable[[Scope, int, Usage], None]
"""Tells of a request that has ended, with its status, 0 if nobody waited for the answer."""

_OPERATIONS = {
    **dict.fromkeys(("/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"), "chat"),
    **dict.fromkeys(("/v1/completions", "/api/generate"), "text_completion"),
    **dict.fromkeys(("/v1/embeddings", "/api/embed"), "embeddings"),
}
_NUMBERS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "max_tokens", "seed")
_INT64 = 2**63


def recorder() -> Recorder:
    """What tells of requests by spans; it does nothing without the package."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
        return lambda scope, status, usage: None
    from opentelemetry import propagate, trace

    def record(scope: Scope, status: int, usage: Usage) -> None:
        route = getattr(scope.get("route"), "path", None)
        operation = _OPERATIONS.get(route or "") if usage.model else None
        name = f"{operation} {usage.model}" if operation else f"{scope['method'][:16]} {route or ''}".rstrip()
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        about_model = _of_model(scope, operation, usage) if operation else {}
        end = time.time_ns()
        span = trace.get_tracer("nybble").start_span(
            name,
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            start_time=end - int((time.perf_counter() - usage.began) * 1e9),
            attributes=_of_http(scope, route, status) | about_model,
        )
        if status == 0 or status >= 500:
            span.set_attribute("error.type", str(status) if status else "cancelled")
            span.set_status(trace.StatusCode.ERROR)
        span.end(end)

    return record


def _of_http(scope: Scope, route: str | None, status: int) -> dict[str, Any]:
    found = {
        "http.request.method": scope["method"][:16],
        "url.path": scope["path"][:100],
        "url.scheme": scope.get("scheme", "http"),
        "nybble.request.id": scope["state"]["id"],
    }
    return (
        found
        | ({"http.route": route} if route else {})
        | ({"http.response.status_code": status} if status else {})
    )


def _of_model(scope: Scope, operation: str, usage: Usage) -> dict[str, Any]:
    fields: Mapping[str, Any] = scope["state"].get("fields", {})
    found: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "nybble",
        "gen_ai.request.model": usage.model,
        "gen_ai.response.model": usage.model,
        "gen_ai.usage.input_tokens": usage.n_prompt,
        "gen_ai.usage.cache_read.input_tokens": usage.n_cached,
        "gen_ai.usage.output_tokens": usage.n_generated,
        "gen_ai.request.stream": bool(fields.get("stream")),
    }
    for name in _NUMBERS:
        value = fields.get(name)
        if value is not None and abs(value) < _INT64:
            found[f"gen_ai.request.{name}"] = value
    if (n := fields.get("n")) is not None:
        found["gen_ai.request.choice.count"] = n
    if usage.finish_reasons:
        found["gen_ai.response.finish_reasons"] = tuple(usage.finish_reasons)
    if usage.first is not None:
        found["gen_ai.response.time_to_first_chunk"] = usage.first - usage.began
    return found
