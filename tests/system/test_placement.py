"""On which CPUs threads run: those that are named, and by nodes, on stand-ins for /sys."""

import os
from pathlib import Path

import pytest

from nybble.errors import RequestError
from nybble.system import placement
from nybble.system.cores import listed_cpus
from nybble.system.placement import numa_nodes, on_cpus, place_threads


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch) -> Path:
    """Eight CPUs; node 1 has no memory yet and no CPU, node 10 is listed before node 2 by its name."""
    for node, cpus in {0: "0-3\n", 1: "\n", 2: "4-5\n", 10: "6-7\n"}.items():
        folder = tmp_path / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus)
    (tmp_path / "sys/devices/system/node/node_other").mkdir()
    monkeypatch.setattr(placement, "_allowed", lambda: frozenset(range(8)))
    monkeypatch.setattr(placement, "_current_cpu", lambda: 5)
    return tmp_path


def test_nodes_come_in_the_order_of_their_numbers(two_nodes):
    assert numa_nodes(root=two_nodes) == [{0, 1, 2, 3}, {4, 5}, {6, 7}]
    assert numa_nodes({1, 7}, two_nodes) == [{1}, {7}]
    assert numa_nodes(root=two_nodes / "elsewhere") == []


def test_distributed_threads_take_the_nodes_in_turns(two_nodes):
    placed = place_threads(4, "distribute", root=two_nodes)
    assert placed.cpus == ({0, 1, 2, 3}, {4, 5}, {6, 7}, {0, 1, 2, 3})
    assert placed.all_cpus == set(range(8))
    assert place_threads(2, "distribute", [3, 7], two_nodes).cpus == ({3}, {7})


def test_isolated_threads_stay_where_the_caller_is(two_nodes):
    placed = place_threads(None, "isolate", root=two_nodes)
    assert placed.all_cpus == {4, 5} and 1 <= placed.n_threads <= 2
    assert place_threads(3, "isolate", [0, 7], two_nodes).cpus == ({0},) * 3  # not at 5, which is left out


def test_one_node_changes_nothing_and_is_said_once(tmp_path, monkeypatch, capsys):
    placement._say_once.cache_clear()
    (tmp_path / "sys/devices/system/node/node0").mkdir(parents=True)
    (tmp_path / "sys/devices/system/node/node0/cpulist").write_text("0-7\n")
    monkeypatch.setattr(placement, "_allowed", lambda: frozenset(range(8)))
    for _ in range(2):
        for strategy in ("isolate", "distribute"):
            assert place_threads(2, strategy, root=tmp_path).cpus is None
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("changes nothing" in line for line in said)
    assert place_threads(2, root=tmp_path).cpus is None and capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no threads")
def test_a_thread_is_bound_in_the_context_and_comes_back():
    before = os.sched_getaffinity(0)
    cpu = min(before)
    with on_cpus(place_threads(1, cpu_affinity=[cpu]).all_cpus):
        assert os.sched_getaffinity(0) == {cpu}
    with on_cpus(None):
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("wrong", [[], "0", 0, [0.0], [True], [-1], [8], [0] * 10_000, range(10**12), b"1"])
def test_cpus_that_there_are_not(wrong, two_nodes):
    with pytest.raises(RequestError, match=r"^cpu_affinity must be"):
        place_threads(1, cpu_affinity=wrong)


def test_a_system_that_binds_no_threads(monkeypatch):
    monkeypatch.setattr(placement, "_allowed", frozenset)
    with pytest.raises(RequestError, match="binds no threads"):
        place_threads(1, cpu_affinity=[0])
    assert place_threads(3, "distribute").cpus is None


@pytest.mark.parametrize("wrong", ["numactl", "", None, 1, ["isolate"]])
def test_a_strategy_that_there_is_not(wrong):
    with pytest.raises(RequestError, match=r"^numa must be"):
        place_threads(1, wrong)


def test_lists_of_cpus():
    assert listed_cpus("0-3,8") == {0, 1, 2, 3, 8} and listed_cpus("") == set()
    for wrong in ("a", "1-", "-1", "0-1-2", "0-99999999999", "8192"):
        with pytest.raises(ValueError):
            listed_cpus(wrong)
