"""What has come in several steps before anybody looked is answered as what comes step by step."""

import pytest
from served import CALL, HI, TOOLS, client

from nybble import ChatMessage
from nybble.server.work.runner import Running
from nybble.testing import MockBackend
from nybble.testing.mock_stream import MockStream

ANSWER = ChatMessage(content="of the you", reasoning="I think", tool_calls=(CALL, CALL))


class Dripping(MockStream):
    """Gives a piece at a time."""

    @property
    def is_done(self):
        return self.finish_reason is not None

    def take(self):
        piece = next(self, None)
        return [] if piece is None else [piece]


class Dripper(MockBackend):
    def submit(self, *args, **options):
        return dripping(super().submit(*args, **options))

    def chat_submit(self, *args, **options):
        return dripping(super().chat_submit(*args, **options))


def dripping(stream):
    stream.__class__ = Dripping
    return stream


@pytest.fixture
def late(monkeypatch):
    """All pieces are collected, each by itself, before the first one is read."""
    once = Running.collect

    def collect(self):
        while self._left:
            once(self)

    monkeypatch.setattr(Running, "collect", collect)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": HI, "tools": TOOLS}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/messages", {"messages": HI, "max_tokens": 30}),
        ("/v1/responses", {"input": "Hi"}),
        ("/api/chat", {"messages": HI}),
        ("/api/generate", {"prompt": "Hi"}),
        ("/api/generate", {"prompt": "Hi", "raw": True}),
    ],
)
def test_nothing_is_lost_or_fails(late, path, fields):
    for stream in (False, True):
        body = {"model": "m", **fields, "stream": stream}
        slow = client(Dripper([ANSWER])).post(path, json=body)
        assert slow.status_code == 200 and '"error":{' not in slow.text
        for word in ("of", "the", "you", *(("Oslo", "think") if "messages" in fields else ())):
            assert word in slow.text


@pytest.mark.parametrize("stream", [False, True])
def test_it_ends_once_with_the_first_call(late, stream):
    body = {"messages": HI, "tools": TOOLS, "parallel_tool_calls": False, "stream": stream}
    answer = client(Dripper([ANSWER])).post("/v1/chat/completions", json=body).text
    assert answer.count('"finish_reason":"tool_calls"') == 1 and answer.count('"name":"weather"') == 1
