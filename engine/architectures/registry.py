"""Registration and checks of architectures from outside the package."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...errors import RequestError
from ..config.config import DEFAULTS, GROUPS, Config
from ..config.derive import INPUTS
from ..config.keys import KEYS, OWN, Key
from ..config.size import fields_of, is_formula
from ..config.tensor_table import Shape
from . import ARCHITECTURES
from .parts.architecture import Architecture

_BUILT_IN = frozenset(ARCHITECTURES)

_FIELDS = {*DEFAULTS, *INPUTS}
_OWNERS = {"": Config} | {f"{name}.": group for name, group in GROUPS.items()}
_SIZES = _FIELDS | {
    prefix + name
    for prefix, owner in _OWNERS.items()
    for name, value in vars(owner).items()
    if isinstance(value, property)
}


def register_architecture(architecture: Architecture, *, replace: bool = False) -> None:
    """Makes nybble run files whose `general.architecture` is its name, in this process.

    Its files are checked like all others: keys, tensors and shapes against the tables, and every tensor must
    be used.  `replace` allows a name that was registered before, as a notebook does whose cell runs again.

    Raises RequestError for a name that is taken, and for tables that name what `Config` does not have.
    """
    if not isinstance(architecture, Architecture):
        raise RequestError(f"an Architecture is registered, not {architecture!r:.100}")
    name = architecture.name
    if not isinstance(name, str) or not name:
        raise RequestError(f"the name of an architecture is a text that files can have, not {name!r:.100}")
    check_tables(architecture)
    if name in _BUILT_IN:
        raise RequestError(f"nybble has an architecture {name!r}; register yours under another name")
    if name in ARCHITECTURES and not replace:
        raise RequestError(
            f"an architecture {name!r} is registered already; take another name, or replace=True"
        )
    ARCHITECTURES[name] = architecture


def check_tables(architecture: Architecture) -> None:
    """RequestError for a table entry of the wrong kind, or that names what `Config` does not have."""
    where = f"architecture {architecture.name!r}"
    for key, entry in architecture.keys.items():
        if not isinstance(entry, Key):
            raise RequestError(f"{where}: key {key!r} must be a Key, not {entry!r:.100}")
        if not entry.field.startswith(OWN):
            _check_known(f"{where}: key {key!r} fills", [entry.field], _FIELDS)
    both = [key for key in architecture.inert if key in architecture.keys or key in KEYS]
    if both:
        raise RequestError(f"{where}: key {both[0]!r} cannot be inert, since it is read")
    for tensor, shape in architecture.tensors.items():
        if not isinstance(shape, Shape):
            raise RequestError(f"{where}: tensor {tensor!r} must be required(...) or optional(...)")
        for size in shape.sizes:
            _check_size(f"{where}: tensor {tensor!r} is sized by", size)
        _check_known(f"{where}: tensor {tensor!r} depends on", [shape.when] if shape.when else [], _SIZES)


def _check_size(what: str, size: object) -> None:
    if isinstance(size, int):
        return
    if not isinstance(size, str) or not all(map(is_formula, size.split("|"))):
        raise RequestError(
            f'{what} {size!r}, which is neither an integer nor a formula like "2*n_ff+n_embd/2"'
        )
    _check_known(what, fields_of(size), _SIZES)


def _check_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise RequestError(f"{what} {name!r}, which Config does not have (nybble/engine/config)")
