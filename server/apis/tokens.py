"""`/tokenize` and `/detokenize`, as llama.cpp's server has them, and with vLLM's names of fields."""

from __future__ import annotations

from typing import Any

from ...errors import RequestError
from ...system.asker import while_asked
from ..wire.errors import bad_field
from ..work.call import Call, Reply
from ..work.generating import in_thread
from ..work.served_model import ServedModel


async def tokenize(call: Call) -> Reply:
    """The tokens of a text."""
    given = call.fields
    model = await call.model(given["model"])
    name = "content" if given["content"] is not None else "prompt"
    text = given[name]
    if text is None:
        raise bad_field("content", "is missing")
    adds = given["add_special"] if given["add_special"] is not None else given["add_special_tokens"]
    if adds is None:
        adds = name == "prompt"  # as each of the two servers has it

    def work() -> list[Any]:
        tokenizer = _tokenizer(model)
        ids = tokenizer.encode(text, add_special=adds, parse_special=given["parse_special"] is not False)
        if not given["with_pieces"]:
            return list(ids)
        return [
            {"id": id_, "piece": _piece(tokenizer.token_bytes(id_, skip_special_tokens=False))}
            for id_ in while_asked(ids)
        ]

    tokens = await in_thread(call, model, work)
    return Reply(
        {"tokens": tokens, "count": len(tokens), "max_model_len": model.backend.n_ctx}, is_large=True
    )


async def tokenizer_info(call: Call) -> Reply:
    """What vLLM's server says of a vocabulary; lm-evaluation-harness needs no copy of it then."""
    model = await call.model(None)

    def work() -> dict[str, str | None]:
        tokenizer = _tokenizer(model)
        ids = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id, "pad_token": tokenizer.pad_id}
        names = {
            name: None if id_ is None else tokenizer.decode([id_], skip_special_tokens=False)
            for name, id_ in ids.items()
        }
        template = getattr(model.backend, "chat_template", None)
        return {**names, "chat_template": template and template.source}

    return Reply(await in_thread(call, model, work))


async def detokenize(call: Call) -> Reply:
    """The text of tokens."""
    given = call.fields
    model = await call.model(given["model"])

    def work() -> str:
        tokenizer, ids = _tokenizer(model), given["tokens"]
        if ids and max(ids) >= tokenizer.n_vocab:
            raise RequestError(f"tokens must be ids below {tokenizer.n_vocab}, not {max(ids)}")
        return str(tokenizer.decode(ids, skip_special_tokens=False))

    text = await in_thread(call, model, work)
    return Reply({"content": text, "prompt": text}, is_large=True)


def _tokenizer(model: ServedModel) -> Any:
    if model.backend.tokenizer is None:
        raise RequestError("`model` has no tokenizer: it knows token ids alone")
    return model.backend.tokenizer


def _piece(raw: bytes) -> str | list[int]:
    """A token's text; the bytes of what is only a part of a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
