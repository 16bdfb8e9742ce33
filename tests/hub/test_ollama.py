"""Models that Ollama has pulled: manifests and blobs, and what may be wrong with them."""

import hashlib
import json

import pytest
import tiny_model

import nybble
from nybble.errors import ModelError, RequestError
from nybble.hub import models
from nybble.hub.local_models import local_models, remove_model

MODEL = "application/vnd.ollama.image.model"


def layer(folder, content, media_type=MODEL):
    """Writes a blob; -> its layer in a manifest."""
    digits = hashlib.sha256(content).hexdigest()
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / f"sha256-{digits}").write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": len(content)}


def manifest(folder, name, layers):
    path = folder / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "ollama"


def test_a_model_of_ollama_runs(folder, tmp_path, monkeypatch):
    content = tiny_model.write(tmp_path / "t.gguf").read_bytes()
    template = layer(folder, b"{{ .Prompt }}", "application/vnd.ollama.image.template")
    manifest(folder, "registry.ollama.ai/library/tiny/latest", [template, layer(folder, content)])
    manifest(folder, "hf.co/me/tiny-GGUF/Q4_K_M", [layer(folder, content)])
    path = models.resolve("ollama:tiny")
    assert path.read_bytes() == content and path == models.resolve("ollama:tiny:latest")
    assert models.resolve("ollama:hf.co/me/tiny-GGUF:Q4_K_M") == path
    monkeypatch.undo()  # machine code from the usual cache
    with nybble.LLM(path, executor="reference") as llm:
        assert llm.generate([5, 6], nybble.SamplingParams(max_tokens=3)).token_ids


def test_what_is_there_is_listed_and_left_to_ollama(folder):
    manifest(folder, "registry.ollama.ai/library/tiny/latest", [layer(folder, b"GGUF")])
    manifest(folder, "registry.ollama.ai/me/tiny/v1", [layer(folder, b"GGUF")])
    manifest(folder, "registry.ollama.ai/library/broken/1b", [])
    found = {model.name: model for model in local_models()}
    assert list(found) == ["ollama:broken:1b", "ollama:tiny:latest", "ollama:me/tiny:v1"]
    assert "no layer is a GGUF model" in found["ollama:broken:1b"].problem
    with pytest.raises(RequestError, match="is Ollama's, which removes it: ollama rm tiny:latest"):
        remove_model("ollama:tiny:latest")
    with pytest.raises(RequestError, match=r"Ollama has no 'ollama:tinny:latest'.*mean ollama:tiny:latest\?"):
        models.resolve("ollama:tinny")
    assert models.pull("ollama:tiny", alias="mine") == models.resolve("mine") == models.resolve("ollama:tiny")


def test_the_service_of_linux_and_the_user_have_folders(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = tmp_path / ".ollama" / "models"
    manifest(made, "registry.ollama.ai/library/tiny/latest", [layer(made, b"GGUF")])
    assert models.resolve("ollama:tiny").is_relative_to(made)
    with pytest.raises(RequestError, match=r"Ollama has no 'ollama:x:latest'; it has ollama:tiny:latest"):
        models.resolve("ollama:x")


BROKEN = {
    "cut": ('{"layers": [', "no manifest of Ollama"),
    "a list": ("[1]", "no manifest of Ollama"),
    "no layers": ("{}", "no manifest of Ollama"),
    "layers of text": ('{"layers": ["x"]}', "no manifest of Ollama"),
    "deep": ("[" * 100_000, "no manifest of Ollama"),
    "large": ('{"layers": []}' + " " * (1 << 20), "no manifest of Ollama"),
    "not UTF-8": ("\udcff", "no manifest of Ollama"),
    "safetensors": (
        json.dumps({"layers": [{"mediaType": "application/vnd.ollama.image.tensor"}]}),
        "no layer is a GGUF model",
    ),
    "a path": (
        json.dumps({"layers": [{"mediaType": MODEL, "digest": "sha256:../../../etc/passwd"}]}),
        "digest must be sha256 and 64",
    ),
    "missing": (
        json.dumps({"layers": [{"mediaType": MODEL, "digest": f"sha256:{'a' * 64}", "size": 1}]}),
        "is missing; let Ollama pull it again",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifests(folder, case):
    content, message = BROKEN[case]
    path = manifest(folder, "registry.ollama.ai/library/tiny/latest", [])
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=message):
        models.resolve("ollama:tiny")


def test_a_blob_of_another_size_and_an_adapter(folder):
    made = layer(folder, b"GGUF")
    manifest(folder, "registry.ollama.ai/library/tiny/latest", [made | {"size": 5}])
    with pytest.raises(ModelError, match="has 4 bytes, the manifest says 5"):
        models.resolve("ollama:tiny")
    adapter = layer(folder, b"GGUF!", "application/vnd.ollama.image.adapter")
    manifest(folder, "registry.ollama.ai/library/tiny/latest", [made, adapter])
    with pytest.raises(RequestError, match=r"changed by a LoRA adapter.*merge"):
        models.resolve("ollama:tiny")
