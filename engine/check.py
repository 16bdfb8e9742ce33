"""Checks whether nybble can run a file on this machine, and if not, why; with the same checks as loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import NybbleError
from ..gguf_io.file import GGUFFile
from ..gguf_io.file_kind import other_kind
from ..kernels.attention.cache_type import CacheTypeName
from .executors.numba.footprint import Footprint, footprint
from .executors.numba.lower.lowered_plan import require_lowered
from .model import Model, find_tokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """The result of `examine`. `problems` is empty if the file can be run; after a failed check, those that
    need its result are left out, and their fields are None."""

    kind: str
    """What the file is: "a model", "a LoRA adapter" …"""
    problems: tuple[str, ...]
    model: Model | None
    footprint: Footprint | None

    @property
    def runs(self) -> bool:
        return not self.problems


def examine(file: GGUFFile, cache_type: CacheTypeName = "f16") -> Verdict:
    """Checks an open file without reading its weights, for a context of `LLM`'s default size."""
    problems: list[str] = []

    def attempt(check: Callable[[], T]) -> T | None:
        try:
            return check()
        except NybbleError as error:
            problems.append(str(error))
        except MemoryError as error:
            problems.append(f"{file.path}: there is not enough memory: {error}")
        return None

    kind = other_kind(file)
    model = attempt(lambda: Model.of(file))
    if kind is None:
        attempt(lambda: find_tokenizer(file) if model is None else model.text)
    need = None
    if model is not None:
        n_ctx, plan = model.default_n_ctx, model.plan
        attempt(lambda: require_lowered(plan))
        need = (
            None
            if problems
            else attempt(lambda: footprint(plan.for_context(n_ctx), n_ctx, cache_type=cache_type))
        )
    if need is not None:
        attempt(lambda: need.require_free(file.path))
    return Verdict("a model" if kind is None else kind.name, tuple(problems), model, need)
