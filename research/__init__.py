"""Experiments on a model that is open: each takes an `LLM` and gives arrays; pictures are in `plots`.

    from nybble import LLM, research

    with LLM("smollm2") as llm:
        lens = research.logit_lens(llm, "The capital of France is")

Nothing here knows how a model is run; all of it goes through `LLM.trace` and its names of activations.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attention import AttentionMaps, attention_maps
    from .attribution import Attribution, logit_attribution
    from .comparison import Comparison, compare
    from .control_vector import ControlVector, train_control_vector
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

_HOMES = {
    "AttentionMaps": ".attention",
    "PathSweep": ".path_patching",
    "attention_maps": ".attention",
    "path_patch_sweep": ".path_patching",
    "Attribution": ".attribution",
    "Comparison": ".comparison",
    "Lens": ".lens",
    "Sweep": ".patching",
    "TextLoss": ".loss",
    "compare": ".comparison",
    "capture_corpus": ".corpus",
    "train_control_vector": ".control_vector",
    "ControlVector": ".control_vector",
    "logit_attribution": ".attribution",
    "logit_difference": ".patching",
    "logit_lens": ".lens",
    "patch_sweep": ".patching",
    "text_loss": ".loss",
    "token_id": ".tokens",
    "token_texts": ".tokens",
}


if not TYPE_CHECKING:  # to a type checker every name would exist

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name], __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
