"""Which version of a package is installed, without importing it."""

from importlib.util import find_spec
from pathlib import Path


def package_version(name: str) -> str:
    """What tells its version from others; raises ModuleNotFoundError if there is none.

    Numba and llvmlite keep it in a file of their own. `importlib.metadata` knows it of every package, but
    takes 25 ms to import.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {name}", name=name)
    try:
        return Path(spec.origin).with_name("_version.py").read_text()
    except OSError:
        from importlib.metadata import version

        return version(name)
