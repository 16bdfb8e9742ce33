"""Scores of continuations, against softmaxes of the logits of whole texts."""

import numpy as np
import pytest
import state_kinds

import nybble
from nybble import ContextLengthError, RequestError
from nybble.engine.executors.base import StepRows
from nybble.engine.scheduler.prefix import PAGE_SIZE as PAGE
from nybble.testing import tiny_model


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512) as llm:
        yield llm


def expected(llm, context, continuation):
    """The log-probabilities of a continuation, and whether each is the largest, without a scheduler that
    shares anything."""
    rows = llm.logits([*context, *continuation])[len(context) - 1 : -1].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    places = np.arange(len(continuation))
    return logprobs[places, continuation], (rows.argmax(axis=1) == continuation).all()


def pairs_of(rng, n_vocab, lengths=(1, 2, PAGE, PAGE + 1, 2 * PAGE + 20)):
    """Contexts that begin alike, each with several continuations: short and long ones, and the same twice."""
    common = rng.integers(3, n_vocab, max(lengths)).tolist()
    pairs = []
    for n in lengths:
        context = [*common[: n - 1], int(rng.integers(3, n_vocab))]
        texts = [rng.integers(3, n_vocab, m).tolist() for m in (1, 1, 2, PAGE + 3)]
        pairs += [(context, text) for text in (*texts, texts[-1], [*texts[-1], 5])]
    return pairs


@pytest.mark.parametrize("kind", state_kinds.KINDS)
def test_scores_are_softmaxes_of_the_logits(kind, tmp_path):
    """For each kind of layer, whatever is taken over from pairs before."""
    rng = np.random.default_rng(1)
    with nybble.LLM(state_kinds.write_model(tmp_path / "m.gguf", kind), n_ctx=256, n_seq_max=4) as llm:
        pairs = pairs_of(rng, llm.config.n_vocab)
        shuffled = [pairs[i] for i in rng.permutation(len(pairs))]
        first, again = llm.score(shuffled), llm.score(shuffled)
        for (context, continuation), score, same in zip(shuffled, first, again, strict=True):
            logprobs, is_greedy = expected(llm, context, continuation)
            assert score.logprobs == pytest.approx(logprobs, abs=2e-6) and score.is_greedy == is_greedy
            assert np.array_equal(score.logprobs, same.logprobs), "the same bits, from what is computed"
            assert score.logprob == score.logprobs.sum()


def test_what_is_generated_is_greedy(llm):
    out = llm.generate("the other", nybble.SamplingParams(max_tokens=8))
    best, other = llm.score([("the other", out.token_ids), ("the other", [*out.token_ids[:-1], 5])])
    assert best.is_greedy and not other.is_greedy and best.logprob > other.logprob


def test_texts_are_encoded(llm):
    """A context as a prompt is, with the names of control tokens; a continuation by itself."""
    context, text = "<|im_start|>user\nthe other", " hand"
    (score,) = llm.score([(context, text)])
    ids = llm.tokenizer.encode(context, parse_special=True), llm.tokenizer.encode(text, add_special=False)
    assert ids[0][0] == llm.tokenizer.bos_id and len(ids[1]) > 1
    assert np.array_equal(score.logprobs, llm.score([ids])[0].logprobs)


def test_a_context_is_run_once(llm, monkeypatch):
    rng = np.random.default_rng(2)
    shots = rng.integers(3, 250, 5 * PAGE).tolist()
    pairs = [(shots + rng.integers(3, 250, PAGE).tolist(), [3, 4]) for _ in range(8)]
    pairs = [(context, [*continuation, i]) for context, continuation in pairs for i in range(4)]
    n_run = 0
    step = type(llm.scheduler.executor).step

    def counted(self, pieces):
        nonlocal n_run
        n_run += sum(len(piece.ids) for piece in pieces)
        return step(self, pieces)

    monkeypatch.setattr(type(llm.scheduler.executor), "step", counted)
    llm.score(pairs[::-1])
    distinct = len(shots) + 8 * PAGE + 8 * 4 * 2
    assert distinct <= n_run < 2 * distinct < sum(map(len, (context for context, _ in pairs))) / 4


def test_more_pairs_than_seats_and_little_memory(llm):
    rng = np.random.default_rng(3)
    pairs = [(rng.integers(3, 250, 60).tolist(), rng.integers(3, 250, 9).tolist()) for _ in range(40)]
    with nybble.LLM(llm.path, n_ctx=128, n_pool_tokens=128, n_seq_max=3) as small:
        scores = small.score(pairs, progress=True)
    assert [score.logprob for score in scores] == [score.logprob for score in llm.score(pairs)]


def test_the_logits_of_a_step_are_few(llm, monkeypatch):
    """However long a continuation is."""
    monkeypatch.setattr("nybble.engine.scoring.score_job._MAX_LOGITS", 10 * llm.config.n_vocab)
    most = 0
    step = type(llm.scheduler.executor).step

    def watched(self, pieces):
        nonlocal most
        most = max(most, *(len(piece.rows) for piece in pieces))
        return step(self, pieces)

    monkeypatch.setattr(type(llm.scheduler.executor), "step", watched)
    rng = np.random.default_rng(4)
    context, continuation = rng.integers(3, 250, 50).tolist(), rng.integers(3, 250, 200).tolist()
    (score,) = llm.score([(context, continuation)])
    assert most == 10
    assert score.logprobs == pytest.approx(expected(llm, context, continuation)[0], abs=2e-6)


def test_a_pair_may_fill_the_context(llm):
    """The last token is not run."""
    context, continuation = [5] * 500, [6] * 13
    assert len(llm.score([(context, continuation)])[0].logprobs) == 13
    message = r"pairs\[1\]: the context has 500 tokens and the continuation 14, but all of them but the last"
    with pytest.raises(ContextLengthError, match=message):
        llm.score([(context, continuation), (context, [*continuation, 6])])


@pytest.mark.parametrize(
    "pairs, message",
    [
        ("text", r"pairs must be a list of \(context, continuation\), not 'text'"),
        ([("a", "b"), ("a", "b", "c")], r"pairs must be a list of \(context, continuation\)"),
        ([("a", "b"), ("", "b")], r"pairs\[1\]: the prompt is empty"),
        ([("a", "b"), ("a", "")], r"pairs\[1\]: the continuation is empty"),
        ([("a", [])], r"pairs\[0\]: the continuation is empty"),
        ([("a", [10**6])], r"pairs\[0\]: token id 1000000 at index 0 is outside the vocabulary"),
    ],
)
def test_what_is_no_pair(llm, pairs, message):
    with pytest.raises(RequestError, match=message):
        llm.score(pairs)
    assert llm.score([]) == []


def test_a_model_that_gives_nan(llm, monkeypatch):
    step = type(llm.scheduler.executor).step

    def broken(self, pieces):
        return [StepRows.of(np.full_like(found.values, np.nan)) for found in step(self, pieces)]

    with monkeypatch.context() as patched, pytest.raises(nybble.ModelError, match=r"pairs\[0\]: .*NaN"):
        patched.setattr(type(llm.scheduler.executor), "step", broken)
        llm.score([("the", "n")])
    assert llm.score([("the", "n")])[0].logprob < 0


def test_it_is_shown_in_short(llm):
    (score,) = llm.score([("the", "n")])
    assert repr(score).startswith(f"Score(logprob={score.logprob:.4f}, is_greedy=")
