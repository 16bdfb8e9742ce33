"""Where nybble keeps what it can make or fetch again: compiled kernels, and models."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """$NYBBLE_CACHE, or `nybble` in the place where this system's users keep caches; not created here."""
    if chosen := os.environ.get("NYBBLE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "nybble"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nybble"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "nybble" / "Cache"
    return Path.home() / ".cache" / "nybble"
