"""Notices and progress bars on stderr.

Nothing is printed without a stderr, or after `be_quiet`; bars appear only on a terminal. A notice that cannot
be written is no error.
"""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

_is_quiet = False


def be_quiet(is_quiet: bool = True) -> None:
    """Turns notices and bars of this process off, or on again."""
    global _is_quiet
    _is_quiet = is_quiet


def is_quiet() -> bool:
    """Are notices and bars off?"""
    return _is_quiet


def say(text: str) -> None:
    """Prints a line on stderr."""
    if not _is_quiet and sys.stderr is not None:
        with suppress(OSError):
            print(f"nybble: {text}", file=sys.stderr, flush=True)


def progress_bar(
    title: str | None = None, total: int | None = None, unit: str = "B", *, shown: bool = True
) -> "tqdm[None]":
    """A progress bar, which `update` moves; bytes are shown in kB and MB."""
    from tqdm import tqdm  # takes longer to import than all the rest here

    class Bar(tqdm):
        monitor_interval = 0  # no thread of tqdm, which would watch bars even if they are not shown

    return Bar(
        desc=title,
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        leave=False,
        miniters=1,  # every update looks at the clock
        disable=not shown or _is_quiet or sys.stderr is None or not sys.stderr.isatty(),
    )
