"""The file of a model that is served, which somebody may write to or replace meanwhile."""

from __future__ import annotations

from ...engine.model import Model
from ...errors import EngineError, ModelError


class WatchedFile:
    """The file at `path`, once `model` is it, open in the front."""

    def __init__(self, path: str, name: str) -> None:
        self._path, self._name = path, name
        self.model: Model | None = None
        self.is_replaced = False
        """Has `look` found another file, or none, in its place?"""

    def problem(self) -> EngineError | None:
        """What forbids to read the file any more; None: nothing."""
        if self.model is None:
            return None
        try:
            self.model.file.check_unchanged()
        except ModelError:
            return EngineError(
                f"the file of {self._name} was written to or cut while it was served; start the server again"
                " to serve what it is now"
            )
        return None

    def look(self) -> bool:
        """Is it replaced, which was not so the last time?"""
        if self.is_replaced or self.model is None or not self.model.file.is_replaced():
            return False
        self.is_replaced = True
        return True

    def translated(self, error: BaseException) -> BaseException:
        """What a process has failed with: it may have noticed before the front that the file has changed."""
        return (self.problem() or error) if isinstance(error, ModelError) else error

    def path_to_open(self) -> str:
        """Where another process finds it."""
        return self._path if self.model is None else self.model.file.path_for_others()
