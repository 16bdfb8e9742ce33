"""What a mock gives as it comes: pieces that are there from the start."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar

from ..engine.generation.output import FinishReason, Timings

P = TypeVar("P")
O = TypeVar("O")  # noqa: E741


class MockStream(Iterator[P], Generic[P, O]):
    """Gives `pieces`, one a token of `token_ids`; `built(n, reason)` makes the output of the first n of them.

    `reason`: why the last piece is the last.
    """

    def __init__(
        self,
        pieces: Sequence[P],
        token_ids: Sequence[int],
        prompt_ids: list[int],
        reason: FinishReason,
        built: Callable[[int, FinishReason], O],
    ) -> None:
        self.prompt_ids = prompt_ids
        self.n_prompt_tokens = len(prompt_ids)
        self.n_cached_tokens = 0
        self.finish_reason: FinishReason | None = None
        self._pieces, self._token_ids = pieces, token_ids
        self._reason = reason
        self._built = built
        self._n = 0

    @property
    def token_ids(self) -> list[int]:
        """The tokens so far."""
        return list(self._token_ids[: self._n])

    @property
    def logprobs(self) -> None:
        """A mock knows none."""
        return None

    @property
    def is_done(self) -> bool:
        """It is all there from the start."""
        return True

    @property
    def choices(self) -> tuple[Self]:
        """A mock has one answer."""
        return (self,)

    @property
    def timings(self) -> Timings:
        """Nothing takes any time."""
        return mock_timings(self.n_prompt_tokens, self._n)

    def __next__(self) -> P:
        if self.finish_reason is None and self._n < len(self._pieces):
            self._n += 1
            return self._pieces[self._n - 1]
        self.finish_reason = self.finish_reason or self._reason
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> P:
        for piece in self:
            return piece
        raise StopAsyncIteration

    def take(self) -> list[P]:
        """All that nobody has read."""
        return list(self)

    def result(self, timeout: float | None = None) -> O:
        """All of it, or what there was before `cancel`."""
        for _ in self:
            pass
        return self.output()

    def output(self) -> O:
        """What there is so far."""
        return self._built(self._n, self.finish_reason or "cancelled")

    def cancel(self) -> None:
        """Ends it here."""
        self.finish_reason = self.finish_reason or "cancelled"


def mock_timings(n_prompt_tokens: int, n_tokens: int) -> Timings:
    """The times of something that takes none."""
    return Timings(0.0, 0.0, 0.0, 0.0, n_prompt_tokens, max(0, n_tokens - 1))
