"""The process that renders: its limits, and what happens after it has died."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nybble.engine.chat import render_process
from nybble.engine.chat.renderer import Renderer, RendererDiedError

HELLO = {"source": "{{ x }}", "variables": {"x": "é"}}


@pytest.fixture
def renderer():
    made = Renderer()
    yield made
    made.close()


def test_it_answers(renderer):
    assert renderer.ask(HELLO) == {"text": "é"}
    assert renderer.ask({"source": "{{ x }}{% set y = 1 %}{{ y }}{{ z.a }}"}) == {"names": ["x", "z"]}
    assert renderer.ask({"source": "{{", "variables": {}})["error"] == "syntax"
    assert renderer.ask({"source": "{{ raise_exception('no') }}", "variables": {}}) == {
        "error": "refused",
        "message": "no",
    }


def test_it_is_started_again(renderer):
    renderer.ask(HELLO)
    first = renderer._process
    first.kill()
    first.wait()
    assert renderer.ask(HELLO) == {"text": "é"} and renderer._process is not first


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of processes")
def test_its_limits_hold_where_the_sandbox_has_none(renderer, monkeypatch):
    """A program in the place of the renderer does what no template can."""
    harm = {
        "loops": "while True: pass",
        "allocates": "x = bytearray(1 << 40)",
        "dies": "import os; os._exit(0)",
    }
    for name, program in harm.items():
        monkeypatch.setattr(
            "nybble.engine.chat.renderer._PROGRAM",
            "import sys; sys.path[:] = {path!r}; import {package}.render_process as p\n"
            f"def reply(request):\n    {program}\n"
            "p.reply_to = reply\np._MAX_SECONDS = 0\np.main()",
        )
        renderer.close()
        started = time.monotonic()
        with pytest.raises(RendererDiedError):
            renderer.ask(HELLO)
        assert time.monotonic() - started < 9, name
    monkeypatch.undo()
    assert renderer.ask(HELLO) == {"text": "é"}


def test_threads_share_it(renderer):
    texts = []

    def ask(i):
        texts.append((i, renderer.ask({"source": "{{ x }}", "variables": {"x": str(i)}})["text"]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == [(i, str(i)) for i in range(16)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_fork_has_its_own(renderer):
    renderer.ask(HELLO)
    child = os.fork()
    if child == 0:
        is_well = renderer.ask(HELLO) == {"text": "é"}
        renderer.close()
        os._exit(0 if is_well else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert renderer.ask(HELLO) == {"text": "é"}


def test_it_ends_with_its_program():
    program = (
        "from nybble.engine.chat.renderer import RENDERER as r\n"
        "r.ask({'source': 'a', 'variables': {}}); print(r._process.pid)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        for _ in range(50):
            os.kill(int(out.stdout), 0)
            time.sleep(0.1)


def test_without_a_python_to_start_it_renders_here(renderer, monkeypatch):
    monkeypatch.setattr(sys, "executable", None)
    assert renderer.ask(HELLO) == {"text": "é"} and renderer._process is None


def test_integers_are_bounded():
    """Dividing long ones would take the square of their length."""
    reply = render_process.reply_to({"source": "{{ ((10 ** 64) ** 64) ** 64 }}", "variables": {}})
    assert reply == {"error": "limit", "message": "an integer has more than 16,384 bits"}


def test_ctrl_c_leaves_it_alone(renderer):
    if sys.platform == "win32":
        pytest.skip("Windows has no such signal")
    renderer.ask(HELLO)
    os.kill(renderer._process.pid, signal.SIGINT)
    assert renderer.ask(HELLO) == {"text": "é"}
