"""Packages that tests of plugs need, and that the extra `test` has not, since they are large."""

import importlib
import os
from types import ModuleType

import pytest


def optional_package(name: str) -> ModuleType:
    """The package; without it the module of tests is skipped, unless NYBBLE_REQUIRE_NAME=1."""
    if os.environ.get(f"NYBBLE_REQUIRE_{name.upper()}") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"no package {name}")
