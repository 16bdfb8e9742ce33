"""How many tokens of prompts go into a step beside running streams, so that these are not held up."""

from __future__ import annotations

STEP_SECONDS = 0.1
"""What a step with tokens of streams may take, or twice a step with nothing else, if that is more."""
N_LEAST, N_FIRST = 8, 64
_AIM = 0.7  # of what a step may take: some take longer than others
_WEIGHT = 0.3  # of the newest step, in means


class Pace:
    """Learns from the steps that it is told of what tokens of streams and of prompts cost. It knows no clock;
    what it says changes how steps are cut, and so no result."""

    def __init__(self) -> None:
        self._stream_seconds = 0.0  # of a step with streams only
        self._seconds_per_token = 0.0  # of prompts, beside them

    def record(self, n_streams: int, n_prompt_tokens: int, seconds: float) -> None:
        """A step with tokens of so many streams and of prompts has taken so long."""
        if n_prompt_tokens == 0:
            self._stream_seconds = _mean(self._stream_seconds, seconds)
        else:
            rest = seconds - (self._stream_seconds if n_streams else 0.0)
            per_token = max(rest, seconds / 10) / n_prompt_tokens
            self._seconds_per_token = _mean(self._seconds_per_token, per_token)

    def n_prompt_tokens(self, n_most: int) -> int:
        """How many tokens of prompts the next step takes while streams run, up to n_most."""
        if not self._seconds_per_token:
            return min(n_most, N_FIRST)
        room = _AIM * max(STEP_SECONDS, 2 * self._stream_seconds) - self._stream_seconds
        return min(n_most, max(N_LEAST, int(room / self._seconds_per_token)))


def _mean(mean: float, newest: float) -> float:
    return newest if mean == 0 else mean + _WEIGHT * (newest - mean)
