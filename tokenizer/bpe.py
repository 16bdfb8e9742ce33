"""BPE (`tokenizer.ggml.model = gpt2, gemma4, whitespace`), run by the `tokenizers` package.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016). Text is cut into words
by the regular expressions of `tokenizer.ggml.pre`, and letters are merged in the order of
`tokenizer.ggml.merges`. Letters are either bytes, each written as a printable one, or characters as they
are, with tokens for the bytes of those that the vocabulary lacks.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from ..gguf_io.errors import ModelError
from .pretokenizers import DEFAULT, PreTokenizer, find_pretokenizer
from .vocabulary import (
    IndexedVocabulary,
    TokenType,
    byte_values,
    read_flag,
    read_strings,
    read_text,
    read_vocabulary,
)

_log = logging.getLogger(__name__)

_PART = 1 << 14  # characters that are worth the start of a pool of threads
_LONGEST_NAME = 1 << 10  # characters of a control token
_SPACE = "▁"
# A word ends there by all rules that cut a text at line breaks; what a part begins or ends with is no space
# that the rules would treat otherwise within a text.
_END_OF_LINE = re.compile("(?<=[A-Za-z])(?=\n)")


def _byte_letters() -> list[str]:
    """GPT-2's letter of each byte: its Latin-1 character where that prints, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


_BYTE_OF_LETTER = {letter: byte for byte, letter in enumerate(_byte_letters())}


class BPE:
    """Encodes pieces of text without special tokens, and says what bytes a token stands for."""

    add_space_prefix = False
    strips_space_prefix = False
    add_eos = False
    add_sep = False

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        """Builds it from a file's metadata.

        Raises GGUFUnsupportedError for a pre-tokenizer that nybble does not know, ModelError for tables that
        contradict each other.
        """
        model, pre = read_text(metadata, source, "model"), read_text(metadata, source, "pre")
        if model == "gemma4":
            pre = model
        if not pre:
            _log.warning(
                "%s: tokenizer.ggml.pre is missing, so the text is split as %r says; if the model answers "
                "badly, get a newer conversion of it",
                source,
                DEFAULT,
            )
        rules = find_pretokenizer(pre or DEFAULT, source)
        vocabulary = read_vocabulary(metadata, source)
        if rules.always_bos and vocabulary.bos_id is not None:
            vocabulary = replace(vocabulary, add_bos=True)
        self.vocabulary = vocabulary.without_index()
        self.add_bos = rules.add_bos and vocabulary.bos_id is not None
        self._rules = rules
        self._bytes = {} if rules.byte_letters else byte_values(vocabulary)
        merges = read_strings(metadata, source, "merges")
        self._tokenizer = _build(vocabulary, merges, rules, byte_fallback=bool(self._bytes))
        if model == "whitespace":
            lowercase = read_flag(metadata, source, "normalizer.lowercase") is True
            _drop_white_space(self._tokenizer, lowercase=lowercase)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which must be free of lone surrogates."""
        if self._rules.escape_spaces:
            text = text.replace(" ", _SPACE)
        if len(text) < _PART:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        else:  # in parallel, and twice as fast anyway, as no offsets are kept
            parts = _cut(text) if self._rules.cuts_lines else [text]
            encoded = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
            ids = list(chain.from_iterable(part.ids for part in encoded))
        unknown = len(self.vocabulary)
        return [id_ for id_ in ids if id_ != unknown] if unknown in ids else ids

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL or BYTE token; one without byte letters stands for itself."""
        token = self.vocabulary.tokens[id_]
        if not self._rules.byte_letters:
            return (
                self._bytes.get(id_)
                or (token.replace(_SPACE, " ") if self._rules.escape_spaces else token).encode()
            )
        try:
            return bytes([_BYTE_OF_LETTER[letter] for letter in token])
        except KeyError:
            return token.encode()


def _cut(text: str) -> list[str]:
    """Cuts a text at ends of lines into parts of some `_PART` characters, if there are such ends."""
    parts, start = [], 0
    while cut := _END_OF_LINE.search(text, start + _PART):
        parts.append(text[start : cut.start()])
        start = cut.start()
    return [*parts, text[start:]]


def _build(
    vocabulary: IndexedVocabulary, merges: list[str], rules: PreTokenizer, *, byte_fallback: bool
) -> Any:
    """A `tokenizers.Tokenizer`. What no token stands for gets the id after the last."""
    # imported here, as not every kind of tokenizer needs the package
    from tokenizers import Regex, Tokenizer, models
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
    unknown = "<unknown>"
    while unknown in ids:
        unknown += ">"
    try:
        model = models.BPE(
            vocab=ids | {unknown: len(vocabulary)},
            merges=[tuple(merge.split(" ")) for merge in merges],  # type: ignore[misc]  # it checks the number
            ignore_merges=rules.ignore_merges,
            unk_token=unknown,
            byte_fallback=byte_fallback,
        )
    except Exception as error:  # the package raises plain Exception and TypeError
        _check_merges(ids, merges, vocabulary.source)
        raise ModelError(f"{vocabulary.source}: the BPE tables do not fit together: {error}") from error
    tokenizer = Tokenizer(model)
    steps: list[Any] = [Split(Regex(pattern), "isolated") for pattern in rules.patterns]
    if rules.byte_letters:
        steps.append(ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = Sequence(steps)
    return tokenizer


def _drop_white_space(tokenizer: Any, *, lowercase: bool) -> None:
    from tokenizers import Regex, normalizers
    from tokenizers.pre_tokenizers import Split

    tokenizer.pre_tokenizer = Split(Regex(r"\s+"), "removed")
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()


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
