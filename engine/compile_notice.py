"""Tells the user, once, why the first start takes longer."""

from ..kernels.cache_folder import cache_folder
from ..kernels.object_cache import compile_log
from .notices import say


def announce_compiling() -> None:
    """From now on the first kernel that is compiled in this process is announced on stderr.

    Somebody who listens to `compile_log` already keeps listening.
    """
    if compile_log.listener is None:
        compile_log.listener = _announce


def _announce(kernel_name: str) -> None:
    compile_log.listener = _say_nothing
    say(f"compiling kernels for this machine; this is done once, later starts find them in {cache_folder()}")


def _say_nothing(kernel_name: str) -> None:
    """Listens for the rest of the process."""
