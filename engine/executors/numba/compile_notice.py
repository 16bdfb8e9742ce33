"""Tells the user, once, why the first start takes longer."""

from pathlib import Path

from ....kernels.jit.object_cache import compile_log
from ....system.notices import say


def announce_compiling() -> None:
    """From now on the first kernel that is compiled in this process is announced on stderr.

    Somebody who listens to `compile_log` already keeps listening.
    """
    if compile_log.listener is None:
        compile_log.listener = _announce


def _announce(kernel_name: str, folder: Path | None) -> None:
    compile_log.listener = _say_nothing
    future = (
        f"this is done once, later starts find them in {folder.parents[1]}"
        if folder
        else "they cannot be kept, so every start does this (NYBBLE_CACHE: a folder for them)"
    )
    say(f"compiling kernels for this machine; {future}")


def _say_nothing(kernel_name: str, folder: Path | None) -> None:
    """Listens for the rest of the process."""
