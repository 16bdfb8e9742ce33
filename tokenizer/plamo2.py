"""PLaMo 2's tokenizer (`tokenizer.ggml.model = plamo2`): the cheapest pieces, found from the end of the text.

A Unigram model (Kudo 2018, "Subword Regularization", arXiv:1804.10959) whose scores are multiples of 1/10
000. A character that no piece covers costs 1000 and becomes its bytes. Of two segmentations with equal cost,
the one with the longer first piece is taken, then with the longer second, and so on. `tokenizers` works from
the other end, so text and pieces are reversed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from .byte_tokens import ByteTokens
from .memory import UNIGRAM_ENTRY, require_memory
from .model import TokenizerModel
from .vocabulary import TokenType, Vocabulary, read_scores, read_vocabulary

_DEFAULT_IDS = {"bos": 1, "eos": 2, "unknown": 0, "padding": 3}
_UNIT = 1e-4  # of scores
_UNKNOWN = -10_000_000
_PENALTY = 10  # that `tokenizers` subtracts from the lowest score for an unknown character


class PLaMo2(TokenizerModel):
    """PLaMo 2's tokenizer. Text never becomes a CONTROL token, as it does in llama.cpp."""

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        vocabulary = read_vocabulary(metadata, source, _DEFAULT_IDS, has_byte_tokens=True)
        self.vocabulary = vocabulary.without_index()
        self._bytes = ByteTokens(vocabulary)
        if len(self._bytes.values) != 256:
            raise ModelError(
                f"{source}: {len(self._bytes.values)} tokens stand for a byte, <0x00> to <0xFF>; expected 256"
            )
        scores = np.rint(read_scores(metadata, source, len(vocabulary)).astype(np.float64) / _UNIT)
        is_piece = (vocabulary.types == TokenType.NORMAL) & (scores > _UNKNOWN + _PENALTY)
        is_piece[vocabulary.raw_ids] = False
        self._ids: list[int] = np.flatnonzero(is_piece).tolist()
        self._tokenizer = _build(vocabulary, self._ids, scores[is_piece].tolist())

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without a byte order mark at its start."""
        reversed_text = text.removeprefix("\ufeff")[::-1]
        encoded = self._tokenizer.encode(reversed_text, add_special_tokens=False)
        ids: list[int] = []
        for index, (start, stop) in zip(reversed(encoded.ids), reversed(encoded.offsets), strict=True):
            if index < len(self._ids):
                ids.append(self._ids[index])
            else:
                ids += self._bytes.encode(reversed_text[start:stop][::-1])
        return ids

    def token_bytes(self, id_: int) -> bytes:
        return self._bytes.values[id_] if id_ in self._bytes.values else self.vocabulary.literal_bytes(id_)


def _build(vocabulary: Vocabulary, ids: list[int], scores: list[float]) -> Any:
    """A `tokenizers.Tokenizer` of the tokens `ids`, and of one more for unknown characters."""
    require_memory(UNIGRAM_ENTRY * len(ids), vocabulary.source)
    # imported here, as not every kind of tokenizer needs the package
    from tokenizers import Tokenizer, models

    texts = [vocabulary.tokens[id_][::-1] for id_ in ids]
    known = set().union(*texts)
    unknown = next(letter for letter in map(chr, range(0x10FFFF, 0, -1)) if letter not in known)
    pieces = [*zip(texts, scores, strict=True), (unknown, float(_UNKNOWN + _PENALTY))]
    return Tokenizer(models.Unigram(pieces, unk_id=len(ids), byte_fallback=False))
