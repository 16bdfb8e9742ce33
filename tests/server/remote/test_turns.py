"""Steps of several processes, in turn."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from served import wait_for

from nybble import SamplingParams
from nybble.server.remote.turn_takers import TURN_TAKERS
from nybble.server.remote.turns import Turns

if sys.platform != "win32":
    import fcntl

PROMPT = "the of and to you"
SOME = SamplingParams(max_tokens=30, ignore_eos=True, seed=1)
HOLDER = """
import sys, time
from pathlib import Path
from nybble.server.remote.turns import Turns
Turns(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(600)
"""


def is_waited_for(folder):
    """Does somebody wait for the turn that another has?"""
    with (folder / "next").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_who_waits_is_next(tmp_path):
    order, one = [], Turns(tmp_path)

    def other():
        two = Turns(tmp_path)
        two.take()
        order.append("two")
        two.end()
        two.close()

    for _ in range(5):
        order.clear()
        one.take()
        thread = threading.Thread(target=other)
        thread.start()
        wait_for(lambda: is_waited_for(tmp_path))
        order.append("one")
        one.end()
        one.take()  # at once again
        order.append("one")
        one.end()
        thread.join(20)
        assert order == ["one", "two", "one"]
    one.close()


def test_a_turn_ends_with_its_holder(tmp_path):
    turns = Turns(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "taken\n"
        taken = threading.Event()
        waiting = threading.Thread(target=lambda: (turns.take(), taken.set()), daemon=True)
        waiting.start()
        assert not taken.wait(0.1)
        holder.kill()
        holder.wait(20)
        assert taken.wait(20)
    turns.end()
    turns.close()


def test_engines_take_turns_where_there_are_several(opened, llm):
    assert TURN_TAKERS._engines == []
    one = opened(name="one")
    assert one._supervisor._turns.folder is None
    two = opened(name="two")
    folder = one._supervisor._turns.folder
    assert folder is not None and two._supervisor._turns.folder == folder
    whole = llm.generate(PROMPT, SOME).token_ids
    assert [each.submit(PROMPT, SOME).result(60).token_ids for each in (one, two)] == [whole, whole]
    turns = Turns(Path(folder))
    turns.take()
    waiting = one.submit(PROMPT, SOME)
    with pytest.raises(TimeoutError):
        waiting.result(0.3)
    assert not waiting.token_ids
    turns.end()
    turns.close()
    assert waiting.result(60).token_ids == whole
    two.close()
    assert one._supervisor._turns.folder is None
    assert one.generate(PROMPT, SOME).token_ids == whole
