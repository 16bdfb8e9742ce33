"""Tables and sizes, as commands print them."""

from collections.abc import Iterable


def size(n_bytes: int) -> str:
    """Bytes in decimal units, as disks and bandwidths are measured."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def print_table(rows: Iterable[tuple[str, ...]]) -> None:
    """Prints rows, all with as many cells, each column as wide as its widest cell."""
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
