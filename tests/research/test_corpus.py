"""Captured corpora: what is in the shards, and what becomes of damaged ones."""

import json

import numpy as np
import pytest
import tiny_model

import nybble
from nybble import ModelError, RequestError, research
from nybble.cli import main
from nybble.research.shards import ids_of_whole
from nybble.research.windows import stream_windows

TEXTS = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10], [11, 12]]
NAME = "blk.1.resid_post"
THREE_TOKENS = 3 * 64 * 4  # a shard, in bytes


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with nybble.LLM(tiny_model.write(tmp_path_factory.mktemp("corpus") / "m.gguf"), n_ctx=64) as llm:
        yield llm


@pytest.fixture(params=["npz", "npy"])
def capture(request, llm, tmp_path):
    """Captures texts with the same settings each time."""

    def run(texts=TEXTS, **options):
        options = {"dtype": "float32", "form": request.param, "shard_bytes": THREE_TOKENS} | options
        return research.capture_corpus(llm, texts, NAME, tmp_path / "shards", **options)

    return run


def contents(shard):
    if shard.suffix == ".npz":
        with np.load(shard) as arrays:
            return dict(arrays)
    return {path.stem: np.load(path, mmap_mode="r") for path in shard.glob("*.npy")}


def files(shard):
    return [shard] if shard.is_file() else sorted(shard.iterdir())


def test_a_shard_holds_whole_texts(llm, capture):
    found = [contents(shard) for shard in capture(iter(TEXTS))]
    assert [f["ids"].tolist() for f in found] == [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11, 12]]
    assert [f["text"].tolist() for f in found] == [[0] * 3, [1] * 2, [2] * 4, [3, 4, 4]]
    for text, f in zip(TEXTS, found, strict=False):
        assert f[NAME][: len(text)].tobytes() == llm.trace(text, NAME)[NAME][: len(f["ids"])].tobytes()


@pytest.mark.parametrize("n_at_once", [1, 5])
def test_texts_that_run_side_by_side_give_the_same_files(llm, tmp_path, monkeypatch, n_at_once):
    def capture(folder):
        return research.capture_corpus(llm, TEXTS, [SMALL, LARGE], tmp_path / folder, form="npy")

    expected = capture("side by side")
    monkeypatch.setattr("nybble.research.corpus._TOKENS_AT_ONCE", n_at_once)
    for shard, other in zip(expected, capture("others"), strict=True):
        for file, same in zip(files(shard), files(other), strict=True):
            assert file.read_bytes() == same.read_bytes()


def test_float16_is_the_same_rounded(llm, capture):
    found = contents(capture(TEXTS[:1], dtype="float16")[0])[NAME]
    np.testing.assert_array_equal(found, llm.trace(TEXTS[0], NAME)[NAME].astype(np.float16))


@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "gone"])
def test_damaged_shards_are_done_again_and_others_are_left_alone(capture, how):
    shards = capture()
    before = [{name: np.array(array) for name, array in contents(shard).items()} for shard in shards]
    for file in files(shards[1]):
        raw = bytearray(file.read_bytes())
        if how == "gone":
            file.unlink()
            continue
        raw[len(raw) // 2] ^= 1
        file.write_bytes({"cut": raw[: len(raw) // 2], "flipped": raw, "emptied": b""}[how])
    untouched = [file.stat().st_mtime_ns for shard in (shards[0], *shards[2:]) for file in files(shard)]
    assert capture() == shards
    for shard, arrays in zip(shards, before, strict=True):
        assert {name: array.tobytes() for name, array in contents(shard).items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
    assert [f.stat().st_mtime_ns for shard in (shards[0], *shards[2:]) for f in files(shard)] == untouched


def test_no_damage_is_taken_for_a_shard(capture):
    random = np.random.default_rng(0)
    shard = capture()[0]
    for file in files(shard):
        raw = file.read_bytes()
        for at in random.integers(0, len(raw), 40):
            file.write_bytes(raw[:at])
            assert ids_of_whole(shard) is None
            changed = bytearray(raw)
            changed[at] ^= int(random.integers(1, 256))
            file.write_bytes(changed)
            found = ids_of_whole(shard)  # a header may have bytes that nobody reads
            assert found is None or found.tolist() == [1, 2, 3]
        file.write_bytes(raw)


def test_a_run_that_is_stopped_goes_on_where_it_was(llm, capture, monkeypatch):
    expected = [contents(shard) for shard in capture()]
    for shard in capture():
        for file in files(shard):
            file.unlink()
        if shard.is_dir():
            shard.rmdir()

    def stopped():
        yield from TEXTS[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(stopped())
    folder = capture(TEXTS)[0].parent
    assert not list(folder.glob("*.partial"))
    run, trace = [], llm.trace
    monkeypatch.setattr(llm, "trace", lambda texts, *a, **k: run.extend(texts) or trace(texts, *a, **k))
    found = [contents(shard) for shard in capture()]
    assert run == []
    assert [f[NAME].tobytes() for f in found] == [f[NAME].tobytes() for f in expected]


def test_a_folder_holds_one_capture(llm, capture):
    folder = capture()[0].parent
    for options, message in [
        ({"dtype": "float16"}, "`dtype` 'float32', not 'float16'"),
        ({"shard_bytes": 10**6}, "`shard_bytes` 768, not 1000000"),
        ({"texts": TEXTS[::-1]}, "activations of other texts"),
        ({"texts": TEXTS[:2]}, "more shards than these texts fill"),
    ]:
        with pytest.raises(RequestError, match=message):
            capture(**options)
    with pytest.raises(RequestError, match="holds another capture: `activations`"):
        research.capture_corpus(llm, TEXTS, "blk.0.resid_post", folder)
    (folder / "settings.json").write_text("{")
    with pytest.raises(RequestError, match="is not what a capture has written"):
        capture()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capture": "blk.0.attn_probs"}, "a shard cannot hold it"),
        ({"capture": "blk.0.resid_pots"}, "the nearest are blk.0.resid_post"),
        ({"capture": []}, "at least one activation"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"form": "zip"}, "form must be"),
        ({"shard_bytes": 5}, "at least one token, 256 bytes"),
        ({"shard_bytes": 5, "dtype": "float16"}, "at least one token, 128 bytes"),
    ],
)
def test_bad_requests_leave_no_folder(llm, tmp_path, options, message):
    with pytest.raises(RequestError, match=message):
        research.capture_corpus(llm, TEXTS, **{"capture": NAME, "folder": tmp_path / "x", **options})
    assert not (tmp_path / "x").exists()


def test_more_than_fits_in_memory_is_refused_with_its_size(llm, tmp_path, monkeypatch):
    monkeypatch.setattr("nybble.research.corpus.free_memory", lambda: 50_000)
    with pytest.raises(RequestError, match="a shard would take 99,840 bytes, but only 50,000 are free"):
        research.capture_corpus(llm, TEXTS, NAME, tmp_path, shard_bytes=100_000)
    assert list(tmp_path.iterdir()) == []


LARGE, SMALL = "blk.1.resid_post", "blk.0.resid_post"


@pytest.fixture
def large_at_11(llm, monkeypatch):
    """The residual stream of token 11, in the last but one shard, is larger than float16 can hold; -> what
    is run."""
    run, trace = [], llm.trace

    def enlarge(value, info):
        value[info.ids == 11] *= np.float32(1e6)

    def traced(texts, names, **options):
        run.extend(ids.tolist() for ids in texts)
        return trace(texts, names, {LARGE: enlarge}, **options)

    monkeypatch.setattr(llm, "trace", traced)
    return run


def test_float16_refuses_values_that_it_cannot_hold(llm, large_at_11, tmp_path):
    with pytest.raises(RequestError, match=r'float16 cannot hold; .*use dtype="float32" or "auto"'):
        research.capture_corpus(llm, TEXTS, LARGE, tmp_path / "x", dtype="float16")


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize("stop", [None, 2, 3, 5, "while running again"])
def test_auto_is_float32_in_all_shards_if_one_needs_it(
    llm, large_at_11, tmp_path, monkeypatch, caplog, form, stop
):
    """However often it was stopped, and wherever."""
    options = {"form": form, "shard_bytes": 2 * THREE_TOKENS}  # two activations, as if of float32

    def capture(texts, folder):
        return research.capture_corpus(llm, texts, [SMALL, LARGE], tmp_path / folder, **options)

    def stopped():
        yield from TEXTS[:stop]
        raise KeyboardInterrupt

    if stop == "while running again":
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("nybble.research.corpus.read_texts", stopped_at_once)
            capture(TEXTS, "shards")
    elif stop is not None:
        with pytest.raises(KeyboardInterrupt):
            capture(stopped(), "shards")
    found = [contents(shard) for shard in capture(iter(TEXTS), "shards")]
    exact = research.capture_corpus(
        llm, TEXTS, [SMALL, LARGE], tmp_path / "exact", dtype="float32", **options
    )
    assert len(found) == len(exact) == 4
    for f, e in zip(found, map(contents, exact), strict=True):
        assert f["ids"].tolist() == e["ids"].tolist() and f["text"].tolist() == e["text"].tolist()
        assert f[LARGE].dtype == np.float32 and f[LARGE].tobytes() == e[LARGE].tobytes()
        assert f[SMALL].dtype == np.float16 and f[SMALL].tobytes() == e[SMALL].astype(np.float16).tobytes()
    large_at_11.clear()
    caplog.clear()
    capture(TEXTS, "shards")
    assert not large_at_11 and not caplog.messages, "all is there"


def stopped_at_once(path):
    raise KeyboardInterrupt


def test_running_shards_again_is_announced(llm, large_at_11, tmp_path, caplog):
    research.capture_corpus(llm, TEXTS, [SMALL, LARGE], tmp_path / "x", shard_bytes=2 * THREE_TOKENS)
    assert caplog.messages == [f"running 3 shards again: float16 cannot hold later values of {LARGE}"]
    assert large_at_11 == [*TEXTS, *TEXTS[:3]]


def test_values_that_are_no_numbers_are_refused(llm, tmp_path, monkeypatch):
    trace = llm.trace
    monkeypatch.setattr(
        llm, "trace", lambda *a, **k: [dict.fromkeys(one, np.float32([[np.nan]])) for one in trace(*a, **k)]
    )
    with pytest.raises(ModelError, match=r"blk\.1\.resid_post is NaN or infinite at position 0 of text 0"):
        research.capture_corpus(llm, TEXTS, LARGE, tmp_path / "x")


def test_windows_of_a_text_that_comes_in_pieces(llm):
    pieces = ["the cat sat\n", "on the mat\n", "", "and"]
    ids = [i for piece in pieces for i in llm.tokenizer.encode(piece, add_special=False)]
    found = list(stream_windows(llm, iter(pieces), 5))
    assert np.concatenate(found).tolist() == ids
    assert {len(window) for window in found[:-1]} == {5} and len(found[-1]) <= 5


def test_each_window_begins_with_bos_where_the_model_wants_it(tmp_path):
    with nybble.LLM(tiny_model.write(tmp_path / "m.gguf", "gemma3"), n_ctx=16) as llm:
        ids = llm.tokenizer.encode("the cat and the hat", add_special=False)
        found = list(stream_windows(llm, ["the cat and the hat"], 4))
        assert {int(window[0]) for window in found} == {llm.tokenizer.bos_id}
        assert np.concatenate([window[1:] for window in found]).tolist() == ids
        with pytest.raises(RequestError, match="more than the context holds"):
            stream_windows(llm, ["a"], 17)


def test_the_command(llm, tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("the cat sat on the mat\n" * 20)
    command = ["capture", str(llm.path), "-f", str(text), "-a", NAME, "blk.0.ffn_act", "-o", str(out)]
    assert main([*command, "--window", "16", "--dtype", "float32"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"1 shard in {out}\n"
    found = contents(out / "00000.npz")
    assert sorted(found) == ["blk.0.ffn_act", NAME, "ids", "text"]
    expected = llm.trace(found["ids"][:16], NAME)[NAME]
    assert found[NAME][:16].tobytes() == expected.tobytes()
    assert json.loads((out / "settings.json").read_text())["activations"] == [NAME, "blk.0.ffn_act"]
    assert main([*command, "--window", "8"]) == 1
    assert "holds another capture: --dtype 'float32', not 'auto'" in capsys.readouterr().err
    text.write_bytes(b"the cat\n\xff")
    assert main([*command[:-1], str(tmp_path / "other"), "--window", "16"]) == 1
    assert "not a text in UTF-8: byte 0xff at 8" in capsys.readouterr().err


def test_a_capture_that_fails_leaves_its_complete_shards(capture, tmp_path, monkeypatch):
    """And what they belong to; before the first there is nothing, not even the folder."""

    def stopped(n):
        yield from TEXTS[:n]
        raise KeyboardInterrupt

    folder = tmp_path / "shards"
    for n, left in [(0, 0), (1, 0), (2, 1), (4, 3)]:
        with pytest.raises(KeyboardInterrupt):
            capture(stopped(n))
        assert folder.exists() == (left > 0)
        found = sorted(path.name for path in folder.glob("*"))
        assert len(found) == (left + 1 if left else 0) and ("settings.json" in found) == (left > 0)
    (folder / "00007.npz.0123.partial").write_bytes(b"of a run that was killed")
    capture()
    assert not list(folder.glob("*.partial"))
