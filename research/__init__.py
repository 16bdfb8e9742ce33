"""Experiments on an open model: each takes an `LLM` and gives arrays; pictures are in `plots`.

    from nybble import LLM, research

    with LLM("smollm2") as llm:
        lens = research.logit_lens(llm, "The capital of France is")

All of them use `LLM.trace` and its names of activations.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.steering.control_vector import ControlVector
    from .attention import AttentionMaps, attention_maps
    from .attribution import Attribution, logit_attribution
    from .comparison import Comparison, compare
    from .control_vector import train_control_vector
    from .corpus import capture_corpus
    from .lens import Lens, logit_lens
    from .loss import TextLoss, text_loss
    from .patching import Sweep, logit_difference, patch_sweep
    from .path_patching import PathSweep, path_patch_sweep
    from .tokens import token_id, token_texts

__all__ = [
    "AttentionMaps",
    "Attribution",
    "Comparison",
    "ControlVector",
    "Lens",
    "PathSweep",
    "Sweep",
    "TextLoss",
    "attention_maps",
    "capture_corpus",
    "compare",
    "logit_attribution",
    "logit_difference",
    "logit_lens",
    "patch_sweep",
    "path_patch_sweep",
    "text_loss",
    "token_id",
    "token_texts",
    "train_control_vector",
]

_NAMES = {
    "attention": ("AttentionMaps", "attention_maps"),
    "attribution": ("Attribution", "logit_attribution"),
    "comparison": ("Comparison", "compare"),
    "control_vector": ("ControlVector", "train_control_vector"),
    "corpus": ("capture_corpus",),
    "lens": ("Lens", "logit_lens"),
    "loss": ("TextLoss", "text_loss"),
    "patching": ("Sweep", "logit_difference", "patch_sweep"),
    "path_patching": ("PathSweep", "path_patch_sweep"),
    "tokens": ("token_id", "token_texts"),
}
_HOMES = {name: f".{module}" for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker every name would exist

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name], __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
