"""BPE (`tokenizer.ggml.model = gpt2, gemma4, whitespace`), run by the `tokenizers` package.

The regular expressions of `tokenizer.ggml.pre` cut text into words, and letters are merged in the order of
`tokenizer.ggml.merges`. Letters are either bytes, each written as a printable character, or characters, with
tokens for the bytes of those that the vocabulary lacks.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"
(arXiv:1508.07909).
"""

import logging
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from ..errors import ModelError
from .byte_tokens import ByteTokens, ExtraPieces, byte_values
from .memory import BPE_ENTRY, has_room_for_threads, require_memory
from .model import TokenizerModel
from .pretokenizers import DEFAULT, PreTokenizer, find_pretokenizer
from .texts import text_bytes
from .vocabulary import IndexedVocabulary, TokenType, read_flag, read_strings, read_text, read_vocabulary

_log = logging.getLogger(__name__)

_PART = 1 << 14  # characters for which starting a pool of threads pays off
_LONGEST_NAME = 1 << 10  # characters of a control token
_SPACE = "▁"
# By all rules that cut a text at line breaks, a word ends there; and no part begins or ends with a space,
# which the rules would treat otherwise within a text.
_END_OF_LINE = re.compile("(?<=[A-Za-z])(?=\n)")


def byte_letters() -> list[str]:
    """GPT-2's letter of each byte: its Latin-1 character where that prints, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


_BYTE_OF_LETTER = {letter: byte for byte, letter in enumerate(byte_letters())}


class BPE(TokenizerModel):
    """Byte-pair encoding, with the rules and merges of a file."""

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
        vocabulary = read_vocabulary(metadata, source, has_byte_tokens=not rules.byte_letters)
        if rules.always_bos and vocabulary.bos_id is not None:
            vocabulary = replace(vocabulary, add_bos=True)
        self.vocabulary = vocabulary.without_index()
        self.add_bos = rules.add_bos and vocabulary.bos_id is not None
        self._rules = rules
        bytes_ = None if rules.byte_letters else ByteTokens(vocabulary)
        self._bytes = byte_values(vocabulary)
        merges = _read_merges(metadata, source, pre)
        without_token = _without_token(vocabulary, merges, bytes_)
        unknown = "<unknown>"
        while unknown in vocabulary.ids or unknown in without_token:
            unknown += ">"
        substitutes = bytes_.substitutes if bytes_ else {}
        self._extra = ExtraPieces(len(vocabulary), {unknown: []} | substitutes | without_token)
        self._tokenizer = _build(vocabulary, merges, rules, self._extra, byte_fallback=bool(bytes_))
        if model == "whitespace":
            lowercase = read_flag(metadata, source, "normalizer.lowercase") is True
            _drop_white_space(self._tokenizer, lowercase=lowercase)

    def encode(self, text: str) -> list[int]:
        if self._rules.escape_spaces:
            text = text.replace(" ", _SPACE)
        if len(text) < _PART:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        else:  # in parallel, and twice as fast anyway, as no offsets are kept
            parts = _cut(text) if self._rules.cuts_lines else [text]
            if has_room_for_threads(len(text)):
                encoded = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
            else:
                encoded = (self._tokenizer.encode(part, add_special_tokens=False) for part in parts)
            ids = list(chain.from_iterable(part.ids for part in encoded))
        return self._extra.resolve(ids)

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL or BYTE token; one without byte letters stands for itself."""
        token = self.vocabulary.tokens[id_]
        if id_ in self._bytes:
            return self._bytes[id_]
        if not self._rules.byte_letters:
            return text_bytes(token.replace(_SPACE, " ") if self._rules.escape_spaces else token)
        try:
            return bytes([_BYTE_OF_LETTER[letter] for letter in token])
        except KeyError:
            return text_bytes(token)


def _cut(text: str) -> list[str]:
    """Cuts a text at ends of lines into parts of some `_PART` characters, if there are such ends."""
    parts, start = [], 0
    while cut := _END_OF_LINE.search(text, start + _PART):
        parts.append(text[start : cut.start()])
        start = cut.start()
    return [*parts, text[start:]]


def _read_merges(metadata: Mapping[str, Any], source: str, pre: str | None) -> list[tuple[str, ...]]:
    """The parts of each merge; ModelError if there are none, but for Kimi K2, as in llama.cpp."""
    if pre == "kimi-k2" and "tokenizer.ggml.merges" not in metadata:
        _log.warning(
            "%s: tokenizer.ggml.merges is missing, so text is written in single letters; if the model "
            "answers badly, get a newer conversion of it",
            source,
        )
        return []
    return [tuple(merge.split(" ")) for merge in read_strings(metadata, source, "merges")]


def _without_token(
    vocabulary: IndexedVocabulary, merges: list[tuple[str, ...]], bytes_: ByteTokens | None
) -> dict[str, list[int]]:
    """What merges make of letters though it is no token -> the ids of its letters, or of its bytes.

    llama.cpp makes it, too: it may become part of a token, and is taken apart if it is left over. Usually
    there is nothing of the kind. ModelError for merges that cannot be.
    """
    ids = vocabulary.ids
    if None not in map(ids.get, map("".join, merges)):
        return {}
    made = {rank: "".join(parts) for rank, parts in enumerate(merges)}
    ranks = [rank for rank, text in made.items() if text not in ids]
    texts = dict.fromkeys(made[rank] for rank in ranks)
    _check_merges(ids.keys() | texts.keys(), merges, vocabulary.source)
    _log.warning(
        "%s: %d merges make no token, the first is tokenizer.ggml.merges[%d], %r; what they make and nothing "
        "else needs is written in single letters",
        vocabulary.source,
        len(ranks),
        ranks[0],
        " ".join(merges[ranks[0]])[:80],
    )
    if bytes_:
        return {text: bytes_.encode(text) for text in texts}
    return {text: [ids[letter] for letter in text if letter in ids] for text in texts}


def _build(
    vocabulary: IndexedVocabulary,
    merges: list[tuple[str, ...]],
    rules: PreTokenizer,
    extra: ExtraPieces,
    *,
    byte_fallback: bool,
) -> Any:
    """A `tokenizers.Tokenizer`. What no token stands for becomes the first of `extra`."""
    require_memory(BPE_ENTRY * (len(vocabulary) + len(merges)), vocabulary.source)
    # imported here, as not every kind of tokenizer needs the package
    from tokenizers import Regex, Tokenizer, models
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    ids = dict(vocabulary.ids)
    for id_ in vocabulary.raw_ids:
        del ids[vocabulary.tokens[id_]]
    if rules.ignore_merges:  # a word becomes the token that it spells: not if that token is no text
        known = set(merges)
        for id_ in vocabulary.ids_of_type(TokenType.CONTROL, TokenType.UNUSED):
            text = vocabulary.tokens[id_]
            if not any((text[:cut], text[cut:]) in known for cut in range(1, min(len(text), _LONGEST_NAME))):
                ids.pop(text, None)
    try:
        model = models.BPE(
            vocab=ids | extra.ids(),
            merges=merges,  # type: ignore[arg-type]  # it checks that they are pairs
            ignore_merges=rules.ignore_merges,
            unk_token=next(iter(extra)),
            byte_fallback=byte_fallback,
        )
    except MemoryError:
        raise
    except Exception as error:  # the package raises plain Exception and TypeError
        _check_merges(ids.keys() | extra.keys(), merges, vocabulary.source)
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


def _check_merges(known: Container[str], merges: list[tuple[str, ...]], source: str) -> None:
    """Raises ModelError for the first merge that cannot be, as it joins what is not `known`."""
    for rank, parts in enumerate(merges):
        if len(parts) != 2 or not all(parts):
            problem = "expected two tokens and one space between them"
        elif missing := [text for text in parts if text not in known]:
            problem = f"there is no token {missing[0][:40]!r}"
        else:
            continue
        raise ModelError(f"{source}: tokenizer.ggml.merges[{rank}] is {' '.join(parts)[:80]!r}: {problem}")
