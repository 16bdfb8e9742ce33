"""A figure of matplotlib that a notebook shows as the last line of a cell."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure without window or screen. Matplotlib shows figures in notebooks by pyplot, which would keep
    every figure alive."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
