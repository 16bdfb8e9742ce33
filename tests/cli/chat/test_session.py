"""A conversation as it grows, is cut, saved and taken up again; commands in it; on a mock."""

import json

import pytest

import nybble
from nybble import RequestError, SamplingParams
from nybble.cli.chat.session import Session
from nybble.cli.chat.slash import COMMANDS, run_command
from nybble.engine.chat.message import ChatMessage
from nybble.testing import MockBackend, tiny_model


@pytest.fixture
def session():
    return Session(MockBackend(["one", "two", "three"]), SamplingParams(), "Be brief.")


def said(session):
    return [(message["role"], message["content"]) for message in session.messages]


def ask(session, text):
    answer = session.ask(text)
    list(answer)
    return session.keep(answer).message.content


def test_each_question_is_asked_with_all_that_was_said(session):
    assert [ask(session, "a"), ask(session, "b")] == ["one", "two"]
    assert session.backend.requests[1].asked == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "b"},
    ]
    assert session.backend.requests[1].options == {"overflow": "drop_middle"}


def test_another_answer_takes_the_place_of_the_last(session):
    ask(session, "a")
    answer = session.regenerate()
    list(answer)
    session.keep(answer)
    assert said(session)[1:] == [("user", "a"), ("assistant", "two")]
    session.reset()
    with pytest.raises(RequestError, match="no question yet"):
        session.regenerate()


def test_what_was_said_before_an_answer_was_stopped_stays(session):
    answer = session.ask("a")
    next(answer)
    answer.cancel()
    assert session.keep(answer).finish_reason == "cancelled"
    assert said(session)[1:] == [("user", "a"), ("assistant", "on")]
    answer = session.ask("b")
    answer.cancel()
    session.keep(answer)
    assert len(said(session)) == 3, "a question without any answer is as if it was not asked"


def test_a_question_that_is_refused_is_not_in_the_conversation(session):
    session.backend.n_ctx = 20
    with pytest.raises(RequestError):
        session.ask("x" * 100)
    assert said(session) == [("system", "Be brief.")]


def test_reasoning_and_calls_are_kept():
    session = Session(MockBackend([ChatMessage(content="Four.", reasoning="2 + 2")]), SamplingParams())
    ask(session, "?")
    assert session.messages[1] == {"role": "assistant", "content": "Four.", "reasoning": "2 + 2"}


def test_a_saved_conversation_goes_on_elsewhere(session, tmp_path):
    ask(session, "ä")
    path = tmp_path / "a b.json"
    assert run_command(f"/save {path}", session) == f"3 messages saved in {path}"
    assert json.loads(path.read_text("utf-8"))["model"] == "mock"
    other = Session(MockBackend(), SamplingParams())
    assert run_command(f"/load {path}", other) == f"3 messages loaded from {path}"
    assert other.messages == session.messages
    run_command("/system", other)
    assert said(other)[0] == ("user", "ä")
    run_command("/system Be loud.", other)
    assert said(other)[0] == ("system", "Be loud.")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no conversation in JSON"),
        (b"\xff\xfe", "is no conversation in JSON"),
        (b"[" * 100_000, "is no conversation in JSON"),
        (b"{}", "messages must be a list"),
        (b"[]", "messages must be a list"),
        (b'[{"role": 1, "content": ""}]', 'messages.0.."role"'),
        (b'{"messages": [{"role": "user"}]}', '"content"'),
    ],
)
def test_files_that_hold_no_conversation(content, problem, session, tmp_path):
    path = tmp_path / "chat.json"
    path.write_bytes(content)
    ask(session, "a")
    before = session.messages
    with pytest.raises(RequestError, match=problem) as caught:
        session.load(path)
    assert str(caught.value).startswith(str(path)) and session.messages == before


def test_a_file_that_is_too_large(session, tmp_path):
    path = tmp_path / "chat.json"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(RequestError, match="more than 64 MB"):
        session.load(path)


def test_commands(session):
    assert run_command("/stats", session) == "there is no answer yet"
    ask(session, "a")
    assert "of 2048 tokens in the context" in run_command("/stats", session)
    for name in COMMANDS:
        assert f"/{name}" in run_command("/help", session)
    assert run_command("/exit", session) is None
    assert run_command("/reset", session) == "a new conversation" and said(session) == [
        ("system", "Be brief.")
    ]
    for text, problem in (
        ("/sav x", "did you mean save"),
        ("/zzz", "/help lists all"),
        ("/save", "path of a file"),
    ):
        with pytest.raises(RequestError, match=problem):
            run_command(text, session)


def test_a_long_conversation_loses_its_middle_for_the_model_alone():
    with nybble.LLM(tiny_model(), executor="reference", n_ctx=160) as llm:
        session = Session(llm, SamplingParams(max_tokens=8), "Be brief.")
        for number in range(8):
            ask(session, f"question {number}, the other one")
            assert session.messages[0]["role"] == "system" and session.last.n_prompt_tokens <= 160
        assert session.last.n_dropped_messages > 0 and len(session.messages) == 17
        assert "old messages left out" in run_command("/stats", session)


def test_what_is_no_text_is_refused_everywhere(tmp_path):
    session, bad = Session(MockBackend(), SamplingParams()), "a\udcff"
    path = tmp_path / "chat.json"
    path.write_text('[{"role": "user", "content": "\\udcff"}]')
    for act in (
        lambda: session.ask(bad),
        lambda: session.tell(bad),
        lambda: session.load(path),
        lambda: Session(MockBackend(), SamplingParams(), bad).save(tmp_path / "other.json"),
        lambda: session.save(tmp_path / "other.json"),
    ):
        with pytest.raises(RequestError):
            act()
    assert not session.messages and not (tmp_path / "other.json").exists()
