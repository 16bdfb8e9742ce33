"""The errors that nybble raises; a message names the file, the field or tensor, what was expected and found.

A Python argument is named at the start of a message, as n_ctx=512, or as `n_ctx`, so that the command line
can replace it by its option, -c 512 (`cli/option_names.py`).
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
    """A well-formed GGUF file needs something that nybble does not have (version, format, architecture)."""


class ModelError(NybbleError):
    """A well-formed GGUF file whose content is contradictory, or lacks something that the model needs."""


class RequestError(NybbleError, ValueError):
    """An argument is out of range or of the wrong type: a prompt, a parameter, a name."""


class ContextLengthError(RequestError):
    """A prompt or a conversation has more tokens than the context holds."""


class EngineError(NybbleError):
    """The process that runs a model has died, or can run it no more: what was asked for cannot be had now."""


class PullError(NybbleError):
    """A model could not be fetched, or the file that arrived is not the expected one."""


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The end of a message: the one of `known` most similar to `name`; "" if the best similarity, 0 to 1, is
    below `likeness`."""
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold()[:100], folded, n=1, cutoff=likeness)
    return f"; did you mean {folded[close[0]]}?" if close else ""
