"""What the bits of a state depend on: only what was saved with the same key may be loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..executors.base import Executor
from .prefix import PAGE_SIZE

ArraySpec = tuple[str, tuple[int, ...]]
"""The dtype and the shape of an array."""

_REASONS = {
    "nybble": "it was saved by nybble {}, and this is {}, whose bits may be others; save it again",
    "model": "it is of another model: the SHA-256 of its file is {}, that of this model's {}",
    "executor": "it is of another executor, {} instead of {}",
    "page_size": "it has pages of {} tokens, and they have {} here; save it again",
    "windows": "it is of layers with other windows, {} instead of {}",
    "pages": "it is of another cache type: the dtypes and shapes of its pages are {}, here {}; load the model"
    " as it was loaded when the state was saved",
    "states": "the dtypes and shapes of its recurrent states are {}, here {}; save it again",
    "angles": "its tokens were turned by other angles, which some models have for long contexts; load the"
    " model with the n_ctx that it had when the state was saved",
}


@dataclass(frozen=True)
class StateKey:
    """`model`: a hash of the file. Of the pools of an executor `windows` has the windows, `pages` the arrays
    of a page; `states` has those of a seat."""

    nybble: str
    model: str
    executor: str
    angles: str
    page_size: int
    windows: tuple[int, ...]
    pages: tuple[tuple[ArraySpec, ...], ...]
    states: tuple[ArraySpec, ...]

    @classmethod
    def of(cls, executor: Executor, model: str) -> StateKey:
        """That of an executor with pages."""
        return cls(
            installed_version(),
            model,
            type(executor).__name__,
            _angles(executor),
            PAGE_SIZE,
            tuple(pages.window for pages in executor.pages),
            tuple(_specs(executor.read_page(pages, 0)) for pages in executor.pages),
            _specs(executor.states_of(0)),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def difference(self, facts: Mapping[str, Any]) -> str | None:
        """Why a state whose key has these facts cannot be used; None: it can."""
        for name, own in self.facts.items():
            if (found := facts.get(name)) != own:
                return _REASONS[name].format(f"{found!s:.200}", f"{own!s:.200}")
        return None


def n_bytes(specs: Sequence[ArraySpec]) -> int:
    """Of arrays one after the other."""
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in specs)


def _specs(arrays: Sequence[NDArray[Any]]) -> tuple[ArraySpec, ...]:
    return tuple((array.dtype.str, array.shape) for array in arrays)


def _angles(executor: Executor) -> str:
    """A hash of RoPE's angles: those of LongRoPE depend on n_ctx."""
    digest = hashlib.sha256()
    for name, table in sorted(executor.plan.rope_tables.items()):
        digest.update(f"{name} {table.scale!r} {table.inv_freq.tolist()}\n".encode())
    return digest.hexdigest()


@cache
def installed_version(package: str = "nybble") -> str:
    """The version of a package."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms, which only states need

    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
