"""Options that say where a model runs, and in which memory."""

import os
import threading
from pathlib import Path

import pytest
import tiny_model

import nybble
from nybble.cli import main
from nybble.engine.executors.numba.team import Program, Team
from nybble.system import locked_memory, placement

PARAMS = nybble.SamplingParams(max_tokens=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("options") / "tiny.gguf")


@pytest.fixture(scope="module")
def expected(path) -> list[int]:
    with nybble.LLM(path, n_threads=1) as llm:
        return llm.generate([1, 2, 3], PARAMS).token_ids


def test_locked_weights_and_cache_give_the_same_tokens(path, expected, monkeypatch):
    made = []

    class Recorded(locked_memory.LockedMemory):
        def __init__(self, *arrays) -> None:
            super().__init__(*arrays)
            made.append(self)

    monkeypatch.setattr("nybble.engine.executors.numba.executor.LockedMemory", Recorded)
    for weights in ("packed", "mapped"):
        with nybble.LLM(path, n_ctx=32, n_seq_max=1, weights=weights, mlock=True) as llm:
            assert llm.generate([1, 2, 3], PARAMS).token_ids == expected
            (memory,) = made
            assert memory.n_bytes > llm.weight_bytes_per_token
        assert made.pop().n_bytes == 0, "closing the model unlocks it"


def test_no_thread_is_left_over_where_nothing_can_be_locked(path, monkeypatch):
    def refuse(*arrays):
        raise nybble.NybbleError("mlock=True: no")

    monkeypatch.setattr("nybble.engine.executors.numba.executor.LockedMemory", refuse)
    before = threading.active_count()
    with pytest.raises(nybble.NybbleError, match="mlock=True"):
        nybble.LLM(path, n_threads=3, mlock=True)
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no threads")
def test_workers_are_bound_and_the_caller_is_only_while_it_works(path, expected):
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with nybble.LLM(path, n_threads=2, cpu_affinity=[cpu]) as llm:
        assert llm.generate([1, 2, 3], PARAMS).token_ids == expected
        workers = [t for t in threading.enumerate() if t.name == "nybble-1"]
        assert workers and all(os.sched_getaffinity(t.native_id) == {cpu} for t in workers)
        assert os.sched_getaffinity(0) == before
    with nybble.LLM(path, cpu_affinity=[cpu]) as llm:
        assert llm.n_threads == 1


@pytest.mark.skipif(len(placement._allowed()) < 2, reason="there is one CPU")
def test_each_thread_of_a_team_has_its_own_cpus():
    first, second = sorted(placement._allowed())[:2]
    team = Team(Program([], []), 2, [{first}, {second}])
    try:
        (worker,) = team._workers
        assert os.sched_getaffinity(worker.native_id) == {second}
    finally:
        team.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_gpu_layers": 1}, 'n_gpu_layers must be 0, not 1: .*"numba" or executor="reference"'),
        ({"n_gpu_layers": -1}, "n_gpu_layers must be 0"),
        ({"n_gpu_layers": None}, "n_gpu_layers must be 0"),
        ({"mlock": 1}, "mlock must be True or False"),
        ({"numa": "numactl"}, "numa must be"),
        ({"cpu_affinity": [10_000]}, "cpu_affinity must be"),
        ({"mlock": True, "executor": "reference"}, 'go with executor="numba" only'),
        ({"numa": "isolate", "executor": "reference"}, 'go with executor="numba" only'),
    ],
)
def test_what_is_refused(options, message, path):
    with pytest.raises(nybble.RequestError, match=message):
        nybble.LLM(path, **options)


def test_the_command_line_has_them_all(path, capsys):
    cpu = str(min(placement._allowed(), default=0))
    words = ["run", str(path), "the", "-n", "4", "-b", "64", "--numa", "disabled", "-ngl", "0"]
    assert main([*words, "--mlock", "--cpu-affinity", cpu]) == 0
    with nybble.LLM(path) as llm:
        assert capsys.readouterr().out == llm.generate("the", nybble.SamplingParams(max_tokens=4)).text + "\n"
    assert main([*words, "-ngl", "9"]) == 1 and "-ngl must be 0, not 9" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--cpu-affinity", "0-99999999999"])
    assert "expected numbers of CPUs, as in 0-3,8" in capsys.readouterr().err
