"""`LLM.sequence`: the logits of tokens that the caller chooses, forks and truncations."""

import threading

import numpy as np
import pytest
import tiny_model
from accounts import require_free
from state_kinds import KINDS, N_CTX, write_model
from stopwatch import HANG

import nybble
from nybble import NybbleError, RequestError, SamplingParams


@pytest.fixture(scope="module", params=KINDS)
def llm(request, tmp_path_factory):
    """One with a state of each kind."""
    path = write_model(tmp_path_factory.mktemp("kinds") / "m.gguf", request.param)
    with nybble.LLM(path, n_ctx=N_CTX, n_seq_max=3, n_pool_tokens=2 * N_CTX, n_threads=2) as llm:
        yield llm
        require_free(llm)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tiny_model.write(tmp_path_factory.mktemp("tiny") / "m.gguf", weight_format="Q8_0")
    with nybble.LLM(path, n_seq_max=2, n_pool_tokens=256) as llm:
        yield llm
        require_free(llm)


def ids_of(llm, n, seed=0):
    return np.random.default_rng(seed).integers(0, llm.config.n_vocab, n).tolist()


def last(llm, ids, edit=None):
    return llm.logits(ids, edit=edit)[-1].tobytes()


def test_logits_of_what_is_appended(llm):
    ids = ids_of(llm, 150)
    with llm.sequence(ids[:70]) as sequence:
        assert sequence.logits.shape == (llm.config.n_vocab,) and sequence.logits.dtype == np.float32
        assert sequence.logits.tobytes() == last(llm, ids[:70])
        sequence.append(ids[70])
        sequence.append(np.int32(ids[71]))
        assert sequence.logits.tobytes() == last(llm, ids[:72])
        sequence.append(ids[72:149])
        sequence.append([])
        sequence.append(np.array(ids[149:]))
        assert len(sequence) == 150 and sequence.ids.tolist() == ids and sequence.ids.dtype == np.int32
        assert sequence.logits.tobytes() == last(llm, ids)


def test_greedy_choices_are_those_of_generate(llm):
    ids = ids_of(llm, 12)
    expected = llm.generate(ids, SamplingParams(max_tokens=10)).token_ids
    with llm.sequence(ids) as sequence:
        for token_id in expected:
            assert sequence.logits.argmax() == token_id or token_id not in llm.tokenizer.eog_ids
            sequence.append(token_id)


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 100, 139])
def test_truncated_sequences(llm, n):
    """Windows have let go of what they cannot see, and recurrences have no way back: these run again."""
    ids = ids_of(llm, 140)
    with llm.sequence(ids) as sequence:
        sequence.run()
        sequence.truncate(140)
        sequence.truncate(n)
        assert sequence.ids.tolist() == ids[:n]
        assert sequence.logits.tobytes() == last(llm, ids[:n])
        sequence.append([1, 2, 3])
        sequence.truncate(n + 1)
        assert sequence.logits.tobytes() == last(llm, [*ids[:n], 1])


def test_forks_go_their_own_ways(llm):
    """More of them than there are seats, of which some begin where nothing has run yet."""
    ids = ids_of(llm, 80)
    root = llm.sequence(ids)
    unrun = root.fork()
    root.run()
    forks = [root.fork() for _ in range(4)] + [unrun]
    for i, fork in enumerate(forks):
        fork.append([i, i + 1])
    root.append(9)
    for _ in range(2):  # once more: the seats have changed hands
        for i, fork in enumerate(forks):
            assert fork.logits.tobytes() == last(llm, [*ids, i, i + 1])
            fork.append(5)
            assert fork.logits.tobytes() == last(llm, [*ids, i, i + 1, 5])
            fork.truncate(82)
    assert root.logits.tobytes() == last(llm, [*ids, 9])
    inner = forks[0].fork()
    forks[0].close()
    root.close()
    assert inner.logits.tobytes() == last(llm, [*ids, 0, 1])
    for one in (*forks, inner):
        one.close()


def test_what_is_computed_is_shared(tiny):
    tiny.scheduler.seating.index.clear()
    ids = ids_of(tiny, 100)
    with tiny.sequence(ids) as first:
        first.run()
        assert first.n_cached_tokens == 0
    with tiny.sequence(ids) as second, tiny.sequence(ids, cache_prompt=False) as third:
        assert second.logits.tobytes() == third.logits.tobytes() == last(tiny, ids)
        assert (second.n_cached_tokens, third.n_cached_tokens) == (99, 0)


def test_sequences_run_with_others(tiny):
    """Two have something to run; it takes one step for both."""
    steps = []
    before = tiny.scheduler.executor.before_step
    tiny.scheduler.executor.before_step = lambda: steps.append(1)
    with tiny.sequence([1, 2, 3]) as first, tiny.sequence([4, 5]) as second:
        first.run()
        second.run()
        first.append(7)
        second.append(8)
        steps.clear()
        first.run()
        second.run()
        assert len(steps) == 1
        assert second.logits.tobytes() == last(tiny, [4, 5, 8])
    tiny.scheduler.executor.before_step = before


def test_edits_of_a_sequence(tiny):
    """They tell the prompt from the rest, in forks that have not run, too."""

    def steer(value, info):
        value[:, :5] += np.float32(1 if info.is_prefill else -2)

    edit = {"blk.0.resid_post": steer}
    out = tiny.generate([70, 71], SamplingParams(max_tokens=6), edit=edit)
    with tiny.sequence([70, 71], edit=edit) as sequence:
        for token_id in out.token_ids[:3]:
            assert sequence.logits.argmax() == token_id
            sequence.append(token_id)
        expected = sequence.logits.tobytes()
    with tiny.sequence([70, 71], edit=edit) as unrun:
        unrun.append(out.token_ids[:3])
        with unrun.fork() as fork:
            assert fork.logits.tobytes() == unrun.logits.tobytes() == expected


def test_an_edit_that_fails_can_be_tried_again(tiny):
    failures = [LookupError("mine")]

    def fail(value, info):
        if failures and 2 in info.positions:
            raise failures.pop()

    with tiny.sequence([70, 71], edit={"blk.0.resid_post": fail}) as sequence:
        sequence.run()
        sequence.append(72)
        with pytest.raises(LookupError, match="mine"):
            sequence.run()
        assert sequence.logits.tobytes() == last(tiny, [70, 71, 72])


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda s: s.append(-1), "token id -1 at index 0 is outside the vocabulary"),
        (lambda s: s.append([1, 10**6]), "token id 1000000 at index 1"),
        (lambda s: s.append(1.5), "a prompt is a text or a list of token ids, not 1.5|token ids"),
        (lambda s: s.append("the"), "token ids are integers"),
        (lambda s: s.append(True), "token ids are integers"),
        (lambda s: s.append([1] * 126), "a sequence of 3 tokens has no room for 126 more: .* n_ctx=128"),
        (lambda s: s.truncate(0), "n_tokens must be from 1 to 3, not 0"),
        (lambda s: s.truncate(4), "n_tokens must be from 1 to 3, not 4"),
        (lambda s: s.truncate(-1), "n_tokens must be from 1 to 3, not -1"),
        (lambda s: s.truncate(2.0), "n_tokens must be from 1 to 3, not 2.0"),
        (lambda s: s.truncate("2"), "n_tokens must be from 1 to 3, not '2'"),
    ],
)
def test_requests_that_cannot_be(tiny, work, message):
    with tiny.sequence([1, 2, 3]) as sequence:
        expected = sequence.logits.tobytes()
        with pytest.raises(RequestError, match=message):
            work(sequence)
        assert sequence.ids.tolist() == [1, 2, 3] and sequence.logits.tobytes() == expected


def test_prompts_that_cannot_be(tiny):
    for prompt, message in [("", "empty"), ([1] * 129, "129 tokens"), ([["a"]], "flat list")]:
        with pytest.raises(RequestError, match=message):
            tiny.sequence(prompt)
    with pytest.raises(RequestError, match="no activation is called 'nothing'"):
        tiny.sequence("the", edit={"nothing": print})


def test_a_sequence_as_long_as_the_context(tiny):
    ids = ids_of(tiny, 128)
    with tiny.sequence(ids[:127]) as sequence:
        sequence.append(ids[127])
        assert sequence.logits.tobytes() == last(tiny, ids)
        with pytest.raises(RequestError, match="no room for 1 more"):
            sequence.append(1)


def test_closed_sequences(tiny):
    sequence = tiny.sequence([1, 2])
    sequence.run()
    sequence.close()
    sequence.close()
    require_free(tiny)
    for use in (
        sequence.run,
        sequence.fork,
        lambda: sequence.logits,
        lambda: sequence.append(1),
        lambda: sequence.truncate(1),
    ):
        with pytest.raises(RequestError, match="this sequence has been closed; make another"):
            use()
    assert sequence.ids.tolist() == [1, 2] and "n_tokens" in repr(sequence)
    lost = tiny.sequence([3, 4])
    lost.run()
    del lost
    require_free(tiny)


def test_a_model_that_is_closed(tmp_path):
    with nybble.LLM(tiny_model.write(tmp_path / "m.gguf")) as llm:
        sequence = llm.sequence([1, 2])
        sequence.run()
    for use in (sequence.run, sequence.fork, lambda: sequence.append(1), lambda: sequence.truncate(1)):
        with pytest.raises(NybbleError, match="has been closed"):
            use()
    sequence.close()


def test_an_edit_must_not_use_its_sequence(tiny):
    found = []

    def use(value, info):
        with pytest.raises(RequestError, match="this LLM is running"):
            found[0].append(1)

    with tiny.sequence([1, 2], edit={"blk.0.resid_post": use}) as sequence:
        found.append(sequence)
        sequence.run()
        assert len(sequence) == 2
    found.clear()


@pytest.mark.parametrize("how", ["append", "truncate"])
def test_changes_while_another_thread_runs_the_sequence(tiny, how):
    """Its tokens run in the steps of others: what comes of them must not be taken for what is new."""
    reached, opened = threading.Event(), threading.Event()

    def hold(value, info):
        reached.set()
        assert opened.wait(HANG)

    with tiny.sequence([1, 2, 3]) as sequence:
        sequence.run()
        sequence.append([4, 5])
        request = tiny.submit([70], SamplingParams(max_tokens=1), edit={"blk.0.resid_post": hold})
        assert reached.wait(HANG)  # in a step with tokens of both
        change = {"append": lambda: sequence.append(6), "truncate": lambda: sequence.truncate(4)}[how]
        changing = threading.Thread(target=change)
        changing.start()
        changing.join(0.1)  # it would be through by now if it did not wait for the step
        opened.set()
        changing.join(HANG)
        request.result(HANG)
        ids = {"append": [1, 2, 3, 4, 5, 6], "truncate": [1, 2, 3, 4]}[how]
        assert sequence.ids.tolist() == ids and sequence.logits.tobytes() == last(tiny, ids)
