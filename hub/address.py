"""Addresses of models: what stands for a file that is on a hub, on a web server, or among Ollama's.

    hf:OWNER/REPO[@REVISION][/FILE.gguf][:FORMAT]    a repository of huggingface.co; hf.co/… and
                                                     huggingface.co/… mean the same, with https:// or without
    https://HOST/PATH.gguf[#sha256=DIGITS]           any other file on the web
    ollama:NAME[:TAG]                                what Ollama has pulled

An address never becomes a path that leaves its folder: each part of it is a plain name.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ..errors import RequestError

_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_REPOSITORY = re.compile(rf"({_WORD}/{_WORD})(?:@({_WORD}))?((?:/[^/:]+)*)(?::([A-Za-z0-9_.-]+))?")
_HUB_HOSTS = ("hf.co", "huggingface.co", "www.huggingface.co")
_OLLAMA = re.compile(rf"(?:(?:({_WORD})/)?({_WORD})/)?({_WORD})(?::({_WORD}))?")
_DIGITS = re.compile(r"[0-9a-f]{64}")
_MAX_LETTERS = 1024
_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_MAX_PARTS = 1000

_HUB_FORM = (
    "hf:OWNER/REPO[@REVISION][/FILE.gguf][:FORMAT], as in hf:bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M"
)


@dataclass(frozen=True)
class HubAddress:
    """A file in a repository of huggingface.co: `file`, a path in the repository, or else the one of the
    format `format` ("Q4_K_M")."""

    repo: str
    revision: str = "main"
    file: str | None = None
    format: str | None = None

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        file = f"/{self.file}" if self.file else ""
        return f"hf:{self.repo}{revision}{file}" + (f":{self.format}" if self.format else "")


@dataclass(frozen=True)
class WebAddress:
    """A file on a web server; `sha256`, 64 hexadecimal digits, is None if the address does not say it."""

    url: str
    sha256: str | None = None

    def __str__(self) -> str:
        return self.url + (f"#sha256={self.sha256}" if self.sha256 else "")

    @property
    def file_name(self) -> str:
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True)
class OllamaAddress:
    """A model that Ollama has pulled from the registry `host`."""

    name: str
    tag: str = "latest"
    namespace: str = "library"
    host: str = "registry.ollama.ai"

    def __str__(self) -> str:
        defaults = OllamaAddress("")
        owner = "" if self.namespace == defaults.namespace and self.host == defaults.host else self.namespace
        words = (self.host if self.host != defaults.host else "", owner, self.name)
        return f"ollama:{'/'.join(word for word in words if word)}:{self.tag}"


Address = HubAddress | WebAddress | OllamaAddress


def parse_address(text: str) -> Address | None:
    """The address that `text` is; None if it is a name or a path.

    RequestError, which shows the form, for a text that begins as an address and goes on as none.
    """
    scheme, colon, rest = text.partition(":")
    kind = scheme.lower() if colon else ""
    host = text.partition("/")[0].lower()
    is_address = kind in ("hf", "ollama", "http", "https") or ("/" in text and host in _HUB_HOSTS)
    if not is_address or any(letter.isspace() for letter in text):
        return None
    if len(text) > _MAX_LETTERS or not text.isprintable():
        raise RequestError(f"an address has at most {_MAX_LETTERS} printable letters, found {text!r:.100}")
    if kind == "ollama":
        return _ollama(rest)
    if kind == "hf":
        return _hub(rest.removeprefix("//"))
    if host in _HUB_HOSTS:
        return _hub_page(text.partition("/")[2])
    return _web(text)


def part_names(name: str) -> list[str]:
    """The names of all files of a model, `name` being one of them: NAME-00001-of-00003.gguf and so on for a
    model in several files."""
    match = _PART.fullmatch(name)
    count = int(match["count"]) if match else 1
    if match is None or not 1 <= int(match["number"]) <= count <= _MAX_PARTS:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def is_inside(path: str) -> bool:
    """Is it a relative path, with "/", that stays in its folder on every system?"""
    return bool(path) and all(
        part not in ("", ".", "..") and part.isprintable() and not set(part) & set('\\:*?"<>|')
        for part in path.split("/")
    )


def _hub(text: str) -> HubAddress:
    match = _REPOSITORY.fullmatch(text)
    if match is None:
        raise RequestError(f"{text!r} names no model of huggingface.co; expected {_HUB_FORM}")
    repo, revision, file, format = match[1], match[2] or "main", match[3].removeprefix("/"), match[4]
    if ".." in repo + revision or "--" in repo or (file and not is_inside(file)):
        raise RequestError(f"{text!r} names no model of huggingface.co; expected {_HUB_FORM}")
    if file and format:
        raise RequestError(f"{text!r} names a file and a format; leave one of them out")
    if file and not file.endswith(".gguf"):
        raise RequestError(f"{file!r} of {repo} is {_what_is(file)}; expected {_HUB_FORM}")
    return HubAddress(repo, revision, file or None, format)


def _hub_page(text: str) -> HubAddress:
    """Of what stands after huggingface.co/ in the address line of a browser."""
    text = unquote(text.partition("?")[0].partition("#")[0]).removesuffix("/")
    words = text.split("/")
    if words[0] in ("datasets", "spaces"):
        raise RequestError(f"huggingface.co/{text} is no model, but one of the {words[0]}")
    if len(words) > 3 and words[2] in ("resolve", "blob", "tree", "raw"):
        owner, repo, _, revision, *file = words
        return _hub("/".join([owner, f"{repo}@{revision}", *file]))
    return _hub(text)


def _web(text: str) -> Address:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RequestError(f"{text!r} is no address of the web: {error}") from error
    if not host:
        raise RequestError(f"{text!r} is no address of the web: it names no host")
    if host in _HUB_HOSTS:
        return _hub_page(parts.path.removeprefix("/"))
    if parts.scheme != "https" and host not in ("localhost", "127.0.0.1", "::1"):
        raise RequestError(f"{text!r} would come unprotected; give an address that begins with https://")
    if parts.username or parts.password:
        raise RequestError("an address with a password in it would be kept on disk; fetch it by other means")
    digits = parts.fragment.removeprefix("sha256=").lower()
    if parts.fragment and not _DIGITS.fullmatch(digits):
        raise RequestError(f"after # comes sha256= and 64 hexadecimal digits, found {parts.fragment!r}")
    address = WebAddress(parts._replace(fragment="").geturl(), digits or None)
    if not is_inside(address.file_name) or not address.file_name.endswith(".gguf"):
        raise RequestError(f"{text!r} leads to {_what_is(address.file_name)}; its path must end in .gguf")
    return address


def _ollama(text: str) -> OllamaAddress:
    match = _OLLAMA.fullmatch(text)
    if match is None or ".." in text:
        form = "ollama:[[HOST/]NAMESPACE/]NAME[:TAG], as in ollama:llama3.2:1b"
        raise RequestError(f"{text!r} is no name of a model of Ollama; expected {form}")
    host, namespace, name, tag = match.groups()
    defaults = OllamaAddress(name)
    return OllamaAddress(name, tag or defaults.tag, namespace or defaults.namespace, host or defaults.host)


def _what_is(file: str) -> str:
    """What a file seems to be that is no GGUF file, by the end of its name."""
    kinds = {
        ".safetensors": "a safetensors file: look for a repository whose name ends in -GGUF, or convert the"
        " model (llama.cpp's convert_hf_to_gguf.py)",
        ".onnx": "an ONNX model: look for a GGUF file of it",
        ".bin": "perhaps a PyTorch checkpoint: look for a repository whose name ends in -GGUF",
    }
    return kinds.get(PurePosixPath(file).suffix.lower(), "no GGUF file")
