"""Makes the helper modules beside the tests importable by their plain names; fixtures for the real models."""

import os
import sys
from pathlib import Path

import pytest

from nybble.engine.models import named
from nybble.gguf_io.errors import NybbleError

sys.path.insert(0, str(Path(__file__).parent))

_REAL_MODELS = {"smollm2_path", "gemma3_path"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a real model is marked `model`, so that `-m "not model"` leaves it out."""
    for item in items:
        if _REAL_MODELS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.model)


def _model_path(name: str) -> Path:
    """A real model from the user's cache; fetched if NYBBLE_REQUIRE_MODELS=1, else the test is skipped."""
    model = named(name)
    if os.environ.get("NYBBLE_REQUIRE_MODELS") == "1":
        try:
            return model.pull()
        except (NybbleError, OSError) as error:
            pytest.fail(f"NYBBLE_REQUIRE_MODELS=1, but {name} cannot be had: {error}")
    if not model.is_here:
        pytest.skip(f"{name} is not in the cache; fetch it with: nybble pull {name}")
    return model.path


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    return _model_path("smollm2")


@pytest.fixture(scope="session")
def gemma3_path() -> Path:
    """Gemma-3-270m, Q4_K_M."""
    return _model_path("gemma3")
