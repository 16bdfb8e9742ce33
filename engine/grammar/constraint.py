"""A constraint: which tokens may come next in one text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError

_WORD = 32


class Constraint:
    """Follows a text by its grammar. `matcher` is llguidance's, at the beginning; `name` the argument that
    messages begin with. Use it in one thread at a time.

    It has the tokens as bytes. Where a decoder leaves out a space, as that of Llama 2 after a control token,
    the text lacks it.
    """

    def __init__(self, matcher: Any, n_bits: int, name: str) -> None:
        self._matcher = matcher
        self.name = name
        self._bits = np.zeros(-(-n_bits // _WORD), np.int32)

    def allowed(self) -> NDArray[np.int32]:
        """The mask of the tokens that may come next: bit i % 32 of word i // 32 is set for token i. It is
        valid until the next call.

        Ends of generation are among them if the text may end here. Raises RequestError if it follows the
        grammar no longer, or if that is too complex.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        return self._bits

    def accept(self, token_id: int) -> None:
        """Goes on with the token that was chosen. Raises RequestError for one that is not allowed."""
        self._matcher.consume_token(token_id)
        self._check()

    @property
    def is_complete(self) -> bool:
        """May the text end here?"""
        return bool(self._matcher.is_accepting())

    @property
    def is_stopped(self) -> bool:
        """Is the text complete, and can nothing more come?"""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        """llguidance raises nothing: after an error it allows ends of generation alone."""
        if self._matcher.is_error():
            raise RequestError(f"`{self.name}`: {reason(self._matcher.get_error())}")


def reason(message: str) -> str:
    """The part of a message of llguidance that says what is wrong."""
    if message.startswith("panic") or "backtrace" in message:
        return "it is too complex, or too large"
    if "NoExtensionBias" in message:
        return "no token of this model can come next"
    if "Unable to determine if regex is empty" in message:
        return "its patterns are too complex beside each other, or beside a length"
    if "oneOf constraints" in message:
        return '"oneOf" of schemas that may hold at once; make them exclude each other, or write "anyOf"'
    for before in ("failed to compile JSON schema: ", "\nerror: "):
        message = message.rpartition(before)[2]
    lines = [line.strip() for line in message.split("\n") if line.strip() and "non-verbose" not in line]
    return lines[0][:300] if lines else "it cannot be compiled"
