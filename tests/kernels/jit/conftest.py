"""Folders with compiled kernels."""

import shutil
from pathlib import Path

import pytest
from cached_process import COMPILED, run


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the machine code of `ADD`."""
    folder = tmp_path_factory.mktemp("warm") / "cache"
    assert run(folder) == [f"{COMPILED} 0"]
    return folder


@pytest.fixture
def cache(warm: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(warm, tmp_path / "cache"))
