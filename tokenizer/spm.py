"""SentencePiece BPE (`tokenizer.ggml.model = llama`), run by the `sentencepiece` package."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .byte_tokens import ByteTokens, ExtraPieces
from .model import TokenizerModel
from .model_proto import LONGEST_PIECE, integer, load_processor, message, normalizer_spec, piece, varint
from .texts import all_bytes, text_bytes
from .vocabulary import IndexedVocabulary, TokenType, read_flag, read_scores, read_vocabulary

_SPACE = "▁"
_BPE = 2
_DEFAULT_IDS = {"bos": 1, "eos": 2, "unknown": 0}


class SentencePieceBPE(TokenizerModel):
    """SentencePiece BPE, with the scores of a file."""

    add_bos = True

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        vocabulary = read_vocabulary(metadata, source, _DEFAULT_IDS, has_byte_tokens=True)
        self.vocabulary = vocabulary.without_index()
        add_space_prefix = read_flag(metadata, source, "add_space_prefix")
        self.add_space_prefix = True if add_space_prefix is None else add_space_prefix
        self.strips_space_prefix = self.add_space_prefix
        unknown = [] if vocabulary.unk_id is None else [vocabulary.unk_id]
        bytes_ = ByteTokens(vocabulary, unknown)
        self._bytes = bytes_.values
        name = "<unk>"
        while name in vocabulary.ids:
            name += ">"
        self._extra = ExtraPieces(len(vocabulary), {name: unknown} | bytes_.substitutes)
        scores = read_scores(metadata, source, len(vocabulary))
        model_proto = _model_proto(vocabulary, scores, [*self._extra], bool(bytes_))
        self._processor = load_processor(model_proto, source)

    def encode(self, text: str) -> list[int]:
        return self._extra.resolve(self._processor.EncodeAsIds(text))

    def token_bytes(self, id_: int) -> bytes:
        if id_ in self._bytes:
            return self._bytes[id_]
        return text_bytes(self.vocabulary.tokens[id_].replace(_SPACE, " "))


def _model_proto(
    vocabulary: IndexedVocabulary, scores: NDArray[np.float32], extra: list[str], byte_fallback: bool
) -> bytes:
    """The ModelProto: the tokens, then the `extra` pieces, an UNKNOWN one and the bytes without a token.

    A vocabulary may have several UNKNOWN tokens (Phi-3) or none; SentencePiece needs exactly one, and all 256
    bytes or none. Special tokens are never merged from letters: by llama.cpp's rules the text is cut at them
    before. So they are all CONTROL pieces here. This also hides pieces with plain spaces (Gemma's runs of
    them), as SentencePiece's own spaces are U+2581.
    """
    types = vocabulary.types
    texts = all_bytes(vocabulary.tokens)
    no_piece = np.fromiter(map(len, texts), np.int64, len(texts)) > LONGEST_PIECE
    no_piece[vocabulary.raw_ids] = True
    for id_ in np.flatnonzero(no_piece).tolist():
        texts[id_] = b"no piece: %d" % id_

    merged = (types == TokenType.NORMAL) | (types == TokenType.BYTE) | (types == TokenType.UNUSED)
    tail = np.empty(len(types), [("f2", "u1"), ("score", "<f4"), ("f3", "u1"), ("type", "u1")])
    tail["f2"], tail["score"] = 2 << 3 | 5, scores
    tail["f3"], tail["type"] = 3 << 3, np.where(merged & ~no_piece, types, TokenType.CONTROL)
    tail_size = tail.dtype.itemsize

    heads = {length: _piece_head(length, tail_size) for length in set(map(len, texts))}
    parts = [b""] * (3 * len(texts))
    parts[0::3] = [heads[length] for length in map(len, texts)]
    parts[1::3] = texts
    parts[2::3] = tail.view(f"V{tail_size}").tolist()
    return b"".join(
        (
            *parts,
            piece(extra[0], TokenType.UNKNOWN),
            *(piece(text, TokenType.BYTE) for text in extra[1:]),
            message(2, integer(3, _BPE) + integer(35, byte_fallback)),
            normalizer_spec(b"", add_dummy_prefix=False, remove_extra_whitespaces=False),
        )
    )


def _piece_head(length: int, tail_size: int) -> bytes:
    """The bytes before a piece's text: field and size of the SentencePiece, field and size of the text."""
    text_head = bytes([1 << 3 | 2]) + varint(length)
    return bytes([1 << 3 | 2]) + varint(len(text_head) + length + tail_size) + text_head
