"""Prints rows of words as columns, or as a table in Markdown."""

from collections.abc import Sequence


def print_table(rows: Sequence[tuple[str, ...]], markdown: bool) -> None:
    """Rows of as many cells; the first row names the columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip())
        if markdown and number == 0:
            print("| " + " | ".join("-" * width for width in widths) + " |")
