"""`/v1/embeddings` of the OpenAI API, and `/v1/rerank` of Jina's and Cohere's."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from ..wire.errors import bad_field
from ..work.call import Call, Reply
from ..work.generating import in_thread
from ..work.served_model import ServedModel
from .openai_completions import Prompt, prompts_of


async def embeddings(call: Call) -> Reply:
    """A vector for each text."""
    given, model = call.fields, await embedding_model(call)
    rows, n_tokens = await embedded(call, model, prompts_of(given["input"]))
    is_base64 = given["encoding_format"] == "base64"
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
            if is_base64
            else row.tolist(),
        }
        for i, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return Reply({"object": "list", "data": data, "model": model.name, "usage": usage}, is_large=True)


async def embedding_model(call: Call) -> ServedModel:
    """The model of a request for vectors; an error if they shall have other dimensions than it gives."""
    model = await call.model(call.fields["model"], call.fields.get("keep_alive"))
    n_embd = model.backend.info.n_embd
    if call.fields["dimensions"] not in (None, n_embd):
        raise bad_field("dimensions", f"is not supported: vectors of this model have {n_embd}")
    return model


async def embedded(call: Call, model: ServedModel, texts: Sequence[Prompt]) -> tuple[Any, int]:
    """The vectors (n_texts, n_embd) of texts, and how many tokens these have."""
    for text in texts:
        if isinstance(text, str):
            model.check_length(text)

    def work() -> tuple[Any, int]:
        tokenizer = model.backend.tokenizer
        n_tokens = sum(len(tokenizer.encode(text)) if isinstance(text, str) else len(text) for text in texts)
        return model.backend.embed(texts, pooling=model.pooling), n_tokens

    rows, n_tokens = await in_thread(call, model, work)
    call.usage.n_prompt = n_tokens
    return rows, n_tokens


async def rerank(call: Call) -> Reply:
    """How well each document answers a query, the best first."""
    given = call.fields
    model = await call.model(given["model"])
    documents = [each if isinstance(each, str) else each["text"] for each in given["documents"]]
    for document in documents:
        model.check_length(given["query"], document)

    def work() -> list[float]:
        return [float(score) for score in model.backend.rerank(given["query"], documents)]

    scores = await in_thread(call, model, work)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: given["top_n"]]
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": scores[i]} for i in order]
    if given["return_documents"]:
        for result in results:
            result["document"] = {"text": documents[result["index"]]}
    return Reply({"model": model.name, "results": results}, is_large=True)
