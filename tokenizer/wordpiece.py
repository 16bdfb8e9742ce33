"""WordPiece (`tokenizer.ggml.model = bert`): the longest token first, word by word.

GGUF marks the tokens that begin a word with U+2581; BERT's own vocabulary marks those that continue one with
"##". Letters are normalized as in llama.cpp, so that ids and embeddings are the same for all users of a file.
BERT's own tokenizer differs: it keeps spacing marks (Mc), takes all parts of a Korean syllable, of which
llama.cpp takes the first, and knows no word of more than 100 characters.

Source: Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805).
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from .longest_match import LongestMatch
from .model import TokenizerModel
from .texts import text_bytes
from .vocabulary import read_flag, read_vocabulary

_WORD_START = "▁"
_DEFAULT_IDS = {"bos": 101, "seperator": 102, "unknown": 100, "padding": 0}
_INFORMATION_SEPARATORS = "\x1c\x1d\x1e\x1f"  # white space for Python, control characters for Unicode
_IDEOGRAPHS = (
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B820)),
    *(range(0x2B920, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
)


class WordPiece(TokenizerModel):
    """WordPiece with the letters of BERT."""

    strips_space_prefix = True
    add_bos = True
    add_sep = True

    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        # BERT needs [CLS] and [SEP] around every text, whatever the file's flags are
        vocabulary = read_vocabulary(metadata, source, _DEFAULT_IDS)
        self.vocabulary = replace(vocabulary.without_index(), add_bos=None, add_eos=None)
        self._ids = vocabulary.ids
        lowercase = read_flag(metadata, source, "normalizer.lowercase")
        strip_accents = read_flag(metadata, source, "normalizer.strip_accents")
        self._letters = _NormalizedLetters(
            lowercase=lowercase is not False,
            strip_accents=lowercase is not False if strip_accents is None else strip_accents,
        )
        self._longest = LongestMatch(self._ids.keys())

    def encode(self, text: str) -> list[int]:
        words = text.translate(self._letters).split()
        ids = {word: self._word_ids(_WORD_START + word) for word in set(words)}
        return list(chain.from_iterable(map(ids.__getitem__, words)))

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL token: a word begins with a space."""
        return text_bytes(self.vocabulary.tokens[id_].replace(_WORD_START, " "))

    def _word_ids(self, word: str) -> list[int]:
        """A word that has a part without a token is unknown as a whole."""
        found, position = [], 0
        while position < len(word):
            length = self._longest.length_at(word, position)
            if not length:
                return [] if self.vocabulary.unk_id is None else [self.vocabulary.unk_id]
            found.append(self._ids[word[position : position + length]])
            position += length
        return found


class _NormalizedLetters(dict[int, str]):
    """What `str.translate` puts in each character's place; filled as characters turn up."""

    def __init__(self, *, lowercase: bool, strip_accents: bool) -> None:
        super().__init__()
        self._lowercase, self._strip_accents = lowercase, strip_accents

    def __missing__(self, code: int) -> str:
        self[code] = normalized = self._normalize(chr(code))
        return normalized

    def _normalize(self, letter: str) -> str:
        """White space becomes a space; punctuation and ideographs are words of their own."""
        if self._strip_accents:
            letter = unicodedata.normalize("NFD", letter)[0]
        category = unicodedata.category(letter)
        if letter.isspace() and letter not in _INFORMATION_SEPARATORS:
            return " "
        if letter == "\ufffd" or category in ("Cc", "Cf", "Co"):
            return ""
        if self._strip_accents and category[0] == "M":
            return ""
        alone = (
            category[0] == "P"
            or (category[0] == "S" and letter.isascii())
            or any(ord(letter) in ideographs for ideographs in _IDEOGRAPHS)
        )
        if self._lowercase:
            letter = letter.lower()[0]  # one for one: only U+0130 has two
        return f" {letter} " if alone else letter
