"""RWKV's tokenizer (`tokenizer.ggml.model = rwkv`): the longest token at each position, in bytes."""

import re
from collections.abc import Mapping
from typing import Any

from .longest_match import LongestMatch
from .model import TokenizerModel
from .texts import text_bytes
from .vocabulary import read_vocabulary

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROLS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


class RWKV(TokenizerModel):
    """RWKV's tokenizer. Bytes are handled as the Latin-1 characters of the same numbers."""

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        vocabulary = read_vocabulary(metadata, source)
        self.vocabulary = vocabulary.without_index()
        self._tokens = [_unescape(token) for token in vocabulary.tokens]
        self._ids = {token.decode("latin-1"): id_ for id_, token in enumerate(self._tokens) if token}
        self._longest = LongestMatch(self._ids.keys())

    def encode(self, text: str) -> list[int]:
        letters, ids, position = text.encode().decode("latin-1"), [], 0
        unknown = self.vocabulary.unk_id
        while position < len(letters):
            length = self._longest.length_at(letters, position)
            if length:
                ids.append(self._ids[letters[position : position + length]])
            elif unknown is not None:
                ids.append(unknown)
            position += length or 1
        return ids

    def token_bytes(self, id_: int) -> bytes:
        return self._tokens[id_]


def _unescape(token: str) -> bytes:
    """The bytes of a token, which GGUF holds as a Python string literal without its quotes."""

    def replaced(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes.fromhex(match[1].decode())
        return _CONTROLS.get(match[2], match[2])

    return _ESCAPE.sub(replaced, text_bytes(token))
