"""GGUF files that are no language models: adapters, projectors, statistics, parts of image generators.

Sources: `general.type` and the architectures of llama.cpp's gguf-py; what its tools write (imatrix,
cvector-generator, convert_lora_to_gguf); ComfyUI-GGUF and stable-diffusion.cpp for image generators.
"""

from typing import NamedTuple

from .file import GGUFFile

_ONLY_LANGUAGE = "nybble runs language models only"
_IMAGES = "a part of an image or video generator"
_OTHER_ARCHITECTURES = {
    "wavtokenizer-dec": "a vocoder, which makes sound of the tokens of a speech model",
    "whisper": "a speech recognizer",
    **dict.fromkeys(("sd1", "sd2", "sd3", "sdxl", "flux", "aura", "chroma", "hidream", "lumina2"), _IMAGES),
    **dict.fromkeys(("qwen_image", "pig", "wan", "hyvid", "ltxv", "cosmos"), _IMAGES),
}
_IMAGE_TENSORS = ("model.diffusion_model.", "double_blocks.", "first_stage_model.")


class FileKind(NamedTuple):
    """Two parts of a sentence: "this is `name`; `advice`"."""

    name: str
    advice: str


def other_kind(file: GGUFFile) -> FileKind | None:
    """The kind of a file that is known not to be a language model, else None."""
    metadata, names = file.metadata, file.tensors
    type, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if not isinstance(architecture, str):
        architecture = ""
    if type == "adapter" or "adapter.type" in metadata or any(name.endswith(".lora_a") for name in names):
        base = f" for a model of the architecture {architecture}" if architecture else ""
        return FileKind(
            f"a LoRA adapter{base}",
            "it changes a model and is none itself, and nybble does not apply adapters; merge it into its"
            " model (llama.cpp's llama-export-lora) and open that",
        )
    if type == "mmproj" or architecture == "clip":
        return FileKind(
            "a multimodal projector (mmproj), which sees or hears for a model",
            "the language model is another file, usually beside it; nybble runs that one, on text",
        )
    if type == "imatrix" or (not architecture and any(key.startswith("imatrix.") for key in metadata)):
        return FileKind(
            "an importance matrix (imatrix)",
            "it has statistics of a model that help to quantize it, and no weights; open the model itself",
        )
    if architecture == "controlvector":
        return FileKind(
            "a control vector",
            "it steers a model and is none itself: open the model, and give it this file (`nybble run"
            " --control-vector`, research.ControlVector.load)",
        )
    if architecture in _OTHER_ARCHITECTURES:
        return FileKind(_OTHER_ARCHITECTURES[architecture], _ONLY_LANGUAGE)
    if not architecture and any(name.startswith(_IMAGE_TENSORS) for name in names):
        return FileKind(_IMAGES, _ONLY_LANGUAGE)
    if not names and "tokenizer.ggml.tokens" in metadata:
        return FileKind(
            "a vocabulary without a model",
            "it has no weights to run; Tokenizer.from_gguf and `nybble tokenize` can use it",
        )
    return None
