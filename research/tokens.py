"""The texts of tokens, as labels of tables and pictures, and the ids of tokens given by their texts."""

from __future__ import annotations

import numpy as np

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..errors import RequestError


def token_texts(llm: LLM, prompt: Prompt) -> list[str]:
    """The texts of the tokens that are run for `prompt`, including BOS. Raises what `LLM.trace` raises.

    research.token_texts(llm, "The capital of France")  # ["The", " capital", " of", " France"]
    """
    return [token_text(llm, token_id) for token_id in llm.prompt_ids(prompt).tolist()]


def token_text(llm: LLM, token_id: int) -> str:
    """The text of a token; escaped bytes for part of a character, the id if there is no tokenizer."""
    if llm.tokenizer is None:
        return str(token_id)
    raw = llm.tokenizer.token_bytes(token_id, skip_special_tokens=False)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in raw)


def token_id(llm: LLM, token: int | str) -> int:
    """The id of one token, given by its text as `token_texts` shows it (" Mary", with its space), or by its
    id. RequestError if there is no such token, or if the text is several tokens."""
    if isinstance(token, str):
        return _id_of_text(llm, token)
    if not isinstance(token, int | np.integer) or isinstance(token, bool):
        raise RequestError(f"a token is its text or its id, not {token!r:.100}")
    if not 0 <= token < llm.config.n_vocab:
        raise RequestError(f"tokens lie in 0 to {llm.config.n_vocab - 1}, not {token}")
    return int(token)


def _id_of_text(llm: LLM, text: str) -> int:
    tokenizer = llm.tokenizer
    if tokenizer is None:
        raise RequestError(f"{llm.path} has no tokenizer; give the id of a token instead of {text!r:.100}")
    if not text:
        raise RequestError("the text of a token cannot be empty")
    cut = tokenizer.encode(text, add_special=False, parse_special=True)
    # A tokenizer that adds a space prefix makes " Mary" of "Mary".
    for ids in (cut, tokenizer.encode(text.removeprefix(" "), add_special=False, parse_special=True)):
        if len(ids) == 1 and token_text(llm, ids[0]) == text:
            return ids[0]
    for candidate in range(tokenizer.n_vocab):
        if token_text(llm, candidate) == text:
            return candidate
    parts = ", ".join([repr(token_text(llm, id_)) for id_ in cut[:8]] + ["…"] * (len(cut) > 8))
    raise RequestError(
        f"{text!r:.100} is not one token of this model, but {len(cut)}: {parts}; name one of"
        " them, or a token's id"
    )
