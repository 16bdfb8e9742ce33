"""How a model is loaded where memory is short."""

from types import SimpleNamespace

import pytest

import nybble
from nybble import ModelError, RequestError
from nybble.engine.executors.numba.footprint import Footprint
from nybble.server.remote import fallback
from nybble.server.remote.child import _loaded
from nybble.server.remote.fallback import affordable
from nybble.server.remote.messages import Notice, Start


@pytest.fixture
def free(monkeypatch):
    """Sets how much memory is free."""

    def set_free(n_bytes):
        monkeypatch.setattr(fallback, "free_memory", lambda: n_bytes)

    return set_free


@pytest.fixture
def need(monkeypatch):
    """What the model takes, by the type of its keys and values."""
    states = {"f32": 4000, "f16": 2000, "q8_0": 1000, "q4_0": 500}

    def made(plan, n_ctx, n_batch, cache_type):
        return Footprint(n_ctx, cache_type, 10_000, states[cache_type], 100, 10, 64)

    monkeypatch.setattr(fallback, "footprint", made)


ONE = {"n_ctx": 1024, "n_seq_max": 1}


@pytest.mark.parametrize("n_bytes", [None, 2**40])
def test_nothing_is_changed_where_memory_is_enough(tiny_path, free, n_bytes):
    free(n_bytes)
    assert affordable(str(tiny_path), ONE, True) == (ONE, "")


@pytest.mark.parametrize(
    ("n_bytes", "weights", "cache_type"),
    [
        (12_099, "mapped", "f16"),
        (2100, "mapped", "f16"),
        (2099, "mapped", "q8_0"),
        (1099, "mapped", "q4_0"),
        (600, "mapped", "q4_0"),
    ],
)
def test_weights_are_mapped_first_and_keys_and_values_take_less_then(
    tiny_path, free, need, n_bytes, weights, cache_type
):
    free(12_100)
    assert affordable(str(tiny_path), ONE, True) == (ONE, "")
    free(n_bytes)
    options, said = affordable(str(tiny_path), ONE, True)
    assert options == {**ONE, "weights": weights, "cache_type": cache_type}
    assert "so its weights stay in the file" in said and str(tiny_path) in said
    assert said.endswith(f"and keys and values are {cache_type}") == (cache_type != "f16")
    with nybble.LLM(tiny_path, **options) as llm:
        assert llm.weights == "mapped" and llm.cache_type == cache_type


def test_what_was_asked_for_is_kept_as_long_as_it_fits(tiny_path, free, need):
    free(3000)
    asked = {**ONE, "cache_type": "f32"}
    assert affordable(str(tiny_path), asked, True)[0]["cache_type"] == "f16"
    free(4100)
    assert affordable(str(tiny_path), asked, True)[0]["cache_type"] == "f32"
    assert affordable(str(tiny_path), {**ONE, "weights": "mapped"}, True)[1] == ""


@pytest.mark.parametrize("more", [{"n_seq_max": 2}, {"n_pool_tokens": 2048}])
def test_more_sequences_and_a_larger_pool_take_more(tiny_path, free, need, more):
    free(12_100)
    assert affordable(str(tiny_path), ONE | more, True)[1]


def test_what_fits_in_no_way_is_refused(tiny_path, free):
    free(1000)
    with pytest.raises(ModelError, match="MB are free, too few even with mapped weights"):
        affordable(str(tiny_path), ONE, True)
    with pytest.raises(ModelError, match="too few"):
        affordable(str(tiny_path), {**ONE, "mlock": True}, True)


def test_it_can_be_told_not_to(tiny_path, free, need):
    free(12_099)
    with pytest.raises(ModelError, match="or let it fall back"):
        affordable(str(tiny_path), ONE, False)
    assert affordable(str(tiny_path), {**ONE, "executor": "reference"}, False)[1] == ""


def test_what_an_llm_refuses_is_refused(tiny_path):
    with pytest.raises(RequestError, match="n_ctx must be"):
        affordable(str(tiny_path), {"n_ctx": 0}, True)


def test_it_is_said_before_it_loads(tiny_path, free, need):
    free(12_099)
    sent = []
    pipe = SimpleNamespace(send=sent.append)
    child = _loaded(Start(str(tiny_path), ONE, True, 0, True), pipe)
    child._llm.close()
    notice, loaded = sent
    assert isinstance(notice, Notice) and notice.text == loaded.notice and "mapped" not in ONE.values()
    assert loaded.info.path == str(tiny_path)
