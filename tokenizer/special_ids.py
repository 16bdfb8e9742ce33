"""The ids with a meaning in a file's metadata: of special tokens, ends of a text, suppressed tokens,
and marks around a gap."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .keys import PREFIX, SPECIAL_IDS, UNUSED_IDS

_log = logging.getLogger(__name__)

_ENDS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
# The marks around a gap in a text, of each family of models that fills gaps, by their texts, as GGUF files
# seldom name them: before the prefix, before the suffix, and where the middle is to come.
GAP_FAMILIES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, Gemma 2
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<PRE>", "<SUF>", "<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM 4.5
    ("<|prefix|>", "<|suffix|>", "<|middle|>"),  # Falcon-H1 Tiny Coder
)
_GAP_KEYS = (("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle"))
"""Their names in `tokenizer.ggml.<name>_token_id`, the newer ones first."""


class GapMarks(NamedTuple):
    """The ids of the marks around a gap."""

    prefix: int
    suffix: int
    middle: int


def gap_marks(ids: Mapping[str, int], special_ids: Mapping[str, int]) -> GapMarks | None:
    """The marks of a vocabulary: those that the file names in `special_ids`, or a family whose texts are all
    in `ids`; None if it has none."""
    for known, families in ((special_ids, _GAP_KEYS), (ids, GAP_FAMILIES)):
        for family in families:
            if all(name in known for name in family):
                return GapMarks(*(known[name] for name in family))
    return None


def read_special_ids(metadata: Mapping[str, Any], source: str, n_vocab: int) -> dict[str, int]:
    """The ids of `tokenizer.ggml.<name>_token_id`, by name.

    An id outside the vocabulary is left out, with a warning: converters write -1, or an id of another
    vocabulary. ModelError if the value of a name in SPECIAL_IDS is no integer.
    """
    ids = {}
    for name in (*SPECIAL_IDS, *UNUSED_IDS):
        key = f"{PREFIX}{name}_token_id"
        value = metadata.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            if value is not None and name in SPECIAL_IDS:
                raise wrong_type(key, "an integer", value, source)
        elif 0 <= value < n_vocab:
            ids[name] = value
        else:
            _log.warning(
                "%s: %s is %d, but the ids end at %d; going on without it", source, key, value, n_vocab - 1
            )
    return ids


def marked_end_ids(
    metadata: Mapping[str, Any], source: str, n_vocab: int, special_ids: Mapping[str, int]
) -> frozenset[int]:
    """The ids that end a text by the metadata: `special_ids` of such names, and Ollama's `eos_token_ids`;
    ModelError if these are no integers."""
    several = read_ids(metadata, source, "eos_token_ids", n_vocab).tolist()
    return frozenset(several) | {special_ids[name] for name in _ENDS if name in special_ids}


def read_suppressed_ids(metadata: Mapping[str, Any], source: str, n_vocab: int) -> NDArray[np.intp]:
    """The ids that must not be generated, (n,), ascending; ModelError if they are no integers, or if no other
    id is left."""
    ids = read_ids(metadata, source, "suppress_tokens", n_vocab)
    if 0 < n_vocab == len(ids):
        raise ModelError(
            f"{source}: {PREFIX}suppress_tokens has all {n_vocab} ids, so there is nothing to generate"
        )
    return ids


def read_ids(metadata: Mapping[str, Any], source: str, name: str, n_vocab: int) -> NDArray[np.intp]:
    """The ids in the array `tokenizer.ggml.<name>`, each once, (n,), ascending; none if the key is missing.

    Ids outside the vocabulary are left out, with a warning. ModelError if it is no array of integers.
    """
    key = PREFIX + name
    values = metadata.get(key)
    if values is None:
        return np.empty(0, np.intp)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        raise wrong_type(key, "an array of integers", values, source)
    is_id = (values >= 0) & (values < n_vocab)
    wrong = values[~is_id].tolist()
    if wrong:
        _log.warning(
            "%s: %s has %s%s, but the ids end at %d; going on without",
            source,
            key,
            ", ".join(map(str, wrong[:5])),
            " and more" if len(wrong) > 5 else "",
            n_vocab - 1,
        )
    return np.unique(values[is_id]).astype(np.intp)


def wrong_type(key: str, expected: str, found: object, source: str) -> ModelError:
    """The error for a value of another type than `expected`."""
    kind = f"an array of {found.dtype.name}" if isinstance(found, np.ndarray) else type(found).__name__
    return ModelError(f"{source}: {key} must be {expected}, found {kind}")
