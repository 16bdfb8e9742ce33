"""SentencePiece BPE (`tokenizer.ggml.model = llama`), run by the `sentencepiece` package.

GGUF holds the pieces, scores and types of the original model, but not the model file that the package
loads, a `ModelProto`. It is written here in protobuf's wire format, which takes a few lines and no protobuf
package:

    ModelProto     1: pieces (SentencePiece, repeated)   2: trainer_spec   3: normalizer_spec
    SentencePiece  1: piece (string)   2: score (float)   3: type
    TrainerSpec    3: model_type   35: byte_fallback
    NormalizerSpec 1: name   3: add_dummy_prefix   4: remove_extra_whitespaces   5: escape_whitespaces
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import ModelError
from .vocabulary import TokenType, Vocabulary, read_flag, read_numbers, read_vocabulary

_SPACE = "▁"
_BPE = 2
_LONGEST_PIECE = 4096  # bytes; the package refuses models with pieces of more than some 5000


class SentencePieceBPE:
    """Encodes pieces of text without special tokens, and says what bytes a token stands for."""

    add_bos = True
    add_eos = False

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        """Builds it from a file's metadata. Raises ModelError for tables that contradict each other."""
        vocabulary = read_vocabulary(metadata, source, default_bos_id=1, default_eos_id=2, default_unk_id=0)
        self.vocabulary = vocabulary
        add_space_prefix = read_flag(metadata, source, "add_space_prefix")
        self.add_space_prefix = True if add_space_prefix is None else add_space_prefix
        self._bytes = _byte_values(vocabulary)
        scores = _read_scores(metadata, source, len(vocabulary))
        self._processor = _load(_model_proto(vocabulary, scores, bool(self._bytes)), source)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which must be free of lone surrogates."""
        ids: list[int] = self._processor.EncodeAsIds(text)
        unknown = len(self.vocabulary)  # the piece that is added below
        if unknown in ids:
            replacement = [] if self.vocabulary.unk_id is None else [self.vocabulary.unk_id]
            ids = [new for id_ in ids for new in (replacement if id_ == unknown else [id_])]
        return ids

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL or BYTE token."""
        byte = self._bytes.get(id_)
        if byte is not None:
            return byte
        return self.vocabulary.tokens[id_].replace(_SPACE, " ").encode()


def _read_scores(metadata: Mapping[str, Any], source: str, n_tokens: int) -> NDArray[np.float32]:
    scores = read_numbers(metadata, source, "scores", ("float32", "int32"), n_tokens)
    if scores is None:
        raise ModelError(
            f"{source}: tokenizer.ggml.scores is missing; without it no piece goes before another"
        )
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ModelError(
            f"{source}: tokenizer.ggml.scores[{wrong[0]}] is {scores[wrong[0]]}, not a finite number"
        )
    return scores.astype("<f4")


def _byte_values(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Id of each BYTE token -> its byte. There are all 256, or none."""
    values: dict[int, bytes] = {}
    for id_ in vocabulary.ids_of_type(TokenType.BYTE):
        token = vocabulary.tokens[id_]
        try:
            values[id_] = bytes([int(token.removeprefix("<0x").removesuffix(">"), 16)])
        except ValueError:
            values[id_] = b""
        if token != f"<0x{values[id_].hex().upper()}>":
            raise ModelError(
                f"{vocabulary.source}: token {id_} is of type BYTE but reads {token[:40]!r}, "
                "expected <0x00> to <0xFF>"
            )
    if values and len(values) != 256:
        raise ModelError(f"{vocabulary.source}: {len(values)} tokens are of type BYTE, expected 256 or none")
    return values


def _model_proto(vocabulary: Vocabulary, scores: NDArray[np.float32], byte_fallback: bool) -> bytes:
    """The ModelProto, with one more piece than there are tokens, as its one UNKNOWN piece.

    The vocabulary may have several UNKNOWN tokens (Phi-3) or none; SentencePiece takes exactly one.
    UNKNOWN, CONTROL and USER_DEFINED tokens are never made of letters: the text is cut at them before
    SentencePiece sees it, by llama.cpp's rules. So all of them are CONTROL pieces here. That also keeps
    pieces with plain spaces (Gemma's runs of them) out of its way, as its own spaces are U+2581.
    """
    types = vocabulary.types
    texts = [token.encode() for token in vocabulary.tokens]
    too_long = np.fromiter(map(len, texts), np.int64, len(texts)) > _LONGEST_PIECE
    for id_ in np.flatnonzero(too_long).tolist():
        texts[id_] = b"too long: %d" % id_

    merged = (types == TokenType.NORMAL) | (types == TokenType.BYTE) | (types == TokenType.UNUSED)
    tail = np.empty(len(types), [("f2", "u1"), ("score", "<f4"), ("f3", "u1"), ("type", "u1")])
    tail["f2"], tail["score"] = 2 << 3 | 5, scores
    tail["f3"], tail["type"] = 3 << 3, np.where(merged & ~too_long, types, TokenType.CONTROL)
    tail_size = tail.dtype.itemsize

    unknown = "<unk>"
    while unknown in vocabulary.ids:
        unknown += ">"
    heads = {length: _piece_head(length, tail_size) for length in set(map(len, texts))}
    parts = [b""] * (3 * len(texts))
    parts[0::3] = [heads[length] for length in map(len, texts)]
    parts[1::3] = texts
    parts[2::3] = tail.view(f"V{tail_size}").tolist()
    return b"".join(
        (
            *parts,
            _message(1, _message(1, unknown.encode()) + _integer(3, TokenType.UNKNOWN)),
            _message(2, _integer(3, _BPE) + _integer(35, byte_fallback)),
            _message(3, _message(1, b"identity") + _integer(3, 0) + _integer(4, 0) + _integer(5, 1)),
        )
    )


def _piece_head(length: int, tail_size: int) -> bytes:
    """What goes before a piece's text: field and size of the SentencePiece, field and size of the text."""
    text_head = bytes([1 << 3 | 2]) + _varint(length)
    return bytes([1 << 3 | 2]) + _varint(len(text_head) + length + tail_size) + text_head


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _load(model_proto: bytes, source: str) -> Any:
    # imported here, as one kind of tokenizer does not need the other's package
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model_proto)
    except (RuntimeError, OSError) as error:
        raise ModelError(f"{source}: SentencePiece does not take the vocabulary: {error}") from error
    return processor
