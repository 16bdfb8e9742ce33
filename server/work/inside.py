"""Inside the model: what a request adds to activations, what it reads of them, and receipts."""

from __future__ import annotations

import base64
from typing import Any

from ...engine.backend import Stream
from ...engine.hooks.taps import Edits
from ...engine.steering.control_vector import steering
from ...errors import NybbleError, RequestError, did_you_mean
from ..wire.errors import APIError, bad_field
from .call import Call
from .served_model import ServedModel


def steering_of(call: Call) -> Edits | None:
    """The edits of the field `control_vectors`; None if it has none. `APIError` for a name that is not
    there."""
    parts, known = [], call.settings.control_vectors
    for i, given in enumerate(call.fields["control_vectors"] or ()):
        name, layers = given["name"], given["layers"]
        if name not in known:
            listed = ", ".join(list(known)[:20]) or "none; the server's option --control-vector loads them"
            raise APIError(
                404,
                f"control_vectors[{i}].name: there is no control vector {name!r:.100}; there are {listed}"
                f"{did_you_mean(name, known)}",
                param="control_vectors",
                code="control_vector_not_found",
            )
        if layers is not None and layers[0] > layers[1]:
            raise bad_field(f"control_vectors[{i}].layers", f"must be the first and the last, not {layers}")
        strength = 1.0 if given["strength"] is None else given["strength"]
        parts.append((known[name], strength, range(layers[0], layers[1] + 1) if layers else None))
    try:
        return steering(parts) or None
    except RequestError as error:
        raise APIError(400, f"control_vectors: {error}", param="control_vectors") from error


def steering_option(call: Call) -> dict[str, Edits]:
    """The same as an argument of `LLM.chat`; none if there is no steering."""
    edits = steering_of(call)
    return {} if edits is None else {"edit": edits}


async def activations_field(
    call: Call, model: ServedModel, stream: Stream[Any, Any], edits: Edits | None
) -> dict[str, Any]:
    """The field `activations` of an answer, if the request asks for it: those of the prompt of `stream`, all
    of whose tokens are run by themselves. `APIError` for names that there are none of, and for too much."""
    if (names := call.fields["activations"]) is None:
        return {}

    def captured() -> str:
        n_max = call.settings.activations_max
        try:
            data = model.backend.capture(stream.prompt_ids, names, edit=edits, max_bytes=n_max)
        except NybbleError as error:
            refused = model.refused(error)
            refused.message = "activations: " + refused.message.partition(" (`LLM.")[0]
            refused.param = "activations"
            raise refused from error
        return base64.b64encode(data).decode()

    text = await model.runner.while_wanted(captured, beside=[stream])
    call.hold(len(text))
    return {"activations": text}


async def receipt_field(call: Call, model: ServedModel, choice: Stream[Any, Any]) -> dict[str, Any]:
    """The field `receipt` of a text that has ended, if the request asks for it; null for one that no model
    has made."""
    if not call.fields["receipt"]:
        return {}

    def made() -> dict[str, Any] | None:
        receipt = choice.output().receipt
        return None if receipt is None else receipt.as_dict()

    return {"receipt": await model.runner.while_wanted(made)}
