"""What nybble says on stderr while it works: notices and progress bars.

Nothing where there is no stderr, or where somebody wants it quiet; bars only on a terminal. A notice that
cannot be delivered stops no work.
"""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

_is_quiet = False


def be_quiet(is_quiet: bool = True) -> None:
    """From now on, and in this process, nothing is said; or all is again."""
    global _is_quiet
    _is_quiet = is_quiet


def say(text: str) -> None:
    """A line on stderr."""
    if not _is_quiet and sys.stderr is not None:
        with suppress(OSError):
            print(f"nybble: {text}", file=sys.stderr, flush=True)


def progress_bar(title: str | None = None, total: int | None = None, unit: str = "B") -> "tqdm[None]":
    """A bar to be told of progress (`update`); bytes are counted in kB and MB."""
    from tqdm import tqdm  # takes longer to import than all the rest here

    class Bar(tqdm):
        monitor_interval = 0  # no thread of tqdm's own, which would also watch bars that are not shown

    return Bar(
        desc=title,
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        leave=False,
        miniters=1,  # it looks at the clock whenever it is told something
        disable=_is_quiet or sys.stderr is None or not sys.stderr.isatty(),
    )
