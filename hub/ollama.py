"""Models that Ollama has pulled: GGUF files without an ending, which a manifest names by their hash.

    MODELS/manifests/HOST/NAMESPACE/NAME/TAG    JSON; its layers are the model, templates, licences …
    MODELS/blobs/sha256-DIGITS                  the layers

Nothing is written there. Of the layers the model alone is read: the template for conversations is the one in
the model's file, for Ollama's are in a language of their own.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelError, RequestError, did_you_mean
from .address import OllamaAddress

_MODEL = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_MAX_BYTES = 1 << 20  # of a manifest
_N_NAMED = 20


def model_path(address: OllamaAddress) -> Path:
    """The path of the model's blob.

    Raises RequestError, which lists what is there, if Ollama has no such model, and for one that is changed
    by an adapter; ModelError if the manifest is damaged, or its model is missing or has another size.
    """
    for folder in _folders():
        manifest = folder / "manifests" / address.host / address.namespace / address.name / address.tag
        if manifest.is_file():
            return _blob(folder, manifest)
    names = [str(known) for known in models()]
    listed = ", ".join(names[:_N_NAMED]) or "no models in " + " or ".join(map(str, _folders()))
    hint = did_you_mean(str(address), names)
    raise RequestError(f"Ollama has no {str(address)!r}; it has {listed}{hint} (OLLAMA_MODELS is its folder)")


def models() -> Iterator[OllamaAddress]:
    """The models that Ollama has, by name."""
    seen = set()
    for folder in _folders():
        for path in sorted((folder / "manifests").glob("*/*/*/*")):
            host, namespace, name, tag = path.relative_to(folder / "manifests").parts
            address = OllamaAddress(name, tag, namespace, host)
            if path.is_file() and address not in seen:
                seen.add(address)
                yield address


def _folders() -> list[Path]:
    """The folders in which Ollama keeps models: the user's, and that of its service on Linux."""
    if chosen := os.environ.get("OLLAMA_MODELS"):
        return [Path(chosen).expanduser()]
    return [Path("~/.ollama/models").expanduser(), Path("/usr/share/ollama/.ollama/models")]


def _blob(folder: Path, manifest: Path) -> Path:
    layers = _layers(manifest)
    if any(layer.get("mediaType") == _ADAPTER for layer in layers):
        raise RequestError(
            f"{manifest}: this model is another one changed by a LoRA adapter, which nybble does not apply;"
            " merge the two (llama.cpp's llama-export-lora)"
        )
    found = [layer for layer in layers if layer.get("mediaType") == _MODEL]
    if not found:
        raise ModelError(f"{manifest}: no layer is a GGUF model; nybble runs GGUF files only")
    match = _DIGEST.fullmatch(str(found[0].get("digest")))
    if match is None:
        raise ModelError(f"{manifest}: the model's digest must be sha256 and 64 hexadecimal digits")
    path, size = folder / "blobs" / f"sha256-{match[1]}", found[0].get("size")
    if not path.is_file():
        raise ModelError(f"{manifest}: its model {path} is missing; let Ollama pull it again")
    if path.stat().st_size != size:
        raise ModelError(f"{path}: has {path.stat().st_size} bytes, the manifest says {size}; pull it again")
    return path


def _layers(manifest: Path) -> list[dict[str, Any]]:
    with open(manifest, "rb") as file:
        content = file.read(_MAX_BYTES + 1)
    try:
        found = json.loads(content) if len(content) <= _MAX_BYTES else None
        layers = found["layers"] if isinstance(found, dict) else None
    except (ValueError, KeyError, RecursionError):
        layers = None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ModelError(f"{manifest}: this is no manifest of Ollama: expected JSON with layers")
    return layers
