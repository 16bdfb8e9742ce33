"""The errors that nybble raises; each names the file, the field or tensor, what was expected and found.

Where a message names an argument of Python's, it does so at its start, as n_ctx=512, or as `n_ctx`; so other
front doors can put their own name in its place (`cli/option_names.py`: -c 512).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class NybbleError(Exception):
    """Base of every error that nybble raises on purpose."""


class GGUFFormatError(NybbleError, ValueError):
    """The bytes are not a well-formed GGUF file (bad magic, truncated, sizes that do not add up)."""


class GGUFUnsupportedError(NybbleError):
    """A well-formed GGUF file asks for something that nybble does not do (version, format, architecture)."""


class ModelError(NybbleError):
    """The container is fine, but its content contradicts itself or lacks something the model needs."""


class RequestError(NybbleError, ValueError):
    """What the caller asked for is out of range or of the wrong type: a prompt, a parameter, a name."""


class PullError(NybbleError):
    """A model could not be fetched, or what arrived is not what was expected."""


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The end of a message: the one of `known` that is most like `name`; "" if none is that alike, of 1."""
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold()[:100], folded, n=1, cutoff=likeness)
    return f"; did you mean {folded[close[0]]}?" if close else ""
