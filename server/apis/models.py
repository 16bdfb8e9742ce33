"""What there is: `/health`, `/v1/models`."""

from __future__ import annotations

from typing import Any

from ..work.call import Call, Reply
from ..work.engine_status import EngineStatus
from ..work.served_model import ServedModel, find_model


async def health(call: Call) -> Reply:
    """Is the server there, and are its models? It answers whatever has become of them."""
    found = {model.name: model.status for model in call.models.values()}
    engines = {name: _health_json(status) for name, status in found.items() if status is not None}
    is_well = all(status is None or status.state == "ready" for status in found.values())
    return Reply({"status": "ok" if is_well else "degraded", **({"models": engines} if engines else {})})


async def models(call: Call) -> Reply:
    """All models that are served."""
    return Reply({"object": "list", "data": [model_json(model) for model in call.models.values()]})


async def model(call: Call) -> Reply:
    """One of them."""
    return Reply(model_json(find_model(call.models, call.fields["model"])))


def model_json(model: ServedModel) -> dict[str, Any]:
    """What is said of a model; never where its file lies."""
    info, status = model.backend.info, model.status
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "nybble",
        "max_model_len": info.n_ctx,
        "system_fingerprint": model.fingerprint,
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
        **({"status": _health_json(status)} if status is not None else {}),
    }


def _health_json(status: EngineStatus) -> dict[str, Any]:
    notice = {"notice": status.notice} if status.notice else {}
    return {"state": status.state, "restarts": status.n_restarts, **notice}
