"""The vocabulary, read from a file's metadata and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..gguf_io.display import Shown
from .keys import PREFIX
from .special_ids import (
    GapMarks,
    gap_marks,
    marked_end_ids,
    read_special_ids,
    read_suppressed_ids,
    wrong_type,
)
from .special_tokens import BYTE_NAMES, control_texts, end_of_generation_ids, stripping_ids, structure_ids
from .texts import Texts, bytes_text, text_bytes

_log = logging.getLogger(__name__)


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type`, as GGUF and SentencePiece number it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
"""The types of tokens that are never merged from letters."""


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary(Shown):
    """Tokens, their types, and the ids with a meaning of their own.

    `add_bos`, `add_eos` and `add_sep` are None where the file leaves the choice to the tokenizer's kind.
    """

    source: str
    """The file's name, for messages."""
    tokens: Sequence[str]
    """Bytes that are not UTF-8 are lone surrogates (texts.py)."""
    types: NDArray[np.uint8]
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    pad_id: int | None
    sep_id: int | None
    add_bos: bool | None
    add_eos: bool | None
    add_sep: bool | None
    eog_ids: frozenset[int]
    gap_marks: GapMarks | None
    structure_ids: frozenset[int]
    """Control tokens that are shown even where control tokens are left out of a text."""
    suppressed_ids: NDArray[np.intp]
    """Those that must not be generated."""
    strip_after: frozenset[int]
    """Special tokens that remove the white space after them; `strip_before`: before them."""
    strip_before: frozenset[int]

    def __len__(self) -> int:
        return len(self.tokens)

    def literal_bytes(self, id_: int) -> bytes:
        """The token itself, as the file has it."""
        return text_bytes(self.tokens[id_])

    def first_difference(self, other: Vocabulary) -> int | None:
        """The first id that is another token in `other`, or a token in one of the two only; None if they
        are alike. UNUSED tokens, with which vocabularies are filled up, are none, whatever their texts."""
        for id_, (ours, theirs) in enumerate(zip_longest(self.tokens, other.tokens)):
            if ours != theirs and not (self._is_unused(id_) and other._is_unused(id_)):
                return id_
        return None

    def _is_unused(self, id_: int) -> bool:
        return id_ >= len(self) or self.types[id_] == TokenType.UNUSED

    def ids_of_type(self, *types: TokenType) -> list[int]:
        """The ids of all tokens of these types, ascending."""
        return _ids_of_type(self.types, *types)


@dataclass(frozen=True, eq=False, repr=False)
class IndexedVocabulary(Vocabulary):
    """A vocabulary with an index from texts to ids, needed while a tokenizer is built."""

    ids: Mapping[str, int]
    raw_ids: Sequence[int]
    """The tokens that are not UTF-8: no text has them, and packages for tokenizing reject them."""

    def without_index(self) -> Vocabulary:
        """The vocabulary in a fifth of the memory, for a tokenizer that is built."""
        kept = {field.name: getattr(self, field.name) for field in fields(Vocabulary)}
        return Vocabulary(**kept | {"tokens": Texts(self.tokens)})


def read_vocabulary(
    metadata: Mapping[str, Any],
    source: str,
    default_ids: Mapping[str, int] | None = None,
    has_byte_tokens: bool = False,
) -> IndexedVocabulary:
    """Reads what all kinds of tokenizers have in common.

    `default_ids`: ids of special tokens that the file does not name, by their names in GGUF.
    `has_byte_tokens`: does this kind of tokenizer write a byte as "<0x0A>"?

    Empty tokens, which some converters write, get llama.cpp's name for them and become UNUSED. Tokens that
    are CONTROL by their text, or names of bytes, get that type, whatever the file says (special_tokens.py).
    If no token of the file is special, those of `<name>_token_id` are, if they are in brackets. Raises
    ModelError if tables are missing, of another type, too short, or contradict each other.
    """
    tokens, raw_ids = _read_tokens(metadata, source)
    types = _read_types(metadata, source, len(tokens))
    for id_ in [i for i, token in enumerate(tokens) if not token]:
        tokens[id_] = f"[EMPTY_{id_}]"
        types[id_] = TokenType.UNUSED
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(ids) != len(tokens):
        second = next(i for i, token in enumerate(tokens) if ids[token] != i)
        raise ModelError(
            f"{source}: {PREFIX}tokens: {tokens[second][:40]!r} is there twice, with the ids {second} and "
            f"{ids[tokens[second]]}; a text must have one id"
        )
    if not (types != TokenType.UNUSED).any():
        raise ModelError(f"{source}: {PREFIX}tokens: none of the {len(tokens)} tokens is of any use")
    defaults = {name: id_ for name, id_ in (default_ids or {}).items() if id_ < len(tokens)}
    special_ids = defaults | read_special_ids(metadata, source, len(tokens))
    if not np.isin(types, SPECIAL).any():
        for name, id_ in special_ids.items():
            if tokens[id_][0] + tokens[id_][-1] in ("<>", "[]"):
                types[id_] = TokenType.UNKNOWN if name == "unknown" else TokenType.CONTROL
    types[[ids[text] for text in control_texts(ids)]] = TokenType.CONTROL
    if has_byte_tokens:
        types[[ids[name] for name in BYTE_NAMES if name in ids]] = TokenType.BYTE

    def adds(name: str) -> bool | None:
        """The flag of the file; False if the token that it names does not exist."""
        asked = read_flag(metadata, source, f"add_{name}_token")
        return asked and (name in special_ids or f"{PREFIX}{name}_token_id" not in metadata)

    ends = marked_end_ids(metadata, source, len(tokens), special_ids)
    strip_after, strip_before = stripping_ids(metadata, ids, _ids_of_type(types, *SPECIAL))
    return IndexedVocabulary(
        source=source,
        tokens=tokens,
        types=types,
        ids=ids,
        raw_ids=raw_ids,
        bos_id=special_ids.get("bos"),
        eos_id=special_ids.get("eos"),
        unk_id=special_ids.get("unknown"),
        pad_id=special_ids.get("padding"),
        sep_id=special_ids.get("seperator"),  # so GGUF spells it
        add_bos=adds("bos"),
        add_eos=adds("eos"),
        add_sep=read_flag(metadata, source, "add_sep_token"),
        eog_ids=end_of_generation_ids(ids, ends),
        gap_marks=gap_marks(ids, special_ids),
        structure_ids=structure_ids(ids),
        suppressed_ids=read_suppressed_ids(metadata, source, len(tokens)),
        strip_after=strip_after,
        strip_before=strip_before,
    )


def _ids_of_type(types: NDArray[np.uint8], *wanted: TokenType) -> list[int]:
    ids: list[int] = np.flatnonzero(np.isin(types, wanted)).tolist()
    return ids


def read_scores(metadata: Mapping[str, Any], source: str, n_tokens: int) -> NDArray[np.float32]:
    """The score of each token, (n_tokens,) float32, all finite, else ModelError; 0 if the key is missing."""
    scores = read_numbers(metadata, source, "scores", ("float32", "int32"), n_tokens)
    if scores is None:
        _log.warning(
            "%s: tokenizer.ggml.scores is missing, so no piece goes before another; if the model answers "
            "badly, get a newer conversion of it",
            source,
        )
        return np.zeros(n_tokens, "<f4")
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ModelError(
            f"{source}: tokenizer.ggml.scores[{wrong[0]}] is {scores[wrong[0]]}, not a finite number"
        )
    return scores.astype("<f4")


def read_text(metadata: Mapping[str, Any], source: str, name: str) -> str | None:
    """The text of `tokenizer.ggml.<name>`, None if the key is missing, ModelError if it is no text."""
    value = metadata.get(PREFIX + name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(PREFIX + name, "UTF-8 text", value, source)
    return value


def read_flag(metadata: Mapping[str, Any], source: str, name: str) -> bool | None:
    """The truth value of `tokenizer.ggml.<name>`, None if the key is missing, ModelError if it is none."""
    value = metadata.get(PREFIX + name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(PREFIX + name, "a bool", value, source)
    return value


def read_strings(metadata: Mapping[str, Any], source: str, name: str) -> list[str]:
    """The array of texts `tokenizer.ggml.<name>`; ModelError if it is missing, empty, or anything else."""
    values = read_array(metadata, source, name)
    if set(map(type, values)) != {str}:
        index = next(i for i, value in enumerate(values) if not isinstance(value, str))
        raise ModelError(
            f"{source}: {PREFIX}{name}[{index}] must be UTF-8 text, found {values[index][:40]!r}"
        )
    return values


def read_array(metadata: Mapping[str, Any], source: str, name: str) -> list[Any]:
    """The array `tokenizer.ggml.<name>` of texts, or bytes where they are no text; ModelError if it is
    missing, empty, or anything else."""
    values = metadata.get(PREFIX + name)
    if values is None:
        raise ModelError(
            f"{source}: {PREFIX}{name} is missing; the file was converted without its vocabulary"
        )
    if not isinstance(values, list):
        raise wrong_type(PREFIX + name, "an array of strings", values, source)
    if not values:
        raise ModelError(f"{source}: {PREFIX}{name} is empty")
    return values


def read_numbers(
    metadata: Mapping[str, Any], source: str, name: str, dtypes: tuple[str, ...], length: int
) -> NDArray[Any] | None:
    """The array `tokenizer.ggml.<name>` of one of `dtypes`, None if the key is missing, else ModelError."""
    values = metadata.get(PREFIX + name)
    if values is None:
        return None
    if not isinstance(values, np.ndarray):
        raise wrong_type(PREFIX + name, f"an array of {' or '.join(dtypes)}", values, source)
    if values.dtype.name not in dtypes:
        raise ModelError(
            f"{source}: {PREFIX}{name} must be an array of {' or '.join(dtypes)}, found {values.dtype.name}"
        )
    if len(values) < length:
        raise ModelError(
            f"{source}: {PREFIX}{name} has {len(values)} elements, but there are {length} tokens"
        )
    if len(values) > length:
        _log.warning(
            "%s: %s%s has %d elements, but there are %d tokens; the last %d are left out",
            source,
            PREFIX,
            name,
            len(values),
            length,
            len(values) - length,
        )
    return values[:length]


def _read_tokens(metadata: Mapping[str, Any], source: str) -> tuple[list[str], list[int]]:
    """The tokens, and the ids of those that are not UTF-8."""
    values = read_array(metadata, source, "tokens")
    if set(map(type, values)) == {str}:
        return list(values), []
    raw_ids = [i for i, value in enumerate(values) if isinstance(value, bytes)]
    return [bytes_text(value) if isinstance(value, bytes) else value for value in values], raw_ids


def _read_types(metadata: Mapping[str, Any], source: str, n_tokens: int) -> NDArray[np.uint8]:
    values = read_numbers(metadata, source, "token_type", ("int32", "uint32"), n_tokens)
    if values is None:
        return np.full(n_tokens, TokenType.NORMAL, np.uint8)
    wrong = np.flatnonzero((values < 0) | (values > max(TokenType)))
    if len(wrong):
        index = int(wrong[0])
        raise ModelError(
            f"{source}: {PREFIX}token_type[{index}] is {values[index]}, expected 0 to {max(TokenType)}"
        )
    return np.where(values == 0, TokenType.NORMAL, values).astype(np.uint8)  # 0: the file does not say
