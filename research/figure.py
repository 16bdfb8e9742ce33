"""A figure that a notebook shows as the last line of a cell. Needs matplotlib."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Belongs to no window and needs no screen: matplotlib's own way to show figures in notebooks begins with
    pyplot, which would keep every figure alive."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
