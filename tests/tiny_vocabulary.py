"""Tiny vocabularies: their metadata, as a GGUF file would hold it, and tokenizers made of it."""

from typing import Any

import numpy as np

from nybble.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

BPE_SPECIAL = {
    "<|endoftext|>": CONTROL,
    "<|im_start|>": CONTROL,
    "<|im_end|>": CONTROL,
    "<tag>": USER_DEFINED,
}
BPE_MERGES = ["Ġ w", "h e", "l l", "he ll", "hell o", "Ġw o", "o r", "Ð ŀ", "1 2", "12 3"]

SPM_SPECIAL = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL, "<|user|>": CONTROL, "<b>": USER_DEFINED}
SPM_PIECES = ["he", "ll", "hell", "hello", "▁hello", "▁w", "or", "▁wor", "▁▁", *"▁helowrd<s>/é"]


def byte_letters() -> list[str]:
    """GPT-2's letter of each byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def bpe(
    pre: str | None = "gpt-2",
    special: dict[str, int] | None = None,
    merges: list[str] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Byte-level BPE; `special`: text -> type, with the first ids. `keys` are put under tokenizer.ggml."""
    special = BPE_SPECIAL if special is None else special
    merges = BPE_MERGES if merges is None else merges
    tokens = [*special, *byte_letters(), *dict.fromkeys(merge.replace(" ", "") for merge in merges)]
    types = [*special.values(), *[NORMAL] * (len(tokens) - len(special))]
    settings = {"model": "gpt2", "tokens": tokens, "token_type": np.array(types, np.int32), "merges": merges}
    return _metadata(settings | ({} if pre is None else {"pre": pre}) | keys)


def spm(
    special: dict[str, int] | None = None, pieces: list[str] | None = None, **keys: Any
) -> dict[str, Any]:
    """SentencePiece BPE with byte fallback, where an earlier piece goes before a later one."""
    special = SPM_SPECIAL if special is None else special
    pieces = SPM_PIECES if pieces is None else pieces
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [*special.values(), *[BYTE] * 256, *[NORMAL] * len(pieces)]
    scores = np.concatenate([np.zeros(len(tokens) - len(pieces)), -np.arange(len(pieces))]).astype(np.float32)
    settings = {"model": "llama", "tokens": tokens, "token_type": np.array(types, np.int32), "scores": scores}
    return _metadata(settings | keys)


def _metadata(settings: dict[str, Any]) -> dict[str, Any]:
    """Drops settings that are None."""
    return {f"tokenizer.ggml.{name}": value for name, value in settings.items() if value is not None}


def make(metadata: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_metadata(metadata, "tiny")


def pieces(tokenizer: Tokenizer, text: str, **options: bool) -> list[str]:
    """The tokens of a text, with control tokens by their names."""
    ids = tokenizer.encode(text, **options)
    return [tokenizer.token_bytes(id_, special=True).decode(errors="backslashreplace") for id_ in ids]
