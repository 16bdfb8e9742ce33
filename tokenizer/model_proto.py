"""Writes the model file of the `sentencepiece` package, a `ModelProto`, and loads it.

GGUF holds the contents of the original file, but not the file. Protobuf's wire format is simple enough to
write without the protobuf package:

    ModelProto     1: pieces (SentencePiece, repeated)   2: trainer_spec   3: normalizer_spec
    SentencePiece  1: piece (string)   2: score (float)   3: type
    TrainerSpec    3: model_type   35: byte_fallback
    NormalizerSpec 1: name   2: precompiled_charsmap   3: add_dummy_prefix   4: remove_extra_whitespaces
                   5: escape_whitespaces
"""

from typing import Any

from ..errors import ModelError
from .memory import PROTO_BYTE, require_memory

LONGEST_PIECE = 4096  # bytes; the package refuses models with pieces of more than some 5000


def piece(text: str, type_: int) -> bytes:
    """A piece without a score."""
    return message(1, message(1, text.encode()) + integer(3, type_))


def normalizer_spec(charsmap: bytes, *, add_dummy_prefix: bool, remove_extra_whitespaces: bool) -> bytes:
    """How a text is normalized: `charsmap` replaces characters, then each space becomes U+2581."""
    return message(
        3,
        message(1, b"charsmap" if charsmap else b"identity")
        + (message(2, charsmap) if charsmap else b"")
        + integer(3, add_dummy_prefix)
        + integer(4, remove_extra_whitespaces)
        + integer(5, True),
    )


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def integer(field: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field that is text, bytes or a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def load_processor(model_proto: bytes, source: str) -> Any:
    """A `SentencePieceProcessor` of the model; ModelError if the package rejects it, MemoryError if there is
    no memory for it. `source` names the file in messages."""
    require_memory(PROTO_BYTE * len(model_proto), source)
    # imported here, as not every kind of tokenizer needs the package
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model_proto)
    except (RuntimeError, OSError) as error:
        raise ModelError(f"{source}: SentencePiece does not take the vocabulary: {error}") from error
    return processor
