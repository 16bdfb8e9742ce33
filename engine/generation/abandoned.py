"""Work for somebody who is no longer there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def ends_with(owner: object, remove: Callable[[T], object], job: T) -> weakref.finalize:
    """`remove(job)` is called when nobody has `owner` any more, or when the result is.

    Until then the job is not kept alive by this: the traceback of its error may know `owner`, and both would
    live for ever.
    """
    end = weakref.finalize(owner, _remove, remove, weakref.ref(job))
    end.atexit = False
    return end


def _remove(remove: Callable[[T], object], of_job: weakref.ReferenceType[T]) -> None:
    job = of_job()
    if job is not None:  # else nobody works for it
        remove(job)
