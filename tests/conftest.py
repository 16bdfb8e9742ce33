"""Makes the helper modules of the tests importable by their plain names; fixtures for the real models.

The tests run on the package as it is installed, if that is the same as the one beside them.
"""

import os
import signal
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import nybble
from nybble.errors import NybbleError
from nybble.hub.models import named

HELPERS = [str(Path(__file__).parent / folder) for folder in ("cases", "models", "tools")]
sys.path[:0] = HELPERS
# For child processes, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), *HELPERS]))

ROOT = Path(__file__).parent.parent
# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_REAL_MODELS = {"smollm2_path", "gemma3_path"}


def _modules(root: Path) -> dict[str, bytes]:
    """The package at `root`, by path; what is beside it in a clone is left out."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = [root.joinpath(*name.split(".")[1:]) for name in packages]
    files = [path for folder in folders for path in folder.glob("*.py") if path != root / "setup.py"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def pytest_configure(config: pytest.Config) -> None:
    """An installed package that is not the one beside the tests would be tested in its place.

    A shell lets what it runs in the background ignore Ctrl-C, and so would the children of the tests.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    installed = Path(nybble.__file__).parent
    if installed.samefile(ROOT) or hasattr(config, "workerinput"):
        return
    theirs, ours = _modules(installed), _modules(ROOT)
    changed = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
    if changed:
        some = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        raise pytest.UsageError(
            f"{installed} is not the package beside these tests: {some} differ;"
            " install it again (CONTRIBUTING.md: so that edits count at once)"
        )


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
