"""Metadata to `Config`: values are read and checked by tables of keys.

A key under the architecture's prefix is honoured (it is in KEYS or in the architecture's own table), neutral
(present, but with a value that changes nothing), inert (known to change nothing) or an error that names it.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import GGUFUnsupportedError, ModelError
from ...gguf_io.file import GGUFFile
from .config import Config
from .derive import derive
from .keys import INERT, KEYS, NEUTRAL, NO_EXPERTS, REQUIRED, Key
from .ollama import INERT as OLLAMA_INERT, OTHER_KEYS

_PYTHON_TYPES: dict[str, type[Any]] = {"integer": int, "float": float, "text": str, "boolean": bool}


def read_config(
    file: GGUFFile, architecture: str, keys: Mapping[str, Key], inert: Mapping[str, str]
) -> Config:
    """The hyperparameters of `file`; `keys` and `inert` are what the architecture adds to those of `keys.py`.

    Raises ModelError for values that are missing, of the wrong type, out of range or contradictory, and
    GGUFUnsupportedError for valid keys that nybble does not honour.
    """
    prefix = architecture + "."
    honoured, passed_over = honoured_keys(keys), inert_keys(keys, inert)
    for full_name in file.metadata:
        name = full_name.removeprefix(prefix)
        if name == full_name or name in honoured or name.startswith(OTHER_KEYS):
            continue
        if name not in passed_over:
            _require_neutral(file, full_name, name)
    full_names = {(prefix if key.is_prefixed else "") + name: key for name, key in honoured.items()}
    values = {key.field: _read(file, name, key) for name, key in full_names.items()}
    for name, key in full_names.items():
        values[key.field] = _array(file, name, values[key.field], key, values["n_layers"])
    return derive(file, architecture, values)


def honoured_keys(keys: Mapping[str, Key]) -> dict[str, Key]:
    """All keys of an architecture that has `keys` of its own; they replace others for the same fields."""
    own_fields = {key.field for key in keys.values()}
    return {name: key for name, key in KEYS.items() if key.field not in own_fields} | dict(keys)


def inert_keys(keys: Mapping[str, Key], inert: Mapping[str, str]) -> dict[str, str]:
    """The keys that change nothing in such an architecture, unless they are honoured -> why."""
    return {**INERT, **OLLAMA_INERT, **({} if "expert_count" in keys else NO_EXPERTS), **inert}


def _require_neutral(file: GGUFFile, full_name: str, name: str) -> None:
    is_scalar = file.metadata.length_of(full_name) is None
    if is_scalar and file.metadata[full_name] in NEUTRAL.get(name, ()):
        return
    found = repr(file.metadata[full_name]) if is_scalar else f"a {file.metadata.type_of(full_name)}"
    raise GGUFUnsupportedError(
        f"{file.path}: metadata key {full_name!r} ({found}) may change what the model computes, "
        "and nybble does not know how to honour it"
    )


def _read(file: GGUFFile, name: str, key: Key) -> Any:
    if name not in file.metadata:
        if key.default is REQUIRED:
            raise ModelError(f"{file.path}: the metadata lacks {name!r}, which the model needs")
        return key.default
    if (key.per_layer != "no" or key.type == "integers") and file.metadata.length_of(name) is not None:
        return file.metadata[name]
    return _check(file, name, file.metadata[name], file.metadata.type_of(name), key)


def _check(file: GGUFFile, name: str, value: Any, found: str, key: Key) -> Any:
    """`value`, if it has the type of `key` and lies in its range; `found` is its type in the file."""
    if type(value) is not _PYTHON_TYPES.get(key.type):  # a bool is no integer here
        raise ModelError(f"{file.path}: {name} has the wrong type: must be {key.type}, found {found}")
    if key.type == "integer" and not key.low <= value <= key.high:
        raise ModelError(f"{file.path}: {name} is {value}, must be {key.low} to {key.high}")
    is_other = (key.or_zero and value == 0) or (key.or_never and value == -math.inf)
    if key.type == "float" and not is_other and not key.low < value <= key.high:  # False for NaN
        raise ModelError(
            f"{file.path}: {name} is {value}, must be finite, above {key.low:g} and at most {key.high:g}"
        )
    return value


def _array(file: GGUFFile, name: str, value: Any, key: Key, n_layers: int) -> Any:
    """`value`, if it is an array, as a tuple: one value per layer, or what the key asks for.

    Where all layers must have the same value, that one.
    """
    if not isinstance(value, np.ndarray | list):
        return value
    expected = len(value) if key.type == "integers" else n_layers
    if len(value) != expected or (key.type == "integers" and len(value) > 4):
        raise ModelError(f"{file.path}: {name} has {len(value)} values for {n_layers} layers")
    scalars = value.tolist() if isinstance(value, np.ndarray) else value
    found = file.metadata.type_of(name)
    if key.per_layer == "any" and found == "bool[]":
        scalars = [int(scalar) for scalar in scalars]
    each = replace(key, type="integer") if key.type == "integers" else key
    for scalar in scalars:
        _check(file, name, scalar, found, each)
    if key.per_layer == "any" or key.type == "integers":
        return tuple(scalars)
    if any(scalar != scalars[0] for scalar in scalars):
        raise GGUFUnsupportedError(
            f"{file.path}: {name} differs from layer to layer, which nybble does not do yet"
        )
    return scalars[0]
