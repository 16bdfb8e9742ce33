"""Wherever threads are started the system may refuse one: a NybbleError says so, and nothing is left over."""

import re
import sys
import threading
import warnings
from pathlib import Path

import pytest
import tiny_model

import nybble
from nybble.cli import main
from nybble.engine.executors.choose import WeightsName
from nybble.errors import NybbleError
from nybble.kernels.jit.kernel import JIT_DISABLED
from nybble.system.notices import progress_bar

REFUSED = re.compile(
    r"n_threads=3: no thread can be started beside the [1-4] that run \(can't start new thread\);"
    r" take fewer, or raise the limit of memory"
)


class Limit:
    """How many more threads the system starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        self._start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self._counted(thread))

    def _counted(self, thread: threading.Thread) -> None:
        if self.n == 0:
            raise RuntimeError("can't start new thread")
        self.n -= 1
        self._start(thread)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return Limit(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "tiny.gguf", n_embd=256, n_ff=256)


def test_one_thread_is_there_already(model: Path, limit: Limit) -> None:
    with nybble.LLM(model, n_threads=1) as llm:
        assert len(llm.generate([1, 2, 3], nybble.SamplingParams(max_tokens=2)).token_ids) == 2


@pytest.mark.parametrize("weights", ["packed", "mapped"])
@pytest.mark.parametrize("n", range(6))
def test_loading_a_model(model: Path, weights: WeightsName, n: int, limit: Limit) -> None:
    """Three threads pack, or two if they are quick; then two are workers."""
    limit.n, before = n, threading.active_count()
    n_needed = (3 if weights == "packed" else 0) + (0 if JIT_DISABLED else 2)
    try:
        nybble.LLM(model, n_threads=3, weights=weights).close()
    except NybbleError as error:
        assert REFUSED.match(str(error)) and n < n_needed
    else:
        assert n > 0 or n_needed == 0
    assert threading.active_count() == before


@pytest.mark.skipif(JIT_DISABLED, reason="without machine code there are no threads")
@pytest.mark.parametrize("n", [0, 1])
def test_workers_that_were_started_are_ended(model: Path, n: int, limit: Limit) -> None:
    limit.n, before = n, threading.active_count()
    with pytest.raises(NybbleError, match=REFUSED):
        nybble.LLM(model, n_threads=3, weights="mapped")
    assert threading.active_count() == before


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_quantizing(model: Path, n: int, limit: Limit, tmp_path: Path) -> None:
    limit.n, before, target = n, threading.active_count(), tmp_path / "target.gguf"
    try:
        nybble.quantize_gguf(model, target, "Q8_0", n_threads=3)
    except NybbleError as error:
        assert REFUSED.match(str(error)) and n < 3
        assert list(tmp_path.iterdir()) == [model]
    else:
        assert n > 0 and target.exists()
    assert threading.active_count() == before


def test_a_progress_bar_needs_none(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with warnings.catch_warnings(action="error"), progress_bar("title", 5) as bar:
        bar.update(3)
        assert (bar.n, bar.disable) == (3, False)


def test_the_command_line_names_its_option(
    model: Path, limit: Limit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "target.gguf")
    for command in (["run", str(model), "hello"], ["quantize", str(model), target, "Q8_0"]):
        assert main([*command, "-t", "2"]) == 1
        assert "nybble: error: -t 2: no thread can be started beside" in capsys.readouterr().err
    assert main(["quantize", str(model), target, "Q8_0", "-t", "1"]) == 1
    assert "(can't start new thread); raise the limit of memory" in capsys.readouterr().err
