"""Tokens of single bytes, `<0x00>` to `<0xFF>`, and other substitutes for text that has no token."""

import logging
from collections.abc import Sequence
from itertools import chain

from ..errors import ModelError
from .special_tokens import BYTE_NAMES
from .texts import bytes_text
from .vocabulary import IndexedVocabulary, TokenType, Vocabulary

_log = logging.getLogger(__name__)


def byte_values(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Id of each BYTE token -> its byte; ModelError if one has another name."""
    ids = vocabulary.ids_of_type(TokenType.BYTE)
    names = {id_: vocabulary.tokens[id_] for id_ in ids}
    for id_, name in names.items():
        if name not in BYTE_NAMES:
            raise ModelError(
                f"{vocabulary.source}: token {id_} is of type BYTE but reads {name[:40]!r}, "
                "expected <0x00> to <0xFF>"
            )
    return {id_: BYTE_NAMES[name] for id_, name in names.items()}


class ByteTokens:
    """The byte tokens of a vocabulary; false if there are none.

    values        id of each -> its byte
    substitutes   name of each byte without such a token -> the ids that replace it: the token whose text is
                  this byte, as in llama.cpp, or else `unknown`
    """

    def __init__(self, vocabulary: IndexedVocabulary, unknown: Sequence[int] = ()) -> None:
        """Warns of bytes without a token; ModelError for a token of type BYTE with another name."""
        self.values = byte_values(vocabulary)
        names = BYTE_NAMES if self.values else {}
        missing = {name: bytes_text(byte) for name, byte in names.items() if name not in vocabulary.ids}
        self.substitutes = {
            name: [vocabulary.ids[text]] if text in vocabulary.ids else [*unknown]
            for name, text in missing.items()
        }
        self._ids = [self.substitutes[name] if name in missing else [vocabulary.ids[name]] for name in names]
        lost = [name for name, text in missing.items() if text not in vocabulary.ids]
        if lost:
            _log.warning(
                "%s: %d of the 256 bytes have no token (%s%s); text that needs them loses them",
                vocabulary.source,
                len(lost),
                ", ".join(lost[:5]),
                ", …" if len(lost) > 5 else "",
            )

    def __bool__(self) -> bool:
        return bool(self.values)

    def encode(self, text: str) -> list[int]:
        """The ids of the bytes of `text`; none if there are no byte tokens."""
        return list(chain.from_iterable(map(self._ids.__getitem__, text.encode()))) if self else []


class ExtraPieces(dict[str, list[int]]):
    """Pieces that a package for tokenizing needs beside those of the vocabulary: text of each -> the ids of
    the vocabulary that replace it. In the package their ids are `first`, `first` + 1 …, in this order."""

    def __init__(self, first: int, pieces: dict[str, list[int]]) -> None:
        super().__init__(pieces)
        self._first = first
        self._substitutes = list(pieces.values())

    def ids(self) -> dict[str, int]:
        """Text of each piece -> its id for the package."""
        return {text: id_ for id_, text in enumerate(self, self._first)}

    def resolve(self, ids: list[int]) -> list[int]:
        """Ids of the package -> ids of the vocabulary."""
        first, substitutes = self._first, self._substitutes
        if max(ids, default=0) < first:
            return ids
        return list(chain.from_iterable([id_] if id_ < first else substitutes[id_ - first] for id_ in ids))
