"""Tokens as people read them: the labels of tables and pictures."""

from ..engine.llm import LLM
from ..engine.prompt import Prompt


def token_texts(llm: LLM, prompt: Prompt) -> list[str]:
    """Each token that is run for `prompt`, BOS included where there is one. RequestError as `LLM.trace`."""
    return [token_text(llm, token_id) for token_id in llm.prompt_ids(prompt).tolist()]


def token_text(llm: LLM, token_id: int) -> str:
    """A token; part of a letter as its bytes, and a number where there is no tokenizer."""
    if llm.tokenizer is None:
        return str(token_id)
    raw = llm.tokenizer.token_bytes(token_id, skip_special_tokens=False)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in raw)
