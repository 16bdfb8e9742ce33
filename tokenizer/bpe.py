"""Byte-level BPE (`tokenizer.ggml.model = gpt2`), run by the `tokenizers` package.

Text is cut into words by the regular expressions of `tokenizer.ggml.pre`, each byte of a word becomes a
printable letter, and letters are merged in the order of `tokenizer.ggml.merges`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from ..gguf_io.errors import ModelError
from .pretokenizers import DEFAULT, PreTokenizer, find_pretokenizer
from .vocabulary import TokenType, Vocabulary, read_strings, read_text, read_vocabulary

_log = logging.getLogger(__name__)

_LARGE_TEXT = 1 << 14  # characters
_LONGEST_NAME = 1 << 10  # characters of a control token


def _byte_letters() -> list[str]:
    """GPT-2's letter of each byte: its Latin-1 character where that prints, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


_BYTE_OF_LETTER = {letter: byte for byte, letter in enumerate(_byte_letters())}


class ByteLevelBPE:
    """Encodes pieces of text without special tokens, and says what bytes a token stands for."""

    add_space_prefix = False

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        """Builds it from a file's metadata.

        Raises GGUFUnsupportedError for a pre-tokenizer that nybble does not know, ModelError for tables that
        contradict each other.
        """
        pre = read_text(metadata, source, "pre")
        if not pre:
            _log.warning(
                "%s: tokenizer.ggml.pre is missing, so the text is split as %r says; if the model answers "
                "badly, get a newer conversion of it",
                source,
                DEFAULT,
            )
        rules = find_pretokenizer(pre or DEFAULT, source)
        vocabulary = read_vocabulary(metadata, source)
        self.vocabulary = vocabulary
        self.add_bos = rules.add_bos and vocabulary.bos_id is not None
        self.add_eos = False
        self._tokenizer = _build(vocabulary, read_strings(metadata, source, "merges"), rules)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which must be free of lone surrogates."""
        if len(text) < _LARGE_TEXT:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        else:  # twice as fast, as it keeps no offsets; but the first call starts a pool of threads
            ids = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL token; a token with other letters stands for its own text."""
        token = self.vocabulary.tokens[id_]
        try:
            return bytes([_BYTE_OF_LETTER[letter] for letter in token])
        except KeyError:
            return token.encode()


def _build(vocabulary: Vocabulary, merges: list[str], rules: PreTokenizer) -> Any:
    # imported here, as one kind of tokenizer does not need the other's package
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    ids = dict(vocabulary.ids)
    if rules.ignore_merges:  # a word becomes the token that it spells: not if that token is no text
        known = set(merges)
        for id_ in vocabulary.ids_of_type(TokenType.CONTROL, TokenType.UNUSED):
            text = vocabulary.tokens[id_]
            if not any(
                f"{text[:cut]} {text[cut:]}" in known for cut in range(1, min(len(text), _LONGEST_NAME))
            ):
                del ids[text]
    try:
        model = BPE(
            vocab=ids,
            merges=[tuple(merge.split(" ")) for merge in merges],  # type: ignore[misc]  # it checks the number
            ignore_merges=rules.ignore_merges,
        )
    except Exception as error:  # the package raises plain Exception and TypeError
        _check_merges(ids, merges, vocabulary.source)
        raise ModelError(f"{vocabulary.source}: the BPE tables do not fit together: {error}") from error
    tokenizer = Tokenizer(model)
    splits = [Split(Regex(pattern), "isolated") for pattern in rules.patterns]
    tokenizer.pre_tokenizer = Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def _check_merges(ids: Mapping[str, int], merges: list[str], source: str) -> None:
    """Raises ModelError for the first merge that cannot be."""
    for rank, merge in enumerate(merges):
        parts = merge.split(" ")
        if len(parts) != 2 or not all(parts):
            problem = "expected two tokens and one space between them"
        elif missing := [text for text in (*parts, "".join(parts)) if text not in ids]:
            problem = f"there is no token {missing[0][:40]!r}"
        else:
            continue
        raise ModelError(f"{source}: tokenizer.ggml.merges[{rank}] is {merge[:80]!r}: {problem}")
