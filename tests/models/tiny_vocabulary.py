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

CHARACTER_SPECIAL = {"<bos>": CONTROL, "<eos>": CONTROL, "<tag>": USER_DEFINED}
CHARACTERS = [*"▁helowrd\n"]
CHARACTER_MERGES = ["▁ ▁", "▁▁ ▁▁", "h e", "l l", "he ll", "hell o", "▁ hello", "\n \n"]
WORDPIECES = "▁h h e l o ▁, ▁. ▁he llo ▁hello ll ▁wor ld ▁北 ▁京 s ▁é é".split()  # noqa: SIM905
UNIGRAM_PIECES = {
    "▁": -3.0,
    "▁hello": -4.0,
    "▁he": -4.5,
    "llo": -2.0,
    **dict.fromkeys("lox", -6.0),
    "1": -5.0,
}
PLAMO2_PIECES = {
    **dict.fromkeys("helo wrd北", -5.0),
    "hello": -4.0,
    "he": -3.0,
    "llo": -1.0,
    "ell": -2.5,
    "o wor": -3.5,
    "ld": -2.0,
    "北京": -6.0,
}


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


def characters(special: dict[str, int] | None = None, **keys: Any) -> dict[str, Any]:
    """BPE on characters with byte fallback, as Gemma 4 has it."""
    special = CHARACTER_SPECIAL if special is None else special
    merged = dict.fromkeys(merge.replace(" ", "") for merge in CHARACTER_MERGES)
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS, *merged]
    types = [*special.values(), *[BYTE] * 256, *[NORMAL] * (len(CHARACTERS) + len(merged))]
    settings = {"model": "gemma4", "tokens": tokens, "token_type": np.array(types, np.int32)}
    return _metadata(settings | {"merges": CHARACTER_MERGES, "bos_token_id": 0} | keys)


def wordpiece(pieces: list[str] | None = None, **keys: Any) -> dict[str, Any]:
    """WordPiece, where "▁" begins a word."""
    pieces = WORDPIECES if pieces is None else pieces
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
    types = np.array([CONTROL] * 4 + [NORMAL] * len(pieces), np.int32)
    ids = {"bos_token_id": 2, "seperator_token_id": 3, "unknown_token_id": 1, "padding_token_id": 0}
    return _metadata({"model": "bert", "tokens": tokens, "token_type": types} | ids | keys)


def unigram(pieces: dict[str, float] | None = None, **keys: Any) -> dict[str, Any]:
    """SentencePiece Unigram: pieces and their scores."""
    pieces = UNIGRAM_PIECES if pieces is None else pieces
    tokens = ["<pad>", "</s>", "<unk>", "<mask>", *pieces]
    types = np.array([CONTROL, CONTROL, UNKNOWN, CONTROL] + [NORMAL] * len(pieces), np.int32)
    scores = np.array([0.0] * 4 + list(pieces.values()), np.float32)
    settings = {"model": "t5", "tokens": tokens, "token_type": types, "scores": scores}
    return _metadata(settings | {"add_space_prefix": True} | keys)


def plamo2(pieces: dict[str, float] | None = None, **keys: Any) -> dict[str, Any]:
    """PLaMo 2: pieces and their scores, and all bytes."""
    pieces = PLAMO2_PIECES if pieces is None else pieces
    special = ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = np.array([UNKNOWN, *[CONTROL] * 3, *[BYTE] * 256, *[NORMAL] * len(pieces)], np.int32)
    scores = np.array([0.0] * 260 + list(pieces.values()), np.float32)
    settings = {"model": "plamo2", "tokens": tokens, "token_type": types, "scores": scores}
    return _metadata(settings | keys)


def rwkv(words: tuple[str, ...] = (r"hello", r"\n\n", r"\xd0\xbf\xd1\x80", r" \'s")) -> dict[str, Any]:
    """RWKV: all bytes, and words, with escapes."""
    tokens = ["<|endoftext|>", *(rf"\x{byte:02x}" for byte in range(256)), *words]
    types = np.array([CONTROL] + [NORMAL] * (len(tokens) - 1), np.int32)
    return _metadata({"model": "rwkv", "tokens": tokens, "token_type": types})


def _metadata(settings: dict[str, Any]) -> dict[str, Any]:
    """Drops settings that are None."""
    return {f"tokenizer.ggml.{name}": value for name, value in settings.items() if value is not None}


def make(metadata: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_metadata(metadata, "tiny")


def pieces(tokenizer: Tokenizer, text: str, **options: bool) -> list[str]:
    """The tokens of a text, with control tokens by their names."""
    ids = tokenizer.encode(text, **options)
    return [
        tokenizer.token_bytes(id_, skip_special_tokens=False).decode(errors="backslashreplace") for id_ in ids
    ]
