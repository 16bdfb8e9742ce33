"""Files made by Ollama, under llama.cpp's names.

They hold encoders of images and sound beside the text model, and some have other names for an architecture,
its keys or its tensors.  No value is invented: what the text model needs and the file lacks is an error.

Sources: Ollama `convert/`, `llama/compat`.
"""

import logging
from collections.abc import Collection

from ...errors import ModelError
from ...gguf_io.file import GGUFFile

_log = logging.getLogger(__name__)

ARCHITECTURES = {"gptoss": "gpt-oss", "olmo3": "olmo2", "qwen25vl": "qwen2vl"}

# Prefixes of the tensors and keys of encoders of images and sound, and of their projectors.
OTHER_TENSORS = ("a.", "mm.", "model.vision_tower.", "s.", "v.")
OTHER_KEYS = ("audio.", "image_", "mm.", "sam.", "video_", "vision.", "vision_")

KEYS = {
    "norm_top_k_prob": "expert_weights_norm",
    "rope.freq_base_local": "rope.freq_base_swa",
    "rope.global.freq_base": "rope.freq_base",
    "rope.local.freq_base": "rope.freq_base_swa",
    "rope.mrope_section": "rope.dimension_sections",
    "rope.scaling.beta_fast": "rope.scaling.yarn_beta_fast",
    "rope.scaling.beta_slow": "rope.scaling.yarn_beta_slow",
    "rope.scaling.extrapolation_factor": "rope.scaling.yarn_ext_factor",
    "rope.scaling.mscale_all_dim": "rope.scaling.yarn_log_multiplier",
    "rope.scaling_beta": "attention.temperature_scale",
}

# Keys that change nothing, and why.
INERT = {
    "altup.lr_multiplier": "says how the model was trained",
    "attention.head_dim": "attention.key_length says it",
    "head_dim": "attention.key_length says it",
    "max_position_embeddings": "context_length says it",
    "mrope_sections": "rope.dimension_sections says it",
    "normalize_embeddings": "whoever asks for an embedding says it",
    "rope.mrope_interleaved": "which pairs are of time, height and width makes no difference to text",
    "rope.mrope_section": "rope.dimension_sections says it",
    "spatial_merge_size": "of images",
}

# The ends of names, by the file's name of the architecture.
TENSORS = {
    "gptoss": {
        ".attn_out.weight": ".attn_output.weight",
        ".attn_out.bias": ".attn_output.bias",
        ".attn_sinks": ".attn_sinks.weight",
        ".ffn_norm.weight": ".post_attention_norm.weight",
    },
    "lfm2": {"output_norm.weight": "token_embd_norm.weight"},
    "lfm2moe": {"output_norm.weight": "token_embd_norm.weight"},
    "nemotron_h_moe": {
        ".ffn_latent_in.weight": ".ffn_latent_down.weight",
        ".ffn_latent_out.weight": ".ffn_latent_up.weight",
    },
    "qwen35": {".ssm_dt": ".ssm_dt.bias"},
    "qwen35moe": {".ssm_dt": ".ssm_dt.bias"},
    "qwen3next": {".ssm_dt": ".ssm_dt.bias"},
}

# Keys that such files may lack; llama.cpp then takes a default that is wrong.
NEEDED = {"gptoss": ("rope.scaling.type",), "gemma3": ("rope.freq_base",)}


def as_llama_cpp(file: GGUFFile) -> GGUFFile:
    """`file`, or a view of it with llama.cpp's names; a name that the file has already is not given twice.

    Warns if there is more in it than a text model.  ModelError for a key that is missing.
    """
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str):
        return file
    prefix, new_prefix = f"{name}.", f"{ARCHITECTURES.get(name, name)}."
    keys = {key: key.removeprefix(prefix) for key in file.metadata if key.startswith(prefix)}
    keys = {key: new_prefix + KEYS.get(rest, rest) for key, rest in keys.items()}
    keys, tensors = _new(keys, file.metadata), _new(_tensor_names(file, name), file.tensors)
    found = file.renamed(keys, tensors) if keys or tensors else file
    others = sorted({part for part in OTHER_TENSORS for tensor in file.tensors if tensor.startswith(part)})
    if others:
        _log.warning(
            "%s: the tensors %s see or hear, and are left aside; the text model runs without them",
            file.path,
            ", ".join(f"{part}*" for part in others),
        )
    if others or name in ARCHITECTURES:
        for key in NEEDED.get(name, ()):
            if new_prefix + key not in found.metadata:
                raise ModelError(f"{file.path}: the metadata lacks {prefix + key!r}, which the model needs")
    return found


def _tensor_names(file: GGUFFile, name: str) -> dict[str, str]:
    return {
        tensor: tensor.removesuffix(old) + new
        for old, new in TENSORS.get(name, {}).items()
        for tensor in file.tensors
        if tensor == old or (tensor.startswith("blk.") and tensor.endswith(old))
    }


def _new(names: dict[str, str], there: Collection[str]) -> dict[str, str]:
    """The names to change.  Where the file has the new name too, the old one stays, and is refused."""
    old_of = {new: old for old, new in reversed(names.items()) if new not in there}
    return {old: new for new, old in old_of.items()}
