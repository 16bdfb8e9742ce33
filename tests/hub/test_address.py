"""Addresses of models: the forms that people write, and what must not become a path."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nybble.errors import RequestError
from nybble.hub.address import (
    HubAddress,
    OllamaAddress,
    WebAddress,
    is_inside,
    parse_address,
    part_names,
)

DIGITS = "0123456789abcdef" * 4
FORMS = {
    "hf:me/tiny-GGUF": HubAddress("me/tiny-GGUF"),
    "hf://me/tiny-GGUF": HubAddress("me/tiny-GGUF"),
    "HF:me/tiny-GGUF:q4_k_m": HubAddress("me/tiny-GGUF", format="q4_k_m"),
    "hf:me/tiny.GGUF/a/tiny-Q8_0.gguf": HubAddress("me/tiny.GGUF", file="a/tiny-Q8_0.gguf"),
    "hf:me/tiny@v1.0/tiny.gguf": HubAddress("me/tiny", "v1.0", "tiny.gguf"),
    "hf.co/me/tiny:Q4_0": HubAddress("me/tiny", format="Q4_0"),
    "huggingface.co/me/tiny": HubAddress("me/tiny"),
    "https://huggingface.co/me/tiny/": HubAddress("me/tiny"),
    "https://huggingface.co/me/tiny/tree/main": HubAddress("me/tiny"),
    "https://huggingface.co/me/tiny/blob/main/tiny%20.gguf": HubAddress("me/tiny", file="tiny .gguf"),
    "https://hf.co/me/tiny/resolve/abc123/x/t.gguf?download=true": HubAddress(
        "me/tiny", "abc123", "x/t.gguf"
    ),
    "https://example.org/a/t.gguf": WebAddress("https://example.org/a/t.gguf"),
    f"https://example.org/t.gguf?k=1#sha256={DIGITS.upper()}": WebAddress(
        "https://example.org/t.gguf?k=1", DIGITS
    ),
    "ollama:llama3.2": OllamaAddress("llama3.2"),
    "ollama:llama3.2:1b-q4": OllamaAddress("llama3.2", "1b-q4"),
    "ollama:me/mine:v2": OllamaAddress("mine", "v2", "me"),
    "ollama:hf.co/me/tiny-GGUF:Q4_K_M": OllamaAddress("tiny-GGUF", "Q4_K_M", "me", "hf.co"),
}
NO_ADDRESSES = [
    "smollm2",
    "model.gguf",
    "./hf.co/x",
    "C:\\models\\x.gguf",
    "a/b",
    "hf.co",
    "https: what is it?",
]
REFUSED = {
    "hf:tiny": "expected hf:OWNER/REPO",
    "hf:../../etc/passwd": "expected hf:OWNER/REPO",
    "hf:me/..": "expected hf:OWNER/REPO",
    "hf:me/a--b": "expected hf:OWNER/REPO",
    "hf:me/tiny/../../x.gguf": "expected hf:OWNER/REPO",
    "hf:me/tiny@..": "expected hf:OWNER/REPO",
    "hf:me/tiny/a\\..\\x.gguf": "expected hf:OWNER/REPO",
    "hf:me/tiny/t.gguf:Q8_0": "a file and a format",
    "hf:me/tiny/model.safetensors": "safetensors file: look for a repository .*-GGUF",
    "hf:me/tiny/model.onnx": "an ONNX model",
    "hf:me/tiny/README.md": "no GGUF file",
    "https://huggingface.co/datasets/me/x": "one of the datasets",
    "http://example.org/t.gguf": "unprotected",
    "https:///t.gguf": "no host",
    "https://[::1/t.gguf": "no address of the web",
    "https://me:secret@example.org/t.gguf": "password",
    "https://example.org/t.safetensors": "safetensors file",
    "https://example.org/": "no GGUF file",
    "https://example.org/..%2f..%2fx%5c.gguf": "no GGUF file|leads to",
    "https://example.org/t.gguf#sha256=12": "64 hexadecimal digits",
    "ollama:": "expected|no name",
    "ollama:../../x": "no name of a model of Ollama",
    "ollama:a/b/c/d": "no name of a model of Ollama",
    "ollama:x:..": "no name of a model of Ollama",
    "hf:" + "a" * 2000: "at most 1024",
    "hf:me/ti\x1bny": "printable",
}


@pytest.mark.parametrize("text", FORMS)
def test_forms(text):
    assert parse_address(text) == FORMS[text]
    assert parse_address(str(FORMS[text])) == FORMS[text] or " " in str(FORMS[text])


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_names_and_paths_are_no_addresses(text):
    assert parse_address(text) is None


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_is_refused(text):
    with pytest.raises(RequestError, match=REFUSED[text]):
        parse_address(text)


@given(st.sampled_from(["hf:", "hf.co/", "https://", "ollama:"]), st.text("ab./\\:@%2eQ-_#", max_size=30))
def test_whatever_is_written_no_part_leaves_its_folder(start, text):
    try:
        found = parse_address(start + text)
    except RequestError:
        return
    parts = {
        HubAddress: lambda a: [*a.repo.split("/"), a.revision, *(a.file or "x").split("/")],
        WebAddress: lambda a: [a.file_name],
        OllamaAddress: lambda a: [a.host, a.namespace, a.name, a.tag],
    }[type(found)](found)
    assert all(
        Path("/top", part).resolve() == Path("/top") / part and len(Path(part).parts) == 1 for part in parts
    )


def test_files_of_a_model_in_several():
    assert part_names("m-00002-of-00003.gguf") == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for name in ("m.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf", "m-00001-of-99999.gguf"):
        assert part_names(name) == [name]


def test_paths_inside_a_folder():
    assert is_inside("a/b.gguf") and is_inside("a b.gguf")
    for path in ("", "/a", "a//b", "../a", "a/..", "a\\b", "c:a", "a/\0", "a\n", "nul?"):
        assert not is_inside(path), path
