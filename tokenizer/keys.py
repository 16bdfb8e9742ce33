"""The keys under `tokenizer.` in a GGUF file: each is honoured, or known to change nothing.

A warning names a key that is in neither table, and the file is read without it: many programs write keys of
their own, and those that change ids or output are known.
"""

import logging
from collections.abc import Iterable

PREFIX = "tokenizer.ggml."

_log = logging.getLogger(__name__)

_MOST_NAMED = 10

SPECIAL_IDS = (
    *("bos", "eos", "eot", "eom", "unknown", "padding", "seperator", "fim_pad", "fim_rep", "fim_sep"),
    *("fim_pre", "fim_suf", "fim_mid", "prefix", "suffix", "middle"),
)
"""Names in `<name>_token_id` of tokens with a role in encoding, around a gap, or at the end of a text."""

UNUSED_IDS = {
    "cls": "encoding begins with bos_token_id, where converters put it too",
    "mask": "names a token that a user writes by its text; training alone puts it in",
}
"""Names in `<name>_token_id` that neither encoding nor generation needs -> why."""

HONOURED = frozenset(
    {
        *(f"{PREFIX}{name}_token_id" for name in SPECIAL_IDS),
        *(f"{PREFIX}{name}" for name in ("model", "pre", "tokens", "token_type", "scores", "merges")),
        *(f"{PREFIX}add_{name}_token" for name in ("bos", "eos", "sep")),
        f"{PREFIX}add_space_prefix",
        f"{PREFIX}remove_extra_whitespaces",
        f"{PREFIX}precompiled_charsmap",
        f"{PREFIX}normalizer.lowercase",
        f"{PREFIX}normalizer.strip_accents",
        f"{PREFIX}suppress_tokens",
        f"{PREFIX}eos_token_ids",  # Ollama's
        f"{PREFIX}token_type_count",  # of BERT's embeddings, read by the architecture
        "tokenizer.chat_template",  # read where conversations are rendered
        "tokenizer.chat_template.rerank",  # read where rerankers are asked
    }
)

INERT = {
    **{f"{PREFIX}{name}_token_id": reason for name, reason in UNUSED_IDS.items()},
    **{
        f"{PREFIX}add_{name}_token": "no kind of tokenizer adds such a token to a text"
        for name in ("unknown", "padding", "mask", "cls")
    },
    "tokenizer.chat_templates": "lists the names of further chat templates",
    "tokenizer.huggingface.json": "the original tokenizer once more; the tables above are made from it",
    "tokenizer.rwkv.world": "the original vocabulary of RWKV once more",
}
"""Keys that change neither ids nor output -> why."""

_INERT_BEGINNING = "tokenizer.chat_template."  # a further chat template of any name


def is_known(key: str) -> bool:
    """Is this key under `tokenizer.` in one of the tables?"""
    return key in HONOURED or key in INERT or key.startswith(_INERT_BEGINNING)


def warn_of_unknown_keys(metadata: Iterable[str], source: str) -> None:
    """Logs one warning that names the unknown keys under `tokenizer.`, if there are any."""
    unknown = [key for key in metadata if key.startswith("tokenizer.") and not is_known(key)]
    if unknown:
        _log.warning(
            "%s: nybble does not know %s%s, and reads the file without; if text comes out wrong, look there",
            source,
            ", ".join(repr(key)[1:-1][:100] for key in unknown[:_MOST_NAMED]),
            f" and {len(unknown) - _MOST_NAMED} more keys" if len(unknown) > _MOST_NAMED else "",
        )
