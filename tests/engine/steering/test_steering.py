"""Steering: edits that are data have a key, share what is computed, and change nobody else."""

import pickle

import numpy as np
import pytest
from accounts import require_free
from state_kinds import KINDS, N_CTX, write_model

import nybble
from nybble import RequestError, SamplingParams
from nybble.engine.speculation.drafter import Drafter
from nybble.engine.steering.added_directions import AddedDirections
from nybble.engine.steering.control_vector import ControlVector, steering
from nybble.testing import tiny_model

IDS = list(range(30, 50))
PROMPT = "of the other hand there is " * 8
PARAMS = SamplingParams(max_tokens=8, ignore_eos=True)


@pytest.fixture
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2) as llm:
        yield llm


def vector(seed, layers=(0, 1)):
    random = np.random.default_rng(seed)
    return ControlVector({i: random.standard_normal(64).astype(np.float32) for i in layers})


def test_it_is_what_a_function_would_do(llm):
    """Several vectors, each with its own strength and layers."""
    a, b = vector(1), vector(2)
    edits = steering([(a, 2.5, None), (b, -1.25, range(1, 2))])
    total = {
        0: np.float32(2.5) * a.directions[0],
        1: np.float32(2.5) * a.directions[1] + np.float32(-1.25) * b.directions[1],
    }

    def added(direction):
        return lambda value, info: value + direction

    by_hand = {f"blk.{i}.resid_post": added(direction) for i, direction in total.items()}
    expected = llm.trace(PROMPT, "blk.*", edit=by_hand)
    found = llm.trace(PROMPT, "blk.*", edit=pickle.loads(pickle.dumps(edits)))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert np.array_equal(found.logits, expected.logits)
    text = llm.generate(PROMPT, PARAMS, edit=edits).token_ids
    assert text == llm.generate(PROMPT, PARAMS, edit=by_hand).token_ids
    assert text != llm.generate(PROMPT, PARAMS).token_ids


def test_the_same_steering_shares_what_is_computed_and_no_other_does(llm):
    """Same bits with a warm cache as with a cold one."""
    edits = vector(1).edits(3.0)
    first = llm.generate(PROMPT, PARAMS, edit=edits)
    plain = llm.generate(PROMPT, PARAMS)
    other = llm.generate(PROMPT, PARAMS, edit=vector(1).edits(2.0))
    again = llm.generate(PROMPT, PARAMS, edit=vector(1).edits(3.0))
    assert first.n_cached_tokens == plain.n_cached_tokens == other.n_cached_tokens == 0
    assert again.n_cached_tokens > 60 and again.token_ids == first.token_ids
    assert llm.generate(PROMPT, PARAMS).n_cached_tokens > 60


def test_neighbours_in_a_step_are_not_steered(llm):
    edits = vector(3).edits(4.0)
    alone = [llm.generate(PROMPT, PARAMS, edit=edit).token_ids for edit in (None, edits, None)]
    together = llm.generate([PROMPT] * 3, PARAMS, edit=[None, edits, None])
    assert [out.token_ids for out in together] == alone


def test_a_key_says_all_and_is_read_again():
    a, b = vector(1), vector(2)
    (edit, *_) = steering([(a, 0.1, range(1)), (b, 2, range(1))]).values()
    known = {**a.hashes(), **b.hashes()}
    again = AddedDirections.of_key(edit.cache_key, known)
    assert again.cache_key == edit.cache_key and np.array_equal(again.total, edit.total)
    keys = {
        each["blk.0.resid_post"].cache_key
        for each in (a.edits(), b.edits(), a.edits(2.0), steering([(a, 1.0, None), (b, 1.0, None)]))
    }
    assert len(keys) == 4
    for key in ("", "add ", "add x", "mul 1.0*ab", f"add one*{next(iter(a.hashes()))}"):
        assert AddedDirections.of_key(key, known) is None


def test_what_does_not_fit_together_is_refused():
    narrow = ControlVector({1: np.ones(4, np.float32)})
    with pytest.raises(RequestError, match="all are of one size"):
        steering([(vector(1), 1.0, None), (narrow, 1.0, None)])
    with pytest.raises(RequestError, match=r"none of the chosen layers \(7 to 8\); it has 0, 1"):
        steering([(vector(1), 1.0, range(7, 9))])
    with pytest.raises(RequestError, match="must be finite"):
        steering([(vector(1), float("nan"), None)])


class Known:
    """Drafts of a text that is known, with every third token wrong."""

    def __init__(self, ids, wrong):
        self.ids, self.wrong, self.n = ids, wrong, 0

    def extend(self, ids):
        self.n += len(ids)

    def propose(self, n):
        found = self.ids[self.n : self.n + n]
        return [self.wrong if (self.n + i) % 3 == 0 else id_ for i, id_ in enumerate(found)]


def drafting(llm, monkeypatch, ids, wrong):
    """Lets texts of the model have drafts of `ids`, four at a time."""
    monkeypatch.setattr(llm._draft_source, "drafter", lambda: Drafter(Known(ids, wrong)))
    lengths = llm.scheduler._speculation._lengths
    monkeypatch.setattr(lengths, "choose", lambda n_rows, texts: [4 for _ in texts])


class Picky(AddedDirections):
    """Adds a direction, refuses a token, and knows whether it is at work on the prompt."""

    refused = 7
    asked: list[tuple[bool, int]]

    def __call__(self, values, info):
        self.asked.append((info.is_prefill, int(info.positions[-1])))
        if self.refused in info.ids:
            raise ValueError("not this one")
        super().__call__(values, info)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_drafts_change_no_steered_token(tmp_path, monkeypatch, kind, temperature):
    """Right ones and wrong ones, and whatever the states that have to go back."""
    path = write_model(tmp_path / "model.gguf", kind)
    params = SamplingParams(max_tokens=24, ignore_eos=True, temperature=temperature, seed=5, logprobs=0)
    with nybble.LLM(path, n_ctx=N_CTX, n_threads=1) as llm:
        directions = {1: np.random.default_rng(3).standard_normal(llm.config.n_embd).astype(np.float32)}
        edits = ControlVector(directions).edits(2.0)
        expected = llm.generate(IDS, params, edit=edits)
        assert expected.logprobs != llm.generate(IDS, params).logprobs
    with nybble.LLM(path, n_ctx=N_CTX, n_threads=1, draft="ngram") as llm:
        drafting(llm, monkeypatch, [*IDS, *expected.token_ids], wrong=3)
        found = llm.generate(IDS, params, edit=edits)
        stats = llm.stats()
    assert found.token_ids == expected.token_ids
    assert [each.logprob for each in found.logprobs] == [each.logprob for each in expected.logprobs]
    assert 4 <= stats.n_accepted < stats.n_drafted


def test_an_edit_that_refuses_a_draft_does_not_end_the_text(monkeypatch):
    """It refuses the same as without drafts: tokens of the text alone."""
    edits = {"blk.0.resid_post": Picky(((0.5, np.ones(64, np.float32)),))}
    Picky.asked = []
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=1, draft="ngram") as llm:
        ids = [20]
        expected = llm.generate(ids, SamplingParams(max_tokens=12, ignore_eos=True, n_draft=0), edit=edits)
        assert Picky.refused not in expected.token_ids
        params = SamplingParams(max_tokens=12, ignore_eos=True, cache_prompt=False)
        drafting(llm, monkeypatch, [*ids, *expected.token_ids], wrong=expected.token_ids[-1])
        Picky.asked.clear()
        assert llm.generate(ids, params, edit=edits).token_ids == expected.token_ids
        assert llm.stats().n_accepted > 2
        assert Picky.asked[0] == (True, 0), "the prompt has no drafts in its piece"
        drafting(llm, monkeypatch, [*ids, *expected.token_ids], wrong=Picky.refused)
        assert llm.generate(ids, params, edit=edits).token_ids == expected.token_ids
        drafting(llm, monkeypatch, [Picky.refused] * 99, wrong=Picky.refused)
        with pytest.raises(ValueError, match="not this one"):
            llm.generate([20, Picky.refused, 20], params, edit=edits)
        require_free(llm)


def test_an_edit_without_a_key_sees_the_tokens_of_the_text_alone(monkeypatch):
    seen = []
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=1, draft="ngram") as llm:
        drafting(llm, monkeypatch, [7] * 99, wrong=7)
        edits = {"blk.0.resid_post": lambda value, info: seen.extend(info.ids.tolist())}
        text = llm.generate(IDS, PARAMS, edit=edits).token_ids
        assert seen == [*IDS, *text[:-1]] and llm.stats().n_drafted == 0
