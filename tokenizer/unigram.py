"""SentencePiece Unigram (`tokenizer.ggml.model = t5`; also XLM-RoBERTa's): the most probable pieces.

The `sentencepiece` package normalizes the text with the file's table of characters. `tokenizers` finds the
pieces: it adds scores in double precision, like llama.cpp, where `sentencepiece` would have false ties.

Source: Kudo 2018, "Subword Regularization" (arXiv:1804.10959).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from .byte_tokens import ByteTokens
from .memory import UNIGRAM_ENTRY, require_memory
from .model import TokenizerModel
from .model_proto import LONGEST_PIECE, integer, load_processor, message, normalizer_spec, piece
from .texts import text_bytes
from .vocabulary import IndexedVocabulary, TokenType, read_flag, read_scores, read_vocabulary

_SPACE = "▁"
_UNIGRAM = 1
_DEFAULT_IDS = {"eos": 1, "unknown": 2, "padding": 0}
_LONGEST_REPLACEMENT = 256  # bytes, for one character; the longest in use is U+FDFA's, of 33
_CHARSMAP = "tokenizer.ggml.precompiled_charsmap"


class Unigram(TokenizerModel):
    """A unigram language model over pieces, with the scores of a file."""

    add_eos = True

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        vocabulary = read_vocabulary(metadata, source, _DEFAULT_IDS, has_byte_tokens=True)
        self.vocabulary = vocabulary.without_index()
        removes_spaces = read_flag(metadata, source, "remove_extra_whitespaces") is True
        add_space_prefix = read_flag(metadata, source, "add_space_prefix") is True
        self.add_space_prefix = add_space_prefix and not removes_spaces
        self.strips_space_prefix = add_space_prefix or removes_spaces
        self._unknown = [] if vocabulary.unk_id is None else [vocabulary.unk_id]
        self._bytes = ByteTokens(vocabulary, self._unknown)
        self._tokenizer = _build(metadata, vocabulary)
        proto = (  # the fewest pieces that the package takes; they are not used
            *(piece("?", TokenType.UNKNOWN), piece("!", TokenType.NORMAL), message(2, integer(3, _UNIGRAM))),
            normalizer_spec(
                _read_charsmap(metadata, source),
                add_dummy_prefix=removes_spaces,
                remove_extra_whitespaces=removes_spaces,
            ),
        )
        self._normalize = load_processor(b"".join(proto), source).Normalize

    def encode(self, text: str) -> list[int]:
        normalized = self._normalize(text)
        unknown = len(self.vocabulary)  # the piece that is added below
        if not self._bytes:
            encoded = self._tokenizer.encode_batch_fast([normalized], add_special_tokens=False)[0]
            return [new for id_ in encoded.ids for new in (self._unknown if id_ == unknown else [id_])]
        encoded = self._tokenizer.encode(normalized, add_special_tokens=False)
        ids: list[int] = []
        for id_, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True):
            ids += self._bytes.encode(normalized[start:stop]) if id_ == unknown else [id_]
        return ids

    def token_bytes(self, id_: int) -> bytes:
        if id_ in self._bytes.values:
            return self._bytes.values[id_]
        return text_bytes(self.vocabulary.tokens[id_].replace(_SPACE, " "))


def _build(metadata: Mapping[str, Any], vocabulary: IndexedVocabulary) -> Any:
    """A `tokenizers.Tokenizer` of all pieces, and of one more for unknown characters.

    Special tokens and byte tokens keep their places, under names with a space, which a normalized text never
    has.
    """
    require_memory(UNIGRAM_ENTRY * len(vocabulary), vocabulary.source)
    # imported here, as not every kind of tokenizer needs the package
    from tokenizers import Tokenizer, models

    scores = read_scores(metadata, vocabulary.source, len(vocabulary)).astype(np.float64)
    is_text = vocabulary.types == TokenType.NORMAL
    # The package gives an unknown piece 10 less than the lowest score, which must be one of text.
    scores[~is_text] = scores[is_text].max(initial=0.0)
    named = is_text.copy()
    named[vocabulary.raw_ids] = False
    pieces = [
        (text if is_named and len(text) <= LONGEST_PIECE else f" {id_}", score)
        for id_, (text, score, is_named) in enumerate(
            zip(vocabulary.tokens, scores.tolist(), named.tolist(), strict=True)
        )
    ]
    pieces.append((" unknown", pieces[0][1]))
    return Tokenizer(models.Unigram(pieces, unk_id=len(vocabulary), byte_fallback=False))


def _read_charsmap(metadata: Mapping[str, Any], source: str) -> bytes:
    """The table of characters: four bytes of size, a double array of that size, the texts that it points to.

    `sentencepiece` does not check it, so every step that it could take is checked here. An entry of the
    double array (Darts) has the character that leads to it in bits 0 to 7, whether a text ends there in bit
    8, and the next place in bits 9 to 30. At the end of a text an entry with bit 31 has the place of the
    replacement. Raises ModelError.
    """
    values = metadata.get(_CHARSMAP)
    if values is None:
        return b""
    if not isinstance(values, np.ndarray) or values.dtype.name not in ("uint8", "int8"):
        raise ModelError(f"{source}: {_CHARSMAP} must be an array of uint8 or int8")
    raw = values.tobytes()
    size = int.from_bytes(raw[:4], "little")
    texts = raw[4 + size :]
    if not size or size % 4 or not texts:
        raise ModelError(
            f"{source}: {_CHARSMAP} has {len(raw)} bytes, which its header of {size} does not fit"
        )
    units = np.frombuffer(raw, "<u4", size // 4, 4).astype(np.int64)
    if not _leads_nowhere_else(units, np.frombuffer(texts, np.uint8)) or not _is_text(texts):
        raise ModelError(f"{source}: {_CHARSMAP} is damaged: it points outside of itself, or too far")
    return raw


def _leads_nowhere_else(units: np.ndarray[Any, Any], texts: np.ndarray[Any, Any]) -> bool:
    places = np.arange(len(units))
    next_ = places ^ (units >> 10 << ((units & 1 << 9) >> 6))
    is_step = units < 1 << 31
    is_step[0] = True
    if ((next_[is_step] | 0xFF) >= len(units)).any():
        return False
    ends = next_[is_step & (units & 1 << 8 != 0)]
    starts = units[ends] & (1 << 31) - 1
    if (starts >= len(texts)).any() or (texts[starts] & 0xC0 == 0x80).any():
        return False
    stops = np.append(np.flatnonzero(texts == 0), len(texts))
    return bool((stops[np.searchsorted(stops, starts)] - starts <= _LONGEST_REPLACEMENT).all())


def _is_text(texts: bytes) -> bool:
    try:
        texts.decode()
    except UnicodeDecodeError:
        return False
    return texts.endswith(b"\0")
