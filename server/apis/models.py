"""What there is: `/health`, `/v1/models`."""

from __future__ import annotations

import math
from typing import Any

from ..models.entry import Entry
from ..models.registry import Registry
from ..work.call import Call, Reply
from ..work.engine_status import EngineStatus


async def health(call: Call) -> Reply:
    """Is the server there, and are its models? It answers whatever has become of them."""
    found = {entry.name: entry.status for entry in call.models.loaded()}
    engines = {name: _health_json(status) for name, status in found.items() if status is not None}
    is_well = all(status is None or status.state == "ready" for status in found.values())
    return Reply({"status": "ok" if is_well else "degraded", **({"models": engines} if engines else {})})


async def models(call: Call) -> Reply:
    """All models that can be served."""
    listed = await call.models.listed()
    return Reply({"object": "list", "data": [model_json(call.models, entry) for entry in listed]})


async def model(call: Call) -> Reply:
    """One of them."""
    return Reply(model_json(call.models, await call.models.find(call.fields["model"])))


def model_json(models: Registry, entry: Entry) -> dict[str, Any]:
    """What is said of a model; never where its file lies."""
    info, seconds, status = entry.info, models.seconds_left(entry), entry.status
    is_loaded = entry.state == "loaded"
    return {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": "nybble",
        "max_model_len": info.n_ctx,
        "system_fingerprint": entry.model.fingerprint if entry.model is not None else None,
        "meta": {
            "name": info.name,
            "architecture": info.architecture,
            "format": info.format,
            "n_params": info.n_params,
            "n_bytes": info.n_bytes,
            "n_vocab": info.n_vocab,
            "n_embd": info.n_embd,
            "n_ctx_train": info.n_ctx_train,
            "can_generate": info.can_generate,
            "has_chat_template": info.has_chat_template,
        },
        "nybble": {
            "state": entry.state,
            "n_ctx": info.n_ctx,
            "cache_type": info.cache_type,
            "memory_bytes": entry.cost or None,
            "expires_in": round(seconds, 3) if is_loaded and not math.isinf(seconds) else None,
            "problem": entry.problem or None,
        },
        **({"status": _health_json(status)} if status is not None else {}),
    }


def _health_json(status: EngineStatus) -> dict[str, Any]:
    notice = {"notice": status.notice} if status.notice else {}
    return {"state": status.state, "restarts": status.n_restarts, **notice}
