"""`nybble doctor`: what it finds here, and what it advises elsewhere."""

import copy
import json

import pytest

from nybble.cli import machine as machine_module, main
from nybble.cli.advice import advice
from nybble.system.cores import default_threads

GOOD = {
    "packages": {"nybble": "1.0", "numpy": "2.0"},
    "processor": {"compiles": True, "products": "vnni"},
    "threads": {"cpus": 8, "numa_nodes": [[0, 1, 2, 3, 4, 5, 6, 7]], "busy_elsewhere": 0.01},
    "memory": {"free": 8 << 30},
    "cache": {
        "folder": "/home/a b/.cache/nybble",
        "exists": True,
        "owner": "a (you)",
        "is_private": True,
        "is_writable": True,
        "old_kernels": {"n": 0, "bytes": 0},
    },
    "environment": {},
}


@pytest.fixture
def quick(monkeypatch):
    """Nothing is measured."""
    monkeypatch.setattr(machine_module, "read_bandwidth", lambda n_threads: 1e10 * n_threads)
    monkeypatch.setattr(machine_module, "busy_elsewhere", lambda: 0.0)


def test_it_shows_every_topic(quick, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if line[:1].strip()}
    for topic in ("nybble", "Python", "packages", "processor", "kernels", "threads", "memory", "cache"):
        assert topic in lines
    n = default_threads()
    assert (
        f"{n} by default" in lines["threads"] and f"{10 * n}.0 GB/s read by {n} threads" in lines["bandwidth"]
    )
    assert text.rstrip().endswith("nothing to change") or "\nwhat to change\n- " in text


def test_json_has_the_facts_and_the_advice(quick, capsys, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.gguf").write_bytes(bytes(1000))
    monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path))
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cache"]["folder"] == str(tmp_path) and found["environment"]["NYBBLE_CACHE"] == str(tmp_path)
    assert found["cache"]["parts"]["models"] == {"files": 1, "bytes": 1000}
    assert found["packages"]["numba"] and found["memory"]["bandwidth_of_one"] == 1e10
    assert isinstance(found["advice"], list)


def test_it_measures_memory():
    found = machine_module._bandwidth()
    assert found == {} if machine_module.JIT_DISABLED else min(found.values()) > 1e8


def test_a_wrong_variable_is_no_crash(quick, monkeypatch, capsys):
    from nybble.kernels.target.target import host_target

    monkeypatch.setenv("NYBBLE_DOT", "abacus")
    host_target.cache_clear()
    try:
        assert main(["doctor"]) == 0
    finally:
        host_target.cache_clear()
    assert "NYBBLE_DOT='abacus' is not a dot product path" in capsys.readouterr().out


def test_a_user_without_a_home(quick, monkeypatch, capsys):
    def nowhere():
        raise FileNotFoundError("this user has no home folder")

    monkeypatch.setattr(machine_module, "cache_folder", nowhere)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("this user has no home folder") == 2


def test_where_all_is_well_there_is_nothing_to_change():
    assert advice(GOOD) == []


@pytest.mark.parametrize(
    ("topic", "facts", "said"),
    [
        ("cache", {"is_writable": False}, "set NYBBLE_CACHE to a folder of your own"),
        ("cache", {"is_private": False}, "chmod go-w '/home/a b/.cache/nybble'"),
        ("cache", {"old_kernels": {"n": 3, "bytes": 10**9}}, "rm -r '/home/a b/.cache/nybble'/kernels"),
        ("processor", {"compiles": False}, "NUMBA_DISABLE_JIT"),
        ("processor", {"products": "generic"}, "-cpu host"),
        ("environment", {"NYBBLE_DOT": "avx2", "NUMBA_CPU_NAME": "haswell"}, "NYBBLE_DOT and NUMBA_CPU_NAME"),
        ("threads", {"busy_elsewhere": 2.0}, "keep 2.0 of 8 CPUs busy"),
        ("threads", {"numa_nodes": [[0], [1]]}, "--numa distribute"),
        ("memory", {"free": 10**8}, "--weights mapped"),
        ("packages", {"numpy": None}, "pip install numpy"),
        ("packages", {"nybble": None}, "pip install nybble"),
    ],
)
def test_advice(topic, facts, said):
    ill = copy.deepcopy(GOOD)
    ill[topic].update(facts)
    (sentence,) = advice(ill)
    assert said in sentence
