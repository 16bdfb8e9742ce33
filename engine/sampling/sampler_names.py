"""The names of samplers, and the parameters that each takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import RequestError, did_you_mean

SAMPLERS = {
    "penalties": ("repeat_penalty", "presence_penalty", "frequency_penalty"),
    "dry": ("dry_multiplier",),
    "top_n_sigma": ("top_n_sigma",),
    "top_k": ("top_k",),
    "typical_p": ("typical_p",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "xtc": ("xtc_probability",),
    "temperature": ("temperature", "dynatemp_range"),
}
"""Name -> the parameters that say whether it does anything, in the default order."""

DEFAULT_SAMPLERS = tuple(SAMPLERS)

_MAX_SAMPLERS = 32
_OTHER_NAMES = {"typ_p": "typical_p", "typ": "typical_p", "temp": "temperature", "nucleus": "top_p"}
_WITHOUT_LINE = {name.replace("_", ""): name for name in (*SAMPLERS, *_OTHER_NAMES)}


def sampler_name(text: str) -> str:
    """The name of the sampler that llama.cpp calls so ("typ_p", "top-k"); others unchanged."""
    name = text.lower().replace("-", "_")
    name = _WITHOUT_LINE.get(name, name)
    return _OTHER_NAMES.get(name, name)


def checked_samplers(given: Any) -> tuple[str | Callable[..., Any], ...] | None:
    """A list of names and callables, or None; RequestError for anything else."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) > _MAX_SAMPLERS:
        raise RequestError(f"samplers must be a list of at most {_MAX_SAMPLERS}, not {given!r:.100}")
    checked: list[str | Callable[..., Any]] = []
    for i, sampler in enumerate(given):
        if isinstance(sampler, str):
            name = sampler_name(sampler)
            if name not in SAMPLERS:
                hint = did_you_mean(name, SAMPLERS) or f"; the names are {', '.join(SAMPLERS)}"
                raise RequestError(f"samplers[{i}] must be the name of a sampler, not {sampler!r:.100}{hint}")
            checked.append(name)
        elif isinstance(sampler, type) or not callable(sampler):
            raise RequestError(
                f"samplers[{i}] must be a name or a callable, as an object of a sampler's class, not"
                f" {sampler!r:.100}"
            )
        else:
            checked.append(sampler)
    return tuple(checked)
