"""The vocabulary as the metadata tells it: checked once, so that whoever uses it need not check again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import ModelError
from .special_tokens import control_texts, end_of_generation_ids, stripping_ids, structure_ids
from .texts import Texts

_PREFIX = "tokenizer.ggml."
_ENDS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type`, as GGUF and SentencePiece number it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
"""The types of tokens that are found in a text as a whole, or not at all."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens, their types, and the ids with a meaning of their own.

    `add_bos`, `add_eos` and `add_sep` are None where the file leaves the choice to the tokenizer's kind.
    """

    source: str
    """The file's name, for messages."""
    tokens: Sequence[str]
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
    structure_ids: frozenset[int]
    """Those that are shown even where control tokens are left out of a text."""
    strip_after: frozenset[int]
    """Special tokens that swallow the white space behind them."""
    strip_before: frozenset[int]

    def __len__(self) -> int:
        return len(self.tokens)

    def ids_of_type(self, *types: TokenType) -> list[int]:
        """The ids of all tokens of these types, ascending."""
        return _ids_of_type(self.types, *types)


@dataclass(frozen=True, eq=False)
class IndexedVocabulary(Vocabulary):
    """A vocabulary with an index, for those who build something of it."""

    ids: Mapping[str, int]

    def without_index(self) -> Vocabulary:
        """The vocabulary in a fifth of the memory, which is what remains of it once a tokenizer is built."""
        kept = {field.name: getattr(self, field.name) for field in fields(Vocabulary)}
        return Vocabulary(**kept | {"tokens": Texts(self.tokens)})


def read_vocabulary(
    metadata: Mapping[str, Any], source: str, default_ids: Mapping[str, int] | None = None
) -> IndexedVocabulary:
    """Reads what all kinds of tokenizers have in common.

    `default_ids`: for special tokens that the file does not name, by their names in GGUF.

    Empty tokens, which some converters leave behind, get the name that llama.cpp gives them and become
    UNUSED. Tokens whose text says that they control something become CONTROL, whatever the file says
    (special_tokens.py). Raises ModelError where the tables are missing, of another type or length, or
    contradict each other.
    """
    tokens = _read_tokens(metadata, source)
    types = _read_types(metadata, source, len(tokens))
    for id_ in [i for i, token in enumerate(tokens) if not token]:
        tokens[id_] = f"[EMPTY_{id_}]"
        types[id_] = TokenType.UNUSED
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(ids) != len(tokens):
        second = next(i for i, token in enumerate(tokens) if ids[token] != i)
        raise ModelError(
            f"{source}: {_PREFIX}tokens: {tokens[second][:40]!r} is there twice, with the ids {second} and "
            f"{ids[tokens[second]]}; a text must have one id"
        )
    if not (types != TokenType.UNUSED).any():
        raise ModelError(f"{source}: {_PREFIX}tokens: none of the {len(tokens)} tokens is of any use")
    types[[ids[text] for text in control_texts(ids)]] = TokenType.CONTROL

    def special_id(name: str) -> int | None:
        found = _read_special_id(metadata, source, name, len(tokens))
        default = (default_ids or {}).get(name)
        return default if found is None and default is not None and default < len(tokens) else found

    eos_id = special_id("eos")
    ends = marked_end_ids(metadata, source, len(tokens)) | (frozenset() if eos_id is None else {eos_id})
    strip_after, strip_before = stripping_ids(metadata, ids, _ids_of_type(types, *SPECIAL))
    return IndexedVocabulary(
        source=source,
        tokens=tokens,
        types=types,
        ids=ids,
        bos_id=special_id("bos"),
        eos_id=eos_id,
        unk_id=special_id("unknown"),
        pad_id=special_id("padding"),
        sep_id=special_id("seperator"),  # so GGUF spells it
        add_bos=read_flag(metadata, source, "add_bos_token"),
        add_eos=read_flag(metadata, source, "add_eos_token"),
        add_sep=read_flag(metadata, source, "add_sep_token"),
        eog_ids=end_of_generation_ids(ids, ends),
        structure_ids=structure_ids(ids),
        strip_after=strip_after,
        strip_before=strip_before,
    )


def _ids_of_type(types: NDArray[np.uint8], *wanted: TokenType) -> list[int]:
    ids: list[int] = np.flatnonzero(np.isin(types, wanted)).tolist()
    return ids


def marked_end_ids(metadata: Mapping[str, Any], source: str, n_vocab: int) -> frozenset[int]:
    """The ids that the file marks as ends; ModelError if one is no integer or not below `n_vocab`."""
    ids = (_read_special_id(metadata, source, name, n_vocab) for name in _ENDS)
    return frozenset(id_ for id_ in ids if id_ is not None)


def byte_values(vocabulary: Vocabulary) -> dict[int, bytes]:
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


def read_scores(metadata: Mapping[str, Any], source: str, n_tokens: int) -> NDArray[np.float32]:
    """The score of each token, (n_tokens,) float32, all finite; else ModelError."""
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


def read_text(metadata: Mapping[str, Any], source: str, name: str) -> str | None:
    """The text of `tokenizer.ggml.<name>`, None if the key is missing, ModelError if it is no text."""
    value = metadata.get(_PREFIX + name)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(source, name, "UTF-8 text", value)
    return value


def read_flag(metadata: Mapping[str, Any], source: str, name: str) -> bool | None:
    """The truth value of `tokenizer.ggml.<name>`, None if the key is missing, ModelError if it is none."""
    value = metadata.get(_PREFIX + name)
    if value is not None and not isinstance(value, bool):
        raise _wrong_type(source, name, "a bool", value)
    return value


def read_strings(metadata: Mapping[str, Any], source: str, name: str) -> list[str]:
    """The array of texts `tokenizer.ggml.<name>`; ModelError if it is missing, empty, or anything else."""
    values = metadata.get(_PREFIX + name)
    if values is None:
        raise ModelError(
            f"{source}: {_PREFIX}{name} is missing; the file was converted without its vocabulary"
        )
    if not isinstance(values, list):
        raise _wrong_type(source, name, "an array of strings", values)
    if not values:
        raise ModelError(f"{source}: {_PREFIX}{name} is empty")
    if set(map(type, values)) != {str}:
        index = next(i for i, value in enumerate(values) if not isinstance(value, str))
        raise ModelError(
            f"{source}: {_PREFIX}{name}[{index}] must be UTF-8 text, found {values[index][:40]!r}"
        )
    return values


def read_numbers(
    metadata: Mapping[str, Any], source: str, name: str, dtypes: tuple[str, ...], length: int
) -> NDArray[Any] | None:
    """The array `tokenizer.ggml.<name>` of one of `dtypes`, None if the key is missing, else ModelError."""
    values = metadata.get(_PREFIX + name)
    if values is None:
        return None
    if not isinstance(values, np.ndarray):
        raise _wrong_type(source, name, f"an array of {' or '.join(dtypes)}", values)
    if values.dtype.name not in dtypes:
        raise ModelError(
            f"{source}: {_PREFIX}{name} must be an array of {' or '.join(dtypes)}, found {values.dtype.name}"
        )
    if len(values) != length:
        raise ModelError(
            f"{source}: {_PREFIX}{name} has {len(values)} elements, but there are {length} tokens"
        )
    return values


def _read_tokens(metadata: Mapping[str, Any], source: str) -> list[str]:
    return list(read_strings(metadata, source, "tokens"))


def _read_types(metadata: Mapping[str, Any], source: str, n_tokens: int) -> NDArray[np.uint8]:
    values = read_numbers(metadata, source, "token_type", ("int32", "uint32"), n_tokens)
    if values is None:
        return np.full(n_tokens, TokenType.NORMAL, np.uint8)
    wrong = np.flatnonzero((values < 0) | (values > max(TokenType)))
    if len(wrong):
        index = int(wrong[0])
        raise ModelError(
            f"{source}: {_PREFIX}token_type[{index}] is {values[index]}, expected 0 to {max(TokenType)}"
        )
    return np.where(values == 0, TokenType.NORMAL, values).astype(np.uint8)  # 0: the file does not say


def _read_special_id(metadata: Mapping[str, Any], source: str, name: str, n_tokens: int) -> int | None:
    key = f"{name}_token_id"
    value = metadata.get(_PREFIX + key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(source, key, "an integer", value)
    if not 0 <= value < n_tokens:
        raise ModelError(f"{source}: {_PREFIX}{key} is {value}, but the ids end at {n_tokens - 1}")
    return value


def _wrong_type(source: str, name: str, expected: str, found: object) -> ModelError:
    kind = f"an array of {found.dtype.name}" if isinstance(found, np.ndarray) else type(found).__name__
    return ModelError(f"{source}: {_PREFIX}{name} must be {expected}, found {kind}")
