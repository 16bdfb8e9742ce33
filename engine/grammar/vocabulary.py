"""A model's tokens for llguidance: their bytes, and which are control tokens and ends of generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import NybbleError
from ...tokenizer import Tokenizer

_MARKER = b"\xff"  # llguidance has it before the name of a control token; text in UTF-8 never does


def import_llguidance() -> Any:
    """The package; NybbleError if it is missing."""
    try:
        import llguidance
    except ImportError as error:
        raise NybbleError(f'constraints need llguidance: pip install "nybble[grammar]" ({error})') from error
    return llguidance


def token_trie(tokenizer: Tokenizer) -> Any:
    """llguidance's `LLTokenizer`: 0.2 s for 49,152 tokens, 1.5 s for 262,144.

    Control tokens are those by their type, tokens that mean nothing, and all ends of generation. A token
    whose bytes begin no character of UTF-8 is never allowed.
    """
    special = tokenizer.control_ids | tokenizer.eog_ids
    tokens = [tokenizer.token_bytes(id_, skip_special_tokens=False) for id_ in range(tokenizer.n_vocab)]
    tokens = [
        _MARKER + token if id_ in special else b"" if token.startswith(_MARKER) else token
        for id_, token in enumerate(tokens)
    ]
    eog_ids = sorted(tokenizer.eog_ids)
    if tokenizer.eos_id in tokenizer.eog_ids:
        eog_ids = [tokenizer.eos_id, *(id_ for id_ in eog_ids if id_ != tokenizer.eos_id)]
    return import_llguidance().LLTokenizer(_Tokens(tokens, eog_ids), eos_token=eog_ids or None)


class _Tokens:
    """What llguidance asks for. Without an end of generation it adds one, after the last token."""

    is_tokenizer_wrapper = True
    bos_token_id = None
    special_token_ids: tuple[int, ...] = ()  # they have the marker already

    def __init__(self, tokens: Sequence[bytes], eog_ids: Sequence[int]) -> None:
        self.tokens = tokens
        self.eos_token_id = eog_ids[0] if eog_ids else None

    def __call__(self, text: str) -> list[int]:
        """Never called: no grammar asks for the ids of a text (`no_forcing`)."""
        return []
