"""The version of an installed package, without importing it."""

from importlib.util import find_spec
from pathlib import Path


def package_version(name: str) -> str:
    """A text that differs between versions; ModuleNotFoundError if there is no such package.

    Numba and llvmlite have a file with it. `importlib.metadata` has it for every package, but takes 25 ms to
    import.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {name}", name=name)
    try:
        return Path(spec.origin).with_name("_version.py").read_text()
    except OSError:
        from importlib.metadata import version

        return version(name)
