"""The marks around a gap in a text, as code models were trained to fill it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Of each family of models, by their texts, as GGUF files seldom name them: before the prefix, before the
# suffix, and where the middle is to come.
FAMILIES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, Gemma 2
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<PRE>", "<SUF>", "<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM 4.5
    ("<|prefix|>", "<|suffix|>", "<|middle|>"),  # Falcon-H1 Tiny Coder
)
_KEYS = (("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle"))
"""Their names in `tokenizer.ggml.<name>_token_id`, the newer ones first."""


class GapMarks(NamedTuple):
    """Their ids."""

    prefix: int
    suffix: int
    middle: int


def gap_marks(ids: Mapping[str, int], special_ids: Mapping[str, int]) -> GapMarks | None:
    """The marks of a vocabulary: those that the file names in `special_ids`, or a family whose texts are all
    in `ids`; None if it has none."""
    for known, families in ((special_ids, _KEYS), (ids, FAMILIES)):
        for family in families:
            if all(name in known for name in family):
                return GapMarks(*(known[name] for name in family))
    return None
