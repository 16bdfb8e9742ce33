"""What is known of a model before it is loaded: what it is, and how much memory it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..gguf_io.file import load_gguf
from ..hub.models import resolve
from ..tokenizer import has_tokenizer
from .chat.templates import KEY as TEMPLATE_KEY
from .executors.choose import ExecutorOptions
from .executors.numba.footprint import footprint
from .executors.numba.lower.lowered_plan import require_lowered
from .model import Model
from .model_info import ModelInfo

_BESIDES = 130_000_000
"""What Python, its packages and a vocabulary take for a model that runs in a process of its own."""


@dataclass(frozen=True)
class Facts:
    """Of a file that can be run."""

    info: ModelInfo
    n_bytes: int
    """Of memory, when its context is full: what `nybble inspect` calls all, and what a process takes besides.
    Mapped weights are not among them, for the system can drop them; nor what further sequences take while
    they run."""


def facts_of(path: Path, options: Mapping[str, Any]) -> Facts:
    """The facts of a file, for these arguments of `LLM`; no weights are read, and no vocabulary.

    Raises what loading it would raise if it is no model or cannot be run; OSErrors are passed on.
    """
    chosen = ExecutorOptions.among(options)
    with load_gguf(path) as file:
        model = Model.of(file)
        require_lowered(model.plan)
        n_ctx = chosen.n_ctx or model.default_n_ctx
        cache_type = chosen.cache_type or ("f32" if chosen.executor == "reference" else "f16")
        need = footprint(model.plan.for_context(n_ctx), n_ctx, chosen.n_batch, cache_type)
        n_bytes = _BESIDES + need.states + need.pool(chosen.n_pool_tokens) + need.buffers
        if chosen.executor == "reference":
            n_bytes += 4 * sum(tensor.n_values for tensor in file.tensors.values())
        elif chosen.weights == "packed":
            n_bytes += need.weights
        template = options.get("chat_template") or file.metadata.get(TEMPLATE_KEY)
        has_template = bool(template) and has_tokenizer(file)
        info = ModelInfo.of(model, n_ctx, chosen.executor, cache_type, has_template)
    draft = options.get("draft")
    if draft not in (None, "ngram"):
        smaller = {**options, "draft": None, "n_pool_tokens": None}
        n_bytes += facts_of(resolve(draft), smaller).n_bytes - _BESIDES
    return Facts(info, n_bytes)
