"""Small models with each kind of state, for tests of what shares an executor."""

from collections.abc import Iterator
from pathlib import Path

import architecture_fixtures
import tiny_model

from nybble.engine.model import Model

N_CTX = 300
KINDS = {
    "full": "llama",
    "window": "gemma3",
    "recurrent": "mamba2",
    "hybrid": "jamba",
    "latent": "deepseek2",
    "caps and windows": "gemma2",
    "chunked": "llama4",
}


def write_model(path: Path, kind: str) -> Path:
    """A file with a model of a kind."""
    name = KINDS[kind]
    if name in ("llama", "gemma3"):
        tiny_model.write(path, name, "Q8_0", n_ctx=N_CTX)
    else:
        architecture_fixtures.write(path, architecture_fixtures.description(name))
    return path


def loaded(path: Path) -> Iterator[Model]:
    model = Model.load(path)
    yield model
    model.close()
