"""The counts of an engine are those of what happens."""

import threading

import pytest

import nybble
from nybble import SamplingParams
from nybble.engine.speculation.draft_lengths import DraftLengths
from nybble.testing import MockBackend, tiny_model

PAGE = 64


def params(n, **others):
    return SamplingParams(max_tokens=n, ignore_eos=True, **others)


def opened(**options):
    return nybble.LLM(tiny_model(), **{"n_ctx": 512, "n_threads": 2, **options})


def test_tokens_steps_and_pages():
    with opened() as llm:
        before = llm.stats()
        n = before.n_pages
        assert before == llm.stats() and n == before.n_pages_free >= 512 // PAGE
        llm.generate([5] * 100, params(1))
        after = llm.stats()
        assert (after.n_steps, after.n_tokens) == (1, 100)
        assert (after.n_pages_used, after.n_pages_cached, after.n_pages_free) == (0, 2, n - 2)
        stream = llm.stream([6] * 130, params(8))
        next(stream)
        during = llm.stats()
        assert (during.n_running, during.n_waiting) == (1, 0)
        assert during.n_pages_used == 3 and during.cache_usage == 3 / n
        stream.cancel()
        assert llm.stats().n_running == llm.stats().n_pages_used == 0


def test_prefixes():
    ids = [5 + i % 50 for i in range(200)]
    with opened() as llm:
        llm.generate(ids, params(2))
        assert (llm.stats().n_prefix_queries, llm.stats().n_prefix_hits) == (200, 0)
        again = llm.generate(ids, params(2))
        llm.generate(ids, params(2, cache_prompt=False))
        stats = llm.stats()
        assert (stats.n_prefix_queries, stats.n_prefix_hits) == (400, again.n_cached_tokens)
        assert again.n_cached_tokens == 199


def test_preemptions():
    """Two sequences that grow into a pool that has room for one and a half."""
    with opened(n_pool_tokens=512, n_seq_max=2) as llm:
        texts = [llm.submit([number] * 200, params(180)) for number in (5, 6)]
        for text in texts:
            text.result()
        assert llm.stats().n_preemptions > 0


def test_drafts(monkeypatch):
    monkeypatch.setattr(DraftLengths, "choose", lambda self, n_rows, texts: [n for _, n in texts])
    with opened(draft="ngram") as llm:
        llm.generate("of the you", params(60, logit_bias={5: 100}))
        stats = llm.stats()
        assert 0 < stats.n_accepted <= stats.n_drafted
        n_first = stats.n_prefix_queries  # the tokens of the prompt
        assert stats.n_tokens == n_first + stats.n_steps - 1 + stats.n_drafted
        assert stats.n_steps == 60 - stats.n_accepted
    with opened() as llm:
        llm.generate("of the you of the you", params(8))
        assert llm.stats().n_drafted == 0


def test_it_waits_for_no_step():
    with opened() as llm:
        asked, go_on = threading.Event(), threading.Event()

        def slow(value, info):
            asked.set()
            assert go_on.wait(60)

        running = llm.submit([5] * 10, params(1), edit={"output_norm": slow})
        assert asked.wait(60)
        assert llm.stats().n_running == 1
        go_on.set()
        running.result()


def test_the_reference_and_a_mock_have_them_too():
    with opened(executor="reference") as llm:
        llm.generate([5, 6, 7], params(2))
        assert (llm.stats().n_steps, llm.stats().n_tokens) == (2, 4)
        assert llm.stats().cache_usage == 0
    with pytest.raises(nybble.NybbleError, match="closed"):
        llm.stats()
    assert MockBackend().stats().n_steps == 0
