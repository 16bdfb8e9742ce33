"""JSON of requests and answers.

Python's reader takes NaN, makes 1e999 infinite, lets lone surrogates pass, and raises errors of several kinds
for what is nested too deep or has too many digits. Here all of these are one error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .errors import APIError

DEPTH_MAX = 64


def parsed(body: bytes) -> dict[str, Any]:
    """The object that a body holds; of keys that are there twice the last one counts. `APIError` for
    everything that is no such thing, or is nested more than `DEPTH_MAX` deep."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        dumped(value)  # finds infinite numbers and lone surrogates
    except UnicodeDecodeError as error:
        raise _not_json(f"it is not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise _not_json("it has a lone surrogate, which is no character") from None
    except RecursionError:
        raise _not_json(f"it is nested more than {DEPTH_MAX} deep") from None
    except ValueError as error:
        raise _not_json(str(error)[:200]) from None
    if _is_deep(value):
        raise _not_json(f"it is nested more than {DEPTH_MAX} deep")
    if not isinstance(value, dict):
        raise APIError(400, f"the body must be a JSON object, not {_name(value)}")
    return value


def dumped(value: Any) -> bytes:
    """The JSON of a value, without spaces."""
    return _DUMPS(value).encode()


_DUMPS: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _not_json(problem: str) -> APIError:
    return APIError(400, f"the body is not JSON: {problem}", code="invalid_json")


def _is_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return False
        level = inner
    return True


def _name(value: Any) -> str:
    kinds: dict[type, str] = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
