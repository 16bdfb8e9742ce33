"""The description of the server as OpenAPI has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .work.call import Endpoint


def openapi(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """A document of OpenAPI 3.1, with the schemas by which requests are checked."""
    from .. import __version__

    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operation: dict[str, Any] = {
            "summary": endpoint.summary,
            "responses": {"200": {"description": "The answer"}, "default": {"description": "An error"}},
        }
        if endpoint.schema is not None:
            body = {"application/json": {"schema": endpoint.schema.json_schema()}}
            operation["requestBody"] = {"required": True, "content": body}
        path = endpoint.path.replace(":path}", "}")
        if "{model}" in path:
            schema = {"type": "string"}
            operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": schema}]
        paths.setdefault(path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "nybble", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
    }
