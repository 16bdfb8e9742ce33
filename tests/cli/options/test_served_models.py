"""The options that say which models are served, and in how much memory."""

import argparse
import math

import pytest

from nybble.cli.options import served_models
from nybble.cli.options.engine import add_engine_options, add_pooling_option
from nybble.cli.options.sampling import add_sampling_options
from nybble.cli.options.served_models import add_models_options, registry_of
from nybble.errors import RequestError
from nybble.testing import tiny_model

FREE = 2 * 10**9


@pytest.fixture(autouse=True)
def free(monkeypatch):
    monkeypatch.setattr(served_models, "free_memory", lambda: FREE)


def registry(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="*")
    parser.add_argument("--chat-template")
    for add in (add_models_options, add_pooling_option, add_sampling_options, add_engine_options):
        add(parser)
    words = [*map(str, words), "--ctx", "64", "--executor", "reference"]
    failures = []
    made = registry_of(parser.parse_args(words), lambda *_, **__: None, lambda *error: failures.append(error))
    made.close()
    assert not failures
    return made


@pytest.fixture
def folder(tmp_path):
    tiny_model(tmp_path / "a.gguf", n_layers=1)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("8G", 8 * 10**9),
        ("8g", 8 * 10**9),
        ("8GB", 8 * 10**9),
        ("1.5 GiB", 3 << 29),
        ("900M", 900 * 10**6),
        ("2T", 2 * 10**12),
        ("700000K", 700 * 10**6),
        ("600000000", 600 * 10**6),
        ("600000000B", 600 * 10**6),
    ],
)
def test_sizes(folder, text, n_bytes):
    assert registry(folder, "--memory", text).loader.budget == n_bytes


@pytest.mark.parametrize("text", ["", "G", "8X", "-8G", "8iB", "1e9", "0", "0.1", "∞"])
def test_what_is_no_size(folder, text):
    with pytest.raises(RequestError, match="memory must be a size, as in 8G"):
        registry(folder, f"--memory={text}")


def test_what_is_free_is_the_budget(folder, monkeypatch):
    assert registry(folder).loader.budget == FREE * 9 // 10
    monkeypatch.setattr(served_models, "free_memory", lambda: None)
    assert registry(folder).loader.budget is None
    monkeypatch.setattr(served_models, "free_memory", lambda: 1000)
    made = registry(folder / "a.gguf")  # what was given is loaded all the same
    assert made.names == ["a"] and made.loader.budget > 10**8
    with pytest.raises(RequestError, match=r"no model that can be served: a: it needs \d+ MB of memory"):
        registry(folder)


def test_names_and_folders(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    tiny_model(other / "b.gguf", n_layers=1)
    assert registry(other, f"mine={folder / 'a.gguf'}", folder / "a.gguf").names == ["mine", "a", "b"]
    assert registry(other, other).names == ["b"]
    with pytest.raises(RequestError, match="two models are called a: give one another name"):
        registry(folder / "a.gguf", folder / "a.gguf")
    with pytest.raises(RequestError, match=f"x={other}: the models of a folder are called as their files"):
        registry(f"x={other}")


def test_what_is_said_before_anything_is_loaded(folder, tmp_path):
    with pytest.raises(RequestError, match="temperature must be"):
        registry(folder, "--temp", "-1")
    with pytest.raises(RequestError, match='keep_alive must be seconds, as 300, or a time, as "5m"'):
        registry(folder, "--keep-alive", "soon")
    with pytest.raises(RequestError, match=r"memory=1000000 bytes is not enough for a: they need \d+; allow"):
        registry(folder / "a.gguf", "--memory", "1M")
    with pytest.raises(FileNotFoundError):
        registry(folder / "none.gguf")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match=f"{empty} has no models: put GGUF files there"):
        registry(empty)
    for n in range(7):
        (empty / f"half{n}.gguf").write_bytes((folder / "a.gguf").read_bytes()[:5000])
    with pytest.raises(RequestError, match=r"no model that can be served: half0: .*; and 2 more$"):
        registry(empty)


def test_how_long_they_stay(folder):
    assert registry(folder, "--keep-alive", "2m")._entries["a"].usual_keep_alive == 120
    assert registry(folder)._entries["a"].usual_keep_alive == 300
    assert registry(folder / "a.gguf")._entries["a"].usual_keep_alive == math.inf
