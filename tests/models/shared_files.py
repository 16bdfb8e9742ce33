"""Fixtures from the development machines' shared folder; a test that asks for one is skipped elsewhere."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("NYBBLE_SHARED") or Path(__file__).parents[3] / "shared")


def shared(name: str) -> Path:
    """$NYBBLE_SHARED/name, or ../shared/name beside the repository."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
