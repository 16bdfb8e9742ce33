"""Control vectors: directions that change a model's behaviour when added to the residual stream.

They are found from pairs of prompts that differ in one respect, and stored in llama.cpp's form: a GGUF file
of the architecture "controlvector" whose tensor "direction.3" is added after block 3.

Sources: Turner et al. 2023, "Activation Addition" (arXiv:2308.10248); Zou et al. 2023, "Representation
Engineering" (arXiv:2310.01405).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, RequestError
from ...gguf_io.display import Shown, Table, brief
from ...gguf_io.file import load_gguf
from ...gguf_io.file_kind import other_kind
from ...gguf_io.writer import Value, write_gguf
from ..hooks.activations import ActivationSpec
from .added_directions import AddedDirections, hash_of

_ARCHITECTURE = "controlvector"
_TENSOR = re.compile(r"direction\.(\d+)")


class Steerable(Protocol):
    """A model with activations: an `LLM`."""

    path: Path

    @property
    def activations(self) -> Mapping[str, ActivationSpec]: ...


@dataclass(frozen=True, repr=False)
class ControlVector(Shown):
    """Directions in the residual stream after some blocks."""

    directions: Mapping[int, NDArray[np.float32]]
    """By block: (n_embd,) float32."""
    model_hint: str = ""
    """The architecture that it was made for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", Table(self.directions, "layers"))

    def _facts(self) -> dict[str, str]:
        return {"directions": repr(self.directions), "model_hint": brief(self.model_hint)}

    def edits(self, strength: float = 1.0, layers: range | None = None) -> dict[str, AddedDirections]:
        """The `edit` of `LLM.generate`, `stream`, `logits` and `trace` that adds strength * direction.

        It is added at every position, after the blocks in `layers` (default: all of the vector). RequestError
        if the vector has none of them, or the strength is not finite.
        """
        return steering([(self, strength, layers)])

    def hashes(self) -> dict[str, NDArray[np.float32]]:
        """The directions by their hashes, which are in the `cache_key` of edits."""
        return {hash_of(direction): direction for direction in self.directions.values()}

    @classmethod
    def mixed(cls, parts: Sequence[tuple[ControlVector, float]]) -> ControlVector:
        """The sum of vectors, each times its strength. RequestError for no vectors, or different sizes."""
        if len({d.shape for vector, _ in parts for d in vector.directions.values()}) != 1:
            raise RequestError("control vectors can be mixed only if there are some, all of one size")
        for _, strength in parts:
            _check_strength(strength)
        mixture: dict[int, NDArray[np.float32]] = {}
        for vector, strength in parts:
            for layer, direction in vector.directions.items():
                mixture[layer] = mixture.get(layer, np.float32(0)) + np.float32(strength) * direction
        return cls(dict(sorted(mixture.items())), parts[0][0].model_hint)

    def require_fit(self, llm: Steerable) -> None:
        """RequestError if the model lacks a layer of this vector, or has another width."""
        for layer, direction in self.directions.items():
            spec = llm.activations.get(f"blk.{layer}.resid_post")
            if spec is None or spec.width != len(direction):
                widths = [own.width for name, own in llm.activations.items() if name.endswith(".resid_post")]
                raise RequestError(
                    f"the control vector (made for {self.model_hint or '?'}) has {len(direction)} values"
                    f" for layer {layer}; {llm.path} has {len(widths)} layers of"
                    f" {next(iter(widths), 0)} values"
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it in llama.cpp's form, which has no place for block 0; RequestError if there is one."""
        if 0 in self.directions:
            raise RequestError("llama.cpp's form of a control vector has no layer 0; leave it out")
        metadata: dict[str, Value] = {
            "general.architecture": _ARCHITECTURE,
            "controlvector.model_hint": self.model_hint,
            "controlvector.layer_count": len(self.directions),
        }
        write_gguf(path, metadata, {f"direction.{i}": d for i, d in sorted(self.directions.items())})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ControlVector:
        """Reads llama.cpp's form; ModelError if the file holds something else, GGUFFormatError if it is
        damaged."""
        with load_gguf(path) as file:
            if file.metadata.get("general.architecture") != _ARCHITECTURE:
                kind = other_kind(file)
                found = f"a model of the architecture {file.architecture}" if kind is None else kind.name
                raise ModelError(f"{file.path}: a control vector was expected, found {found}")
            directions = {}
            for name, tensor in file.tensors.items():
                match = _TENSOR.fullmatch(name)
                if match is None or len(tensor.shape) != 1:
                    raise ModelError(
                        f"{file.path}: tensor {name} of shape {tensor.shape} is no direction of a control"
                        " vector (direction.N, one dimension)"
                    )
                directions[int(match[1])] = tensor.dequantize()
            hint = file.metadata.get("controlvector.model_hint", "")
        values = list(directions.values())
        if not values or len({v.shape for v in values}) != 1 or not all(np.isfinite(v).all() for v in values):
            raise ModelError(f"{file.path}: a control vector needs finite directions of one size")
        return cls(directions, hint if isinstance(hint, str) else "")


def steering(parts: Sequence[tuple[ControlVector, float, range | None]]) -> dict[str, AddedDirections]:
    """The `edit` that adds several vectors, each times its strength and after its layers; None: all that it
    has. RequestError if one has none of its layers, for a strength that is not finite, and for vectors of
    different sizes."""
    added: dict[int, list[tuple[float, NDArray[np.float32]]]] = {}
    for vector, strength, layers in parts:
        _check_strength(strength)
        chosen = {i: d for i, d in vector.directions.items() if layers is None or i in layers}
        if not chosen:
            wanted = f"{layers.start} to {layers.stop - 1}" if layers else "none"
            raise RequestError(
                f"the control vector has none of the chosen layers ({wanted}); it has"
                f" {', '.join(map(str, sorted(vector.directions)))}"
            )
        for i, direction in chosen.items():
            added.setdefault(i, []).append((float(strength), direction))
    if any(len({len(direction) for _, direction in own}) > 1 for own in added.values()):
        raise RequestError("control vectors can be added together only if all are of one size")
    return {f"blk.{i}.resid_post": AddedDirections(tuple(own)) for i, own in sorted(added.items())}


def _check_strength(strength: float) -> None:
    if not np.isfinite(strength):
        raise RequestError(f"the strength of a control vector must be finite, not {strength}")
