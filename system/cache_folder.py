"""The folder for what can be made or fetched again: compiled kernels, and models."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """$NYBBLE_CACHE, or `nybble` in the system's folder for the user's caches; not created here.

    FileNotFoundError for a user without a home folder, as in a container that runs under a numeric id.
    """
    try:
        return _folder()
    except RuntimeError as error:
        raise FileNotFoundError(
            "this user has no home folder ($HOME is not set); set NYBBLE_CACHE to a folder for models and"
            " compiled kernels"
        ) from error


def _folder() -> Path:
    if chosen := os.environ.get("NYBBLE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "nybble"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nybble"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "nybble" / "Cache"
    return Path.home() / ".cache" / "nybble"
