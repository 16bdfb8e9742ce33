"""Checks of parameters; what is wrong raises `RequestError`, which names the parameter and its range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import RequestError


def is_integer(value: Any) -> bool:
    """Is it an integer of Python or NumPy, and no bool?"""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Is it an integer or a float of Python or NumPy, and no bool?"""
    return is_integer(value) or isinstance(value, float | np.floating)


def check_integer(name: str, value: Any, low: int, high: int) -> None:
    """An integer from low to high."""
    if not is_integer(value) or not low <= value <= high:
        raise RequestError(f"{name} must be an integer from {low} to {high}, not {value!r:.100}")


def check_number(name: str, value: Any, low: float, high: float, above: bool = False) -> None:
    """A number from `low`, or above it, to `high`."""
    if not is_number(value) or not low <= value <= high or (above and value == low):
        bounds = f"above {low:g} and up to {high:g}" if above else f"from {low:g} to {high:g}"
        raise RequestError(f"{name} must be a number {bounds}, not {value!r:.100}")


def check_flag(name: str, value: Any) -> None:
    """A bool."""
    if not isinstance(value, bool | np.bool_):
        raise RequestError(f"{name} must be a bool, not {value!r:.100}")


def check_text(name: str, value: Any, n_characters: int) -> None:
    """A valid text of 1 to n_characters."""
    is_text = isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if not is_text or not 1 <= len(value) <= n_characters:
        raise RequestError(f"{name} must be a text of 1 to {n_characters} characters, not {value!r:.100}")


def checked_strings(name: str, given: Any, n_max: int, n_characters: int) -> tuple[str, ...]:
    """A list of at most n_max strings of 1 to n_characters."""
    strings = tuple(given) if isinstance(given, list | tuple) else None
    if (
        strings is None
        or len(strings) > n_max
        or not all(isinstance(string, str) and 1 <= len(string) <= n_characters for string in strings)
    ):
        raise RequestError(
            f"{name} must be a list of at most {n_max} strings of 1 to {n_characters} characters, not"
            f" {given!r:.200}"
        )
    return strings


def checked_ids(name: str, given: Any, n_max: int) -> tuple[int, ...]:
    """A list of at most n_max token ids; that they are in the vocabulary is checked where it is known."""
    ids = tuple(given) if isinstance(given, list | tuple | set | frozenset | np.ndarray) else None
    if ids is None or len(ids) > n_max or not all(is_integer(id_) and 0 <= id_ < 2**31 for id_ in ids):
        raise RequestError(f"{name} must be a list of at most {n_max} token ids, not {given!r:.200}")
    return tuple(int(id_) for id_ in ids)


def checked_bias(name: str, given: Any, n_max: int) -> dict[int, float]:
    """A dict of at most n_max entries, token id -> number from -100 to 100, or -inf."""
    if not isinstance(given, Mapping) or len(given) > n_max:
        found = f"one of {len(given)}" if isinstance(given, Mapping) else f"{given!r:.100}"
        raise RequestError(
            f"{name} must be a dict of at most {n_max} entries, from token ids to numbers, not {found}"
        )
    for id_, bias in given.items():
        if not is_integer(id_) or not 0 <= id_ < 2**31:
            raise RequestError(f"{name} must have token ids as keys, not {id_!r:.100}")
        if not is_number(bias) or not (-100 <= bias <= 100 or bias == -math.inf):
            raise RequestError(
                f"{name} must have numbers from -100 to 100, or -inf, as values, not {bias!r:.100} for {id_}"
            )
    return {int(id_): float(bias) for id_, bias in given.items()}
