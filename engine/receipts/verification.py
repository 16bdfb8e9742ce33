"""Making a text again from its receipt, and comparing the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...errors import RequestError
from ...gguf_io.display import Shown
from ..hooks.taps import Edits
from ..sampling.params import SamplingParams
from ..steering.added_directions import AddedDirections
from ..steering.control_vector import ControlVector
from .params import params_of
from .receipt import Receipt
from .source import Origin

_ENDINGS = ("stop", "length", "repetition")
"""Reasons that are made again; a text that was cancelled is compared as far as it goes."""


class Text(Protocol):
    """A text in the making: tokens come while it is iterated over, and it ends when nobody has it."""

    @property
    def token_ids(self) -> Sequence[int]: ...

    @property
    def finish_reason(self) -> str | None: ...

    def __iter__(self) -> Any: ...


@dataclass(frozen=True)
class Replay:
    """What a text is made again from."""

    prompt_ids: Sequence[int]
    params: SamplingParams
    choice: int
    eog_ids: frozenset[int]
    edits: Edits | None


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """What came of making a text again."""

    is_same: bool
    n_same: int
    """How many first tokens are the same."""
    difference: str = ""
    """What differs first, in words; "" if nothing does."""
    remarks: Sequence[str] = ()
    """What is not as it was when the receipt was made, and may be the reason for a difference."""

    def _facts(self) -> dict[str, str]:
        return {"is_same": str(self.is_same), "n_same": str(self.n_same), "difference": self.difference}


def verified(
    receipt: Receipt, origin: Origin, vectors: Sequence[ControlVector], begin: Callable[[Replay], Text]
) -> Verification:
    """Makes the text of a receipt again by `begin`. RequestError, with the reason, if it cannot be done here:
    the receipt is of another model, or holds not all that is needed."""
    own = origin.facts()
    _require_same(receipt, own)
    if receipt.obstacle is not None:
        raise RequestError(f"the receipt cannot be verified: {receipt.obstacle}")
    if receipt.finish_reason not in (*_ENDINGS, "cancelled"):
        raise RequestError(f"the receipt is of a text that has ended by {receipt.finish_reason!r:.40}")
    params, given = params_of(receipt.params), list(receipt.token_ids)
    if receipt.finish_reason == "cancelled":
        n = max(1, len(given))
        params = replace(params, max_tokens=n, min_tokens=min(params.min_tokens, n))
    params = replace(params, n=receipt.choice + 1, n_draft=None)
    edits = _edits(receipt, vectors)
    text = begin(Replay(receipt.prompt_ids, params, receipt.choice, frozenset(receipt.eog_ids), edits))
    for _ in text:
        found = text.token_ids[: len(given)]
        if list(found) != given[: len(found)] or len(text.token_ids) > len(given):
            break
    return _compared(receipt, given, text, own)


def _require_same(receipt: Receipt, own: Mapping[str, Any]) -> None:
    names = {
        "model_hash": "the receipt is of another model, {model} with the SHA-256 {theirs}; that of this"
        " model's file is {ours}",
        "executor": "the receipt is of the executor {theirs}, and this is {ours}; load the model with"
        " that one",
        "cache_type": "the receipt is of keys and values in {theirs}, and here they are {ours}; load the"
        " model with that cache type",
        "n_ctx": "the receipt is of a context of n_ctx={theirs}, and here it is {ours}; load the model with"
        " that one",
    }
    for name, message in names.items():
        if (theirs := getattr(receipt, name)) != own[name]:
            raise RequestError(
                message.format(model=f"{receipt.model:.100}", theirs=f"{theirs!s:.80}", ours=own[name])
            )


def _edits(receipt: Receipt, vectors: Sequence[ControlVector]) -> Edits | None:
    known = {digits: direction for vector in vectors for digits, direction in vector.hashes().items()}
    found = {}
    for pattern, key in receipt.edits:
        edit = AddedDirections.of_key(key, known)
        if edit is None:
            raise RequestError(
                f"the text was steered at {pattern:.60} by {key:.200}, which is of none of the"
                f" {len(vectors)} control vectors that were given; give those that it was made with"
            )
        found[pattern] = edit
    return found or None


def _compared(receipt: Receipt, given: list[int], text: Text, own: Mapping[str, Any]) -> Verification:
    found, is_cut = list(text.token_ids), receipt.finish_reason == "cancelled"
    n_same = next(
        (i for i, (a, b) in enumerate(zip(given, found, strict=False)) if a != b), min(len(given), len(found))
    )
    difference = ""
    if n_same < len(given) and n_same < len(found):
        difference = (
            f"token {n_same} is {found[n_same]} here, and {given[n_same]} in the receipt; those before are"
            " the same"
        )
    elif n_same < len(given):
        difference = f"the text ends here after {n_same} tokens, and has {len(given)} in the receipt"
    elif n_same < len(found) and not is_cut:
        difference = f"the text has more tokens here than the {n_same} of the receipt"
    elif not is_cut and text.finish_reason != receipt.finish_reason:
        difference = (
            f"the text ends by {text.finish_reason!r} here, and {receipt.finish_reason!r} in the receipt"
        )
    theirs, ours = ({"nybble": each["nybble"], **each["machine"]} for each in (receipt.as_dict(), own))
    remarks = [
        f"{name}: {value!s:.60} here, {theirs.get(name, 'not told')!s:.60} in the receipt"
        for name, value in ours.items()
        if value != theirs.get(name)
    ]
    return Verification(not difference, n_same, difference, remarks)
