"""An LLM on the numba executor, and what happens around it.

Its file is cut or replaced (HOSTILE.md G118 to G121), its process forks (N8), somebody pickles it.
"""

import copy
import gc
import os
import pickle
import signal
import threading
import weakref
from pathlib import Path

import pytest
import tiny_model
from stopwatch import HANG

import nybble
from nybble.errors import ModelError, NybbleError

PARAMS = nybble.SamplingParams(max_tokens=12)
PROMPT = "the other hand is in here"


@pytest.fixture
def path(tmp_path):
    return tiny_model.write(tmp_path / "tiny.gguf", weight_format="Q8_0")


@pytest.fixture
def llm(path):
    with nybble.LLM(path, n_threads=2) as llm:
        yield llm


# --- other processes


def test_who_pickles_or_copies_is_told_what_to_do(llm, path):
    for copied in (llm, llm.generate, llm.stream(PROMPT), llm.scheduler, {"model": llm}):
        for attempt in (pickle.dumps, copy.deepcopy):
            with pytest.raises(
                nybble.RequestError, match=r"cannot be pickled .* \(llm.path\) and make an LLM"
            ):
                attempt(copied)
    with nybble.load_gguf(path) as file, pytest.raises(nybble.RequestError, match="pass its path"):
        pickle.dumps(file)
    with nybble.LLM(pickle.loads(pickle.dumps(llm.path)), n_threads=2) as other:
        assert other.generate(PROMPT, PARAMS).token_ids == llm.generate(PROMPT, PARAMS).token_ids


# --- the file


def test_a_home_in_a_path(path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(path.parent))
    for named in ("~/tiny.gguf", Path("~/tiny.gguf")):
        with nybble.LLM(named, executor="reference") as llm, nybble.load_gguf(named) as file:
            assert llm.path == path and file.path == str(path)
            nybble.write_gguf("~/written.gguf", {}, {"x": file.tensors["token_embd.weight"]})
        assert nybble.Tokenizer.from_gguf(named).n_vocab > 0
        nybble.quantize_gguf("~/tiny.gguf", "~/quantized.gguf", "Q4_0", overwrite=True)
    assert {"written.gguf", "quantized.gguf"} < {file.name for file in path.parent.iterdir()}


def in_place(path):
    """Writes the same bytes over the file's first ones: only the time changes."""
    with open(path, "r+b") as file:
        head = file.read(64)
        file.seek(0)
        file.write(head)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


CHANGES = {
    "G118 cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "G118 emptied": lambda path: os.truncate(path, 0),
    "G119 cut in the last page": lambda path: os.truncate(path, path.stat().st_size - 1),
    "G120 written in place": in_place,
    "grown": lambda path: os.truncate(path, path.stat().st_size + 4096),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_is_noticed_at_the_next_request(llm, path, change):
    llm.generate(PROMPT, PARAMS)
    change(path)
    for request in (llm.generate, llm.logits, llm.stream):
        with pytest.raises(ModelError, match="changed") as caught:
            request(PROMPT)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "removed"])
def test_g121_a_file_put_in_its_place_changes_nothing(llm, path, tmp_path, replace):
    expected = llm.generate(PROMPT, PARAMS).token_ids
    if replace:
        os.replace(tiny_model.write(tmp_path / "other.gguf", weight_format="Q4_0", seed=7), path)
    else:
        path.unlink()
    assert llm.generate(PROMPT, PARAMS).token_ids == expected


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
def test_g136_loading_and_closing_leaves_nothing_behind(path):
    def use():
        with nybble.LLM(path, n_threads=2) as llm:
            llm.generate(PROMPT, PARAMS)

    def held():
        gc.collect()  # what other tests have left, too
        with open("/proc/self/maps") as maps:
            return (
                threading.active_count(),
                len(os.listdir("/proc/self/fd")),
                sum(str(path) in m for m in maps),
            )

    use()
    before = held()
    for _ in range(60):
        use()
    assert held() == before
    assert before[2] == 0


@pytest.mark.parametrize("executor", ["numba", "reference"])
def test_closing_frees_memory_at_once(path, executor):
    """Without waiting for the garbage collector, and even if somebody keeps the LLM."""
    llm = nybble.LLM(path, executor=executor)
    llm.generate(PROMPT, PARAMS)
    held = weakref.ref(llm.scheduler.executor)
    gc.disable()
    try:
        llm.close()
        assert held() is None
    finally:
        gc.enable()


# --- forks


def in_a_child(work):
    """Forks; the child calls `work`, which returns its exit code, and is ended if it hangs."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            signal.alarm(int(HANG))
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
no_warning = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forks
@no_warning
def test_n8_a_forked_child_gets_an_error_even_while_the_parent_works(llm):
    stream = llm.stream(PROMPT, PARAMS)
    next(stream)
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            llm.generate(PROMPT, PARAMS)

    busy = threading.Thread(target=keep_busy)
    busy.start()

    def use():
        for number, request in enumerate(
            (lambda: llm.generate(PROMPT), lambda: llm.logits(PROMPT), lambda: next(stream))
        ):
            try:
                request()
                return 10 + number
            except NybbleError as error:
                if "before a fork" not in str(error):
                    return 20 + number
        llm.close()
        return 0

    try:
        assert [in_a_child(use) for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        busy.join()


@forks
@no_warning
def test_n8_a_forked_child_may_load_the_model_again(llm, path):
    expected = llm.generate(PROMPT, PARAMS).token_ids

    def load():
        with nybble.LLM(path, n_threads=2) as again:
            return 0 if again.generate(PROMPT, PARAMS).token_ids == expected else 1

    assert in_a_child(load) == 0
    assert llm.generate(PROMPT, PARAMS).token_ids == expected
