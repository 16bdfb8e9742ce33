"""What there is, as Ollama's API has it: `/api/tags`, `/api/show`, `/api/ps`, `/api/version`."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any

from ..models.entry import Entry
from ..wire.errors import bad_field
from ..work.call import Call, Reply

_VERSION = "0.12.0"
"""Of the API: clients ask for it to know what they may send."""
_FOREVER = "2318-01-01T00:00:00Z"
_CENTURY = 3.2e9  # seconds


async def tags(call: Call) -> Reply:
    """All models."""
    return Reply({"models": [_facts(entry) for entry in await call.models.listed()]})


async def loaded(call: Call) -> Reply:
    """Those in memory."""
    models = [
        {
            **_facts(entry),
            "size": entry.cost or entry.info.n_bytes,
            "expires_at": _expires_at(call.models.seconds_left(entry)),
            "size_vram": 0,
            "context_length": entry.info.n_ctx,
        }
        for entry in call.models.loaded()
    ]
    return Reply({"models": models})


async def show(call: Call) -> Reply:
    """What is known of one."""
    name = call.fields["model"] if call.fields["model"] is not None else call.fields["name"]
    if name is None:
        raise bad_field("model", "is missing")
    entry = await call.models.find(name)
    info = entry.info
    capabilities = ["completion"] if info.can_generate else ["embedding"]
    if info.has_chat_template:
        capabilities.append("tools")
    return Reply(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "license": "",
            "modified_at": _time(entry.created),
            "details": _details(entry),
            "capabilities": capabilities,
            "model_info": {
                "general.architecture": info.architecture,
                "general.name": info.name,
                "general.parameter_count": info.n_params,
                f"{info.architecture}.context_length": info.n_ctx,
                f"{info.architecture}.embedding_length": info.n_embd,
                f"{info.architecture}.block_count": info.n_layers,
            },
        }
    )


async def version(call: Call) -> Reply:
    """The version of the API."""
    return Reply({"version": _VERSION})


def _facts(entry: Entry) -> dict[str, Any]:
    size = entry.info.n_bytes
    return {
        "name": entry.name,
        "model": entry.name,
        "modified_at": _time(entry.created),
        "size": size,
        "digest": hashlib.sha256(f"{entry.name}\0{size}\0{entry.created}".encode()).hexdigest(),
        "details": _details(entry),
    }


def _expires_at(seconds: float) -> str:
    return _FOREVER if seconds > _CENTURY else _time(time.time() + seconds)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _details(entry: Entry) -> dict[str, Any]:
    info = entry.info
    return {
        "parent_model": "",
        "format": "gguf",
        "family": info.architecture,
        "families": [info.architecture],
        "parameter_size": f"{info.n_params / 1e9:.1f}B"
        if info.n_params >= 1e9
        else f"{info.n_params / 1e6:.0f}M",
        "quantization_level": info.format,
    }
