"""What becomes of requests when the process of an engine dies, is killed, or its front is."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from served import HI, wait_for

import nybble
from nybble import EngineError, GGUFFormatError, RequestError, SamplingParams
from nybble.server.remote import open_engine as opening, supervisor
from nybble.server.remote.process import EngineProcess, cause_of_death

PROMPT = "the of and to you I is on it"
LONG = SamplingParams(max_tokens=900, ignore_eos=True, seed=1)
SHORT = SamplingParams(max_tokens=12, temperature=1, seed=2)
DIED = (
    "the engine of tiny has died (signal 9 SIGKILL, perhaps out of memory) and is being restarted; ask again"
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def no_delays(monkeypatch):
    monkeypatch.setattr(supervisor, "_DELAYS", (0.0,) * 7)


def kill(engine, number=signal.SIGKILL):
    os.kill(engine.status.pid, number)


def kinds(engine):
    return [event.kind for event in engine.events]


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # nobody may be there to bury it


class Dying(EngineProcess):
    """A process that dies before it has loaded anything."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_what_was_coming_fails_and_what_waited_comes(opened, llm, number):
    engine = opened(n_seq_max=1)
    running, queued = engine.submit(PROMPT, LONG), engine.submit(PROMPT, SHORT)
    first = next(running)
    kill(engine, number)
    with pytest.raises(EngineError, match="and is being restarted; ask again"):
        running.result(60)
    assert queued.result(60).token_ids == llm.generate(PROMPT, SHORT).token_ids
    assert engine.generate(PROMPT, SHORT).token_ids == queued.token_ids
    assert first and engine.status.n_restarts == 1 and engine.status.state == "ready"
    assert [kind for kind in kinds(engine) if kind != "says"] == ["loaded", "died", "restarting", "loaded"]


def test_the_error_says_what_has_happened(opened):
    engine = opened()
    stream = engine.chat_stream(HI, LONG)
    next(stream)
    kill(engine)
    with pytest.raises(EngineError, match=re.escape(DIED)):
        list(stream)
    other = engine.submit(PROMPT, SHORT)  # what comes while it is restarted waits
    assert other.result(60).finish_reason


def test_a_crash_shows_where_it_was(opened):
    engine = opened()
    kill(engine, signal.SIGSEGV)
    wait_for(lambda: engine.status.n_restarts == 1)
    assert any("Segmentation fault" in event.message for event in engine.events if event.kind == "says")


def test_a_prompt_of_which_nothing_has_come_runs_again(opened, llm):
    engine = opened(n_seq_max=1, n_batch=1)
    ids = [3 + i % 90 for i in range(1000)]
    request = engine.submit(ids, SHORT)
    (prompt,) = engine._ledger._errands.values()
    wait_for(lambda: prompt.has_begun)
    kill(engine)
    wait_for(lambda: engine.status.n_restarts == 1)
    assert request.result(60).token_ids == llm.generate(ids, SHORT).token_ids
    assert request.seed == 2


def test_texts_that_were_done_stay_so(opened):
    engine = opened(n_seq_max=2)
    request = engine.submit(PROMPT, SamplingParams(n=2, max_tokens=900, seed=4, stop=["a"], temperature=1))
    wait_for(lambda: any(choice.is_done for choice in request.choices))
    is_done = [choice.is_done for choice in request.choices]
    kill(engine)
    wait_for(lambda: request.is_done)
    for choice, was_done in zip(request.choices, is_done, strict=True):
        if was_done:
            assert choice.result(0).finish_reason == "stop"


class Poison:
    """Kills the process that reads it."""

    def __reduce__(self):
        return exec, ("import os; os.kill(os.getpid(), 9)",)


def test_what_kills_three_times_is_not_tried_again(opened, llm):
    engine = opened()
    queued = []
    with pytest.raises(EngineError, match="it was at this request three times, which is not tried again"):
        threading.Timer(0.0, lambda: queued.append(engine.submit(PROMPT, SHORT))).start()
        engine.call("fingerprint", Poison())
    wait_for(lambda: queued)
    assert queued[0].result(60).token_ids == llm.generate(PROMPT, SHORT).token_ids
    assert kinds(engine).count("died") == 3


def test_a_process_that_does_not_come_up_is_down_until_it_does(opened, monkeypatch, llm):
    engine = opened()
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "_DELAYS", (0.0, 0.0, 0.0, 1.0))
        patch.setattr(opening, "EngineProcess", Dying)
        kill(engine)
        wait_for(lambda: engine.status.state == "down")
        with pytest.raises(EngineError, match="has not come up again yet; ask again later"):
            engine.generate(PROMPT)
    wait_for(lambda: engine.status.state == "ready", 60)
    assert engine.generate(PROMPT, SHORT).token_ids == llm.generate(PROMPT, SHORT).token_ids


def test_a_death_while_it_loads_is_said(tiny_path, monkeypatch):
    monkeypatch.setattr(opening, "EngineProcess", Dying)
    with pytest.raises(EngineError, match=r"the engine of m has died while it loaded the model \(signal 9"):
        opening.open_engine(tiny_path, "m")


def test_what_is_asked_while_it_loads_again_is_answered(opened, monkeypatch, llm):
    engine, n_left = opened(), [2]

    class Late(EngineProcess):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            n_left[0] -= 1
            if n_left[0] >= 0:
                self.kill()

    monkeypatch.setattr(opening, "EngineProcess", Late)
    kill(engine)
    wait_for(lambda: engine.status.state == "restarting")
    assert engine.generate(PROMPT, SHORT).token_ids == llm.generate(PROMPT, SHORT).token_ids
    assert engine.status.n_restarts == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [({"n_ctx": -1}, RequestError), ({"cache_type": "f8"}, RequestError), ({"no_such": 1}, TypeError)],
)
def test_errors_of_loading_are_those_of_an_llm(tiny_path, options, error):
    messages = []
    for load in (
        lambda: opening.open_engine(tiny_path, "m", options),
        lambda: nybble.LLM(tiny_path, **options),
    ):
        with pytest.raises(error) as caught:
            load()
        messages.append(str(caught.value))
    assert messages[0].replace("ExecutorOptions", "LLM") == messages[1]


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(8))
    with pytest.raises(GGUFFormatError, match=r"bad\.gguf"):
        opening.open_engine(tmp_path / "bad.gguf", "m")
    with pytest.raises((FileNotFoundError, nybble.NybbleError), match="no_such"):
        opening.open_engine(tmp_path / "no_such.gguf", "m")


@pytest.fixture
def own_path(tiny_path, tmp_path):
    path = tmp_path / "own.gguf"
    path.write_bytes(tiny_path.read_bytes())
    return path


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_file_that_is_written_to_is_not_served_any_more(opened, own_path, is_cut):
    engine = opened(own_path)
    running = engine.submit(PROMPT, LONG)
    next(running)
    if is_cut:
        os.truncate(own_path, 5000)
    else:
        with own_path.open("r+b") as file:
            file.seek(5000)
            file.write(b"other")
    with pytest.raises(EngineError, match="the file of tiny was written to or cut while it was served"):
        running.result(60)
    with pytest.raises(EngineError, match="start the server again"):
        engine.generate(PROMPT)
    assert engine.status.state == "lost" and kinds(engine).count("lost") == 1
    wait_for(lambda: engine.status.pid is None)


def test_a_change_is_noticed_by_who_only_looks(opened, own_path):
    engine = opened(own_path)
    os.utime(own_path, ns=(1, 1))
    assert engine.status.state == "lost"


def test_a_file_that_is_replaced_is_served_on(opened, own_path, llm, tmp_path):
    engine = opened(own_path)
    assert not engine.status.notice
    other = tmp_path / "other.gguf"
    other.write_bytes(b"something else")
    os.replace(other, own_path)
    for _ in range(2):
        assert engine.generate(PROMPT, SHORT).token_ids == llm.generate(PROMPT, SHORT).token_ids
    assert "another file is in the place" in engine.status.notice
    assert kinds(engine).count("replaced") == 1
    if sys.platform == "linux":  # its process can die, too
        kill(engine)
        wait_for(lambda: engine.status.n_restarts == 1)
        assert engine.generate(PROMPT, SHORT).token_ids == llm.generate(PROMPT, SHORT).token_ids


PROGRAM = """
import sys, time
from nybble.server.remote.open_engine import open_engine
engine = open_engine(sys.argv[1], "m", {"n_ctx": 512, "n_threads": 1})
print(engine.status.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_front(tiny_path, number):
    command = [sys.executable, "-c", PROGRAM, str(tiny_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
        pid = int(front.stdout.readline())
        assert not is_gone(pid)
        front.send_signal(number)
        front.wait(20)
    wait_for(lambda: is_gone(pid))


def test_it_ends_when_it_is_closed_and_heeds_no_signals_of_the_terminal(opened):
    engine = opened()
    pid = engine.status.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert os.getpgid(pid) != os.getpgid(0)
    assert engine.generate(PROMPT, SHORT).token_ids and engine.status.n_restarts == 0
    threads = threading.active_count()
    engine.close()
    assert is_gone(pid) and threading.active_count() == threads - 3


def test_causes_of_death_in_words():
    assert cause_of_death(1) == "exit code 1"
    assert cause_of_death(-signal.SIGBUS) == f"signal {int(signal.SIGBUS)} SIGBUS, perhaps its file was cut"
    assert cause_of_death(-77) == "signal 77"


def test_hundreds_of_cancelled_requests_leave_nothing(opened):
    engine = opened(n_seq_max=4)
    for i in range(300):
        request = engine.submit(PROMPT, LONG)
        if i % 3:
            request.cancel()
        del request  # whoever forgets it does not want it
    assert engine.generate(PROMPT, SHORT).token_ids
    wait_for(lambda: not engine._ledger._errands)


def test_a_call_that_does_not_wait_fails_with_its_engine(opened):
    engine = opened()
    assert engine.call_now("fingerprint") == engine.fingerprint()
    with pytest.raises(EngineError, match="ask again"):
        engine.call_now("fingerprint", Poison())
    assert kinds(engine).count("died") == 1
    assert engine.fingerprint()


def test_a_fault_of_the_supervisor_ends_all_waiting(opened, monkeypatch):
    engine = opened()
    running = engine.submit(PROMPT, LONG)
    next(running)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    monkeypatch.setattr(opening, "EngineProcess", None)  # it cannot be called
    kill(engine)
    with pytest.raises(EngineError):
        running.result(60)
    wait_for(lambda: engine.status.state == "lost")
    with pytest.raises(EngineError, match="by a fault of the server"):
        engine.generate(PROMPT)
