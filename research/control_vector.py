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
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.hooks.taps import Edit, EditInfo
from ..engine.llm import LLM
from ..errors import ModelError, RequestError
from ..gguf_io.display import Shown, Table, brief
from ..gguf_io.file import load_gguf
from ..gguf_io.file_kind import other_kind
from ..gguf_io.writer import Value, write_gguf

_ARCHITECTURE = "controlvector"
_TENSOR = re.compile(r"direction\.(\d+)")


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

    def edits(self, strength: float = 1.0, layers: range | None = None) -> dict[str, Edit]:
        """The `edit` of `LLM.generate`, `stream`, `logits` and `trace` that adds strength * direction.

        It is added at every position, after the blocks in `layers` (default: all of the vector). RequestError
        if the vector has none of them, or the strength is not finite.
        """
        chosen = {i: d for i, d in self.directions.items() if layers is None or i in layers}
        if not chosen:
            wanted = f"{layers.start} to {layers.stop - 1}" if layers else "none"
            raise RequestError(
                f"the control vector has none of the chosen layers ({wanted}); it has"
                f" {', '.join(map(str, sorted(self.directions)))}"
            )
        _check_strength(strength)
        return {f"blk.{i}.resid_post": _add(np.float32(strength) * d) for i, d in chosen.items()}

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

    def require_fit(self, llm: LLM) -> None:
        """RequestError if the model lacks a layer of this vector, or has another width."""
        for layer, direction in self.directions.items():
            spec = llm.activations.get(f"blk.{layer}.resid_post")
            if spec is None or spec.width != len(direction):
                raise RequestError(
                    f"the control vector (made for {self.model_hint or '?'}) has {len(direction)} values"
                    f" for layer {layer}; {llm.path} has {llm.config.n_layers} layers of"
                    f" {llm.config.n_embd} values"
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


def train_control_vector(
    llm: LLM, pairs: Sequence[tuple[Prompt, Prompt]], method: Literal["mean", "pca"] = "mean"
) -> ControlVector:
    """A control vector from pairs of prompts, (more of it, less of it), for all blocks but the first.

        pairs = [("I am happy.", "I am sad."), ("We laughed.", "We wept.")]
        vector = research.train_control_vector(llm, pairs)

    "mean" takes the mean difference of the residual streams at the last token; "pca" the first principal axis
    of the differences, with the sign and the length of their mean along it. Raises RequestError for no pairs,
    and what `LLM.trace` raises.
    """
    if method not in ("mean", "pca"):
        raise RequestError(f'method must be "mean" or "pca", not {method!r:.100}')
    if not pairs:
        raise RequestError("a control vector needs at least one pair of prompts")
    sides = [np.stack([_last_residuals(llm, pair[side]) for pair in pairs]) for side in (0, 1)]
    differences = sides[0].astype(np.float64) - sides[1]  # (n_pairs, n_layers, n_embd)
    directions = {
        layer: _direction(differences[:, layer], method).astype(np.float32)
        for layer in range(1, differences.shape[1])
    }
    return ControlVector(directions, llm.config.architecture)


def _last_residuals(llm: LLM, prompt: Prompt) -> NDArray[np.float32]:
    trace = llm.trace(prompt, "blk.*.resid_post", logits=None)
    return np.stack([value[-1] for value in trace.values()])


def _direction(differences: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """(n_pairs, n_embd) -> the direction (n_embd,)."""
    mean: NDArray[np.float64] = differences.mean(axis=0)
    if method == "mean":
        return mean
    axis = np.linalg.svd(differences, full_matrices=False)[2][0]
    along: NDArray[np.float64] = axis * (axis @ mean)
    return along


def _check_strength(strength: float) -> None:
    if not np.isfinite(strength):
        raise RequestError(f"the strength of a control vector must be finite, not {strength}")


def _add(vector: NDArray[np.float32]) -> Edit:
    def edit(values: NDArray[np.float32], info: EditInfo) -> None:
        if values.shape[1] != len(vector):
            raise RequestError(
                f"{info.name} is {values.shape[1]} wide, but the control vector has {len(vector)} values: it"
                " was made for another model"
            )
        values += vector

    return edit
