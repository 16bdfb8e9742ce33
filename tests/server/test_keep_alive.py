"""How long a model stays, as Go's `time.ParseDuration` and Ollama read it."""

import math

import pytest

from nybble.server.schema.keep_alive import KeepAlive, keep_alive_seconds
from nybble.server.wire.errors import APIError

GOOD = {
    "5m": 300,
    "1h30m": 5400,
    "1.5h": 5400,
    ".5s": 0.5,
    "300ms": 0.3,
    "2h45m10s": 9910,
    "+5m": 300,
    "300": 300,
    "0": 0,
    "0s": 0,
    "-1": math.inf,
    "-5m": math.inf,
    300: 300,
    0: 0,
    2.5: 2.5,
    -1: math.inf,
    "1us": 1e-6,
    "1µs": 1e-6,
}
BAD = ["", "-", "+", "m", "5 m", "5x", "5mm", "1e3", "--1", "-+1", "∞", "५m", None, True, [], math.nan]


@pytest.mark.parametrize("text", GOOD)
def test_what_it_means(text):
    assert keep_alive_seconds(text) == pytest.approx(GOOD[text])


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_what_it_does_not_mean(text):
    assert keep_alive_seconds(text) is None
    with pytest.raises(APIError, match='keep_alive must be seconds, as 300, or a time, as "5m"'):
        KeepAlive().check(text, "keep_alive")
