"""What there is, as Ollama's API has it: `/api/tags`, `/api/show`, `/api/ps`, `/api/version`."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from ..wire.errors import bad_field
from ..work.call import Call, Reply
from ..work.served_model import ServedModel, find_model

_VERSION = "0.12.0"
"""Of the API: clients ask for it to know what they may send."""
_FOREVER = "2318-01-01T00:00:00Z"


async def tags(call: Call) -> Reply:
    """All models."""
    return Reply({"models": [_facts(model) for model in call.models.values()]})


async def loaded(call: Call) -> Reply:
    """Those in memory, which are all."""
    models = [
        {
            **_facts(model),
            "expires_at": _FOREVER,
            "size_vram": 0,
            "context_length": model.backend.n_ctx,
        }
        for model in call.models.values()
    ]
    return Reply({"models": models})


async def show(call: Call) -> Reply:
    """What is known of one."""
    name = call.fields["model"] if call.fields["model"] is not None else call.fields["name"]
    if name is None:
        raise bad_field("model", "is missing")
    model = find_model(call.models, name)
    info = model.backend.info
    capabilities = ["completion"] if info.can_generate else ["embedding"]
    if info.has_chat_template:
        capabilities.append("tools")
    return Reply(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "license": "",
            "modified_at": _facts(model)["modified_at"],
            "details": _details(model),
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


def _facts(model: ServedModel) -> dict[str, Any]:
    digest = hashlib.sha256(f"{model.name}\0{model.fingerprint}".encode()).hexdigest()
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z"),
        "size": model.backend.info.n_bytes,
        "digest": digest,
        "details": _details(model),
    }


def _details(model: ServedModel) -> dict[str, Any]:
    info = model.backend.info
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
