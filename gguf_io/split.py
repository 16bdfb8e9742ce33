"""Models in several files: `NAME-00001-of-00003.gguf` and so on, each a GGUF file with some of the tensors.

The first part has the metadata. Every part has its number:

    split.no              its number, from 0 on
    split.count           how many parts there are; 0 or 1 means that the file is whole
    split.tensors.count   how many tensors all parts have together; may be missing

The other parts are found by the name of the one that was opened, in the same directory.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ModelError
from .metadata import Metadata
from .tensor import Tensor

_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_N_NAMED = 5  # missing parts in an error message
_PREFIX = "split."


class Part(Protocol):
    """The members of an open file that are needed here."""

    @property
    def path(self) -> str: ...
    @property
    def metadata(self) -> Metadata: ...
    @property
    def tensors(self) -> Mapping[str, Tensor]: ...
    @property
    def appended(self) -> int | None: ...


@dataclass(frozen=True)
class Split:
    """The number of a part, of how many; `n_tensors` of all parts is None if the file does not say."""

    number: int
    count: int
    n_tensors: int | None


def read_split(file: Part) -> Split | None:
    """None for a whole file; ModelError if the numbers are of the wrong type or out of range."""
    count = _read_number(file, "count")
    if count is None or count in (0, 1):
        return None
    number = _read_number(file, "no")
    if number is None or not 0 <= number < count:
        raise ModelError(f"{file.path}: split.no is {number}, but split.count {count}; it counts from 0")
    return Split(number, count, _read_number(file, "tensors.count"))


def require_apart(file: Part, split: Split) -> None:
    """ModelError if other parts were appended to this one with `cat`, which gives no valid model."""
    if file.appended is not None:
        raise ModelError(
            f"{file.path}: parts of a split model, joined with cat: after part {split.number + 1} of"
            f" {split.count}, at byte {file.appended}, begins another. Each is a GGUF file of its own and has"
            f" to stay one: fetch them anew, open the one that ends with -00001-of-{split.count:05}.gguf (it"
            " brings the others), or make one of them with llama.cpp's llama-gguf-split --merge"
        )


def part_paths(path: str, split: Split) -> list[str]:
    """The paths of all parts; ModelError if `path` is not named as a part, or if one is missing."""
    directory, name = os.path.split(path)
    expected = f"-{split.number + 1:05}-of-{split.count:05}.gguf"
    match = _NAME.fullmatch(name)
    if match is None or not name.endswith(expected):
        raise ModelError(
            f"{path}: this is part {split.number + 1} of {split.count}; for the others to be found its name"
            f" must end with {expected}"
        )
    present = set(os.listdir(directory or os.curdir))
    names = [f"{match['stem']}-{i + 1:05}-of-{split.count:05}.gguf" for i in range(split.count)]
    missing = [os.path.join(directory, name) for name in names if name not in present]
    if missing:
        more = f" and {len(missing) - _N_NAMED} more" if len(missing) > _N_NAMED else ""
        raise ModelError(
            f"{path}: part {split.number + 1} of {split.count} of a model; missing: "
            + ", ".join(missing[:_N_NAMED])
            + more
        )
    return [os.path.join(directory, name) for name in names]


def join_tensors(parts: Sequence[Part]) -> dict[str, Tensor]:
    """The tensors of all parts, in order; ModelError, naming the part, if they do not belong together."""
    first = parts[0]
    expected = read_split(first)
    tensors: dict[str, Tensor] = {}
    for number, part in enumerate(parts):
        split = read_split(part)
        if expected is None or split is None or split.number != number or split.count != len(parts):
            found = "a whole model" if split is None else f"part {split.number + 1} of {split.count}"
            raise ModelError(
                f"{part.path}: must be part {number + 1} of {len(parts)} by its name, says it is {found}"
            )
        if split.n_tensors != expected.n_tensors:
            counts = f"{split.n_tensors}, not {expected.n_tensors} as in {first.path}"
            raise ModelError(f"{part.path}: belongs to another model: its split.tensors.count is {counts}")
        _check_same_model(first, part)
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise ModelError(f"{part.path}: tensor {name!r} is in {tensors[name].path} too")
            tensors[name] = tensor
    if expected is not None and expected.n_tensors not in (None, len(tensors)):
        raise ModelError(
            f"{first.path}: split.tensors.count is {expected.n_tensors}, but the {len(parts)} parts have"
            f" {len(tensors)} tensors"
        )
    return tensors


def _check_same_model(first: Part, part: Part) -> None:
    """ModelError if a key that a later part repeats differs; arrays are compared by type and length."""
    for key in part.metadata:
        if key.startswith(_PREFIX) or key not in first.metadata:
            continue
        found, expected = (
            (file.metadata.type_of(key), file.metadata.length_of(key)) for file in (part, first)
        )
        if found == expected and found[1] is None:
            found, expected = part.metadata[key], first.metadata[key]
        if found != expected:
            raise ModelError(f"{part.path}: belongs to another model: its {key} is not that of {first.path}")


def _read_number(file: Part, name: str) -> int | None:
    key = _PREFIX + name
    value = file.metadata.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ModelError(f"{file.path}: {key} must be an integer, found {file.metadata.type_of(key)}")
