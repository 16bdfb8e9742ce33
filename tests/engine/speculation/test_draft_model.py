"""Drafts by a smaller model: its greedy text, whatever of it was right, and for all kinds of states."""

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from hypothesis import HealthCheck, given, settings, strategies as st

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import Seats, single_seat
from nybble.engine.speculation.draft_model import ModelDraft

N_CTX = 60
KINDS = {"full": "llama", "window": "gemma3", "recurrent": "mamba2", "hybrid": "jamba"}


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    path, name = tmp_path_factory.mktemp("draft") / "m.gguf", KINDS[request.param]
    if name in ("llama", "gemma3"):
        tiny_model.write(path, name, "Q8_0")
    else:
        architecture_fixtures.write(path, architecture_fixtures.description(name))
    made = Model.load(path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def executor(model):
    made = NumbaExecutor(model.plan, N_CTX, 1, 16)
    yield made
    made.close()


def greedy(executor, ids, n):
    """n ids after `ids`, each from a run of the whole text."""
    seats = Seats(executor)
    sequence, ids = seats.take(), list(ids)
    for _ in range(n):
        sequence.reset()
        (logits,) = sequence.forward(np.array(ids, np.int32), 0, np.array([len(ids) - 1]))
        ids.append(int(logits.argmax()))
    seats.give_back(sequence)
    return ids[len(ids) - n :]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_proposes_its_greedy_text(model, executor, data):
    """Between two proposals come some of the drafted ids, some others, or nothing."""
    other_ids = st.lists(st.integers(0, model.config.n_vocab - 1), max_size=4)
    seats = Seats(executor)
    sequence = seats.take()
    draft, ids, proposed = ModelDraft(sequence, model.config.n_vocab), [], []
    rounds = []
    for _ in range(4):
        new = proposed[: data.draw(st.integers(0, len(proposed)))] + data.draw(other_ids)
        draft.extend(new)
        ids += new
        proposed = draft.propose(data.draw(st.integers(0, 5)))
        rounds.append((ids.copy(), proposed))
    seats.give_back(sequence)
    for ids, proposed in rounds:
        assert proposed == greedy(executor, ids, len(proposed)), ids


def count_rows(executor, monkeypatch):
    counts = []
    run_step = executor.step

    def step(pieces):
        counts.append(sum(len(piece.ids) for piece in pieces))
        return run_step(pieces)

    monkeypatch.setattr(executor, "step", step)
    return counts


@pytest.fixture
def llama(tmp_path):
    model = Model.load(tiny_model.write(tmp_path / "m.gguf"))
    yield model
    model.close()


@pytest.mark.parametrize(
    ("n_right", "rows"),
    [
        (4, [2, 1, 1, 1]),  # the last drafted id was not run, and one comes that follows it
        (2, [1, 1, 1, 1]),
        (0, [1, 1, 1, 1]),
    ],
)
def test_what_it_holds_is_not_run_again(llama, monkeypatch, n_right, rows):
    executor = ReferenceExecutor(llama.plan, N_CTX)
    draft = ModelDraft(single_seat(executor), llama.config.n_vocab)
    counts = count_rows(executor, monkeypatch)
    draft.extend(range(70, 90))
    proposed = draft.propose(4)
    assert counts == [20, 1, 1, 1]
    counts.clear()
    wrong = (proposed[n_right] + 1) % 200 if n_right < 4 else 7
    draft.extend([*proposed[:n_right], wrong])
    draft.propose(4)
    assert counts == rows


def test_a_state_that_cannot_go_back_is_run_again(tmp_path, monkeypatch):
    path = tmp_path / "m.gguf"
    architecture_fixtures.write(path, architecture_fixtures.description("mamba2"))
    model = Model.load(path)
    executor = ReferenceExecutor(model.plan, N_CTX)
    draft = ModelDraft(single_seat(executor), model.config.n_vocab)
    counts = count_rows(executor, monkeypatch)
    draft.extend([5, 6, 7])
    first, *_ = draft.propose(3)
    draft.extend([(first + 1) % model.config.n_vocab])
    draft.propose(2)
    assert counts == [3, 1, 1, 4, 1]
    model.close()


def test_it_stops_at_the_end_of_its_context(llama):
    executor = ReferenceExecutor(llama.plan, n_ctx=6)
    draft = ModelDraft(single_seat(executor), llama.config.n_vocab)
    assert draft.propose(3) == []
    draft.extend([70, 71, 72, 73])
    assert len(draft.propose(9)) == 3  # the last one takes no place
    draft.extend([74, 75])
    assert len(draft.propose(9)) == 1
    draft.extend([76])
    assert draft.propose(9) == []


def test_ids_that_only_one_of_the_two_has(llama):
    executor = ReferenceExecutor(llama.plan, N_CTX)
    n_vocab = llama.config.n_vocab
    free = ModelDraft(single_seat(executor), n_vocab)
    free.extend([70, 71])
    proposed = free.propose(8)
    bound = max(proposed)
    limited = ModelDraft(single_seat(executor), bound)
    limited.extend([70, 71])
    assert max(limited.propose(8)) < bound
    larger = ModelDraft(single_seat(executor), n_vocab + 10)
    larger.extend([70, 71])
    assert larger.propose(8) == proposed
    larger.extend([n_vocab + 3])
    assert larger.propose(8) == []


def test_an_error_leaves_it_usable(llama):
    executor = ReferenceExecutor(llama.plan, N_CTX)
    draft = ModelDraft(single_seat(executor), llama.config.n_vocab)
    draft.extend([70, 71, 72])
    expected = draft.propose(4)
    n_steps = 0

    def fail():
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:
            raise KeyboardInterrupt

    executor.before_step = fail
    with pytest.raises(KeyboardInterrupt):
        draft.propose(4)
    assert draft.propose(4) == expected
