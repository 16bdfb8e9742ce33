"""`nybble bench`: which work is timed, what is said about it, and in which form."""

import csv
import io
import json

import pytest
import tiny_model

import nybble
from nybble import RequestError
from nybble.cli import main
from nybble.engine import benchmark
from nybble.engine.benchmark import Benchmark, Speed, SpeedTest, measure, share

REFERENCE = ["--executor", "reference", "-r", "2", "-t", "1"]


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("bench") / "tiny.gguf")


@pytest.fixture(autouse=True)
def small_stream(monkeypatch):
    monkeypatch.setattr(benchmark, "_READ_BYTES", 1 << 20)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (SpeedTest("prefill", 7), [7]),
        (SpeedTest("decode", 3), [1, 1, 1]),
        (SpeedTest("prefill", 4, 5), [5, 4]),
        (SpeedTest("decode", 2, 5), [5, 1, 1]),
    ],
)
def test_what_runs(tiny_path, monkeypatch, test, expected):
    """Decoding starts with an empty cache, or after `depth` tokens."""
    with nybble.LLM(tiny_path, executor="reference") as llm:
        measure(llm, [test], repetitions=1)  # what is warmed up is not looked at
        sizes, run_step = [], llm.scheduler.executor.step

        def step(pieces):
            sizes.append(sum(len(piece.ids) for piece in pieces))
            return run_step(pieces)

        monkeypatch.setattr(llm.scheduler.executor, "step", step)
        benchmark._seconds_of(llm, test)
    assert sizes == expected


def test_what_cannot_run(tiny_path):
    with nybble.LLM(tiny_path, executor="reference", n_ctx=16) as llm:
        for test, message in (
            (SpeedTest("decode", 4, 13), r"13 \+ 4 tokens do not fit in n_ctx=16"),
            (SpeedTest("decode", 0), "tokens of decode must be at least 1, not 0"),
            (SpeedTest("prefill", 1, -1), "depth must be at least 0, not -1"),
        ):
            with pytest.raises(RequestError, match=message):
                measure(llm, [test])
        with pytest.raises(RequestError, match="repetitions must be at least 1"):
            measure(llm, [SpeedTest("prefill", 1)], repetitions=0)


def test_lists_make_all_combinations(tiny_path, capsys):
    arguments = ["bench", str(tiny_path), str(tiny_path), "-p", "8,4", "-n", "2", "-d", "0,3", *REFERENCE]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 2 and found[0]["n_threads"] == 1 and found[0]["compile_seconds"] == 0
    tests = [(s["phase"], s["n_tokens"], s["depth"]) for s in found[1]["speeds"]]
    at_zero = [("prefill", 8), ("prefill", 4), ("decode", 2)]
    assert tests == [(*test, depth) for depth in (0, 3) for test in at_zero]
    for speed in found[0]["speeds"]:
        figures = speed["tokens_per_second"]
        assert len(speed["seconds"]) == 2 and figures["slowest"] <= figures["median"] <= figures["fastest"]
    assert found[0]["weight_bytes_per_token"] > 0 and found[0]["stream_bandwidth_gb_per_second"] > 0


def test_as_csv_and_as_a_table(tiny_path, capsys):
    arguments = ["bench", str(tiny_path), "-p", "0", "-n", "2,3", *REFERENCE]
    assert main([*arguments, "--csv"]) == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["phase"], first["tokens"], second["tokens"]) == ("decode", "2", "3")
    assert float(first["slowest"]) <= float(first["tokens/s"]) <= float(first["fastest"])
    assert main([*arguments, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| model") and set(lines[1]) == {"|", "-"} and "decode 3" in lines[3]
    assert main(arguments) == 0 and "loading took" in capsys.readouterr().out


def test_as_a_picture(tiny_path, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "speeds.png"
    assert main(["bench", str(tiny_path), "-p", "4", "-n", "2", *REFERENCE, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_it_warns_of_what_spoils_figures(tiny_path, capsys, monkeypatch):
    command = __import__("nybble.cli.commands.bench", fromlist=["bench"])
    monkeypatch.setattr(command, "default_threads", lambda: 2)
    monkeypatch.setattr(command, "busy_elsewhere", lambda: 1.5)
    said = "\n".join(command._warnings([1, 3]))
    assert "3 threads on 2 cores" in said and "keep 1.5 CPUs busy" in said
    monkeypatch.setattr(command, "busy_elsewhere", lambda: 0.01)
    assert not list(command._warnings([1, 2]))


def test_a_share_above_the_whole_is_marked():
    assert (share(1, 2), share(3, 2), share(1, 0)) == ("50%", "150%!", "")
    fast = Speed(SpeedTest("decode", 4), (2.0, 1.0, 4.0))
    assert (fast.median, fast.slowest, fast.fastest) == (2.0, 1.0, 4.0)
    found = Benchmark("m.gguf", "numba", 1, [fast], 0.0, 0.0, 10**9, 1.0, None)
    command = __import__("nybble.cli.commands.bench", fromlist=["bench"])
    table = "\n".join(command._table([found], markdown=False))
    assert "2.0 GB/s" in table and "200%!" in table and "!: more than memory streamed" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "4,x"], "expected a number, or several as 1,2,4, not '4,x'"),
        (["-p", "0", "-n", "0"], "nothing to measure"),
        (["-d", "-1"], "-d must be at least 0, not -1"),
        (["--plot", "speeds.doc"], "cannot write a picture to speeds.doc"),
    ],
)
def test_bad_options(tiny_path, arguments, message, capsys):
    try:
        assert main(["bench", str(tiny_path), *arguments, *REFERENCE]) == 1
    except SystemExit as error:
        assert error.code == 2
    assert message in capsys.readouterr().err
