"""What there is: `/health`, `/v1/models`."""

from __future__ import annotations

from typing import Any

from ..work.call import Call, Reply
from ..work.served_model import ServedModel, find_model


async def health(call: Call) -> Reply:
    """Is the server there?"""
    return Reply({"status": "ok"})


async def models(call: Call) -> Reply:
    """All models that are served."""
    return Reply({"object": "list", "data": [model_json(model) for model in call.models.values()]})


async def model(call: Call) -> Reply:
    """One of them."""
    return Reply(model_json(find_model(call.models, call.fields["model"])))


def model_json(model: ServedModel) -> dict[str, Any]:
    """What is said of a model; never where its file lies."""
    info = model.backend.info
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
    }
