"""Sequences that share an executor: whatever happens to the others, each has the bits that it has alone."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from state_kinds import KINDS, N_CTX, loaded, write_model

from nybble.engine.executors.base import Piece
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.scheduler.seats import Seats, single_seat
from nybble.errors import NybbleError

N_BATCH, N_SEATS = 40, 3


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    yield from loaded(write_model(tmp_path_factory.mktemp("seat") / "m.gguf", request.param))


@pytest.fixture(scope="module")
def truth(model):
    """Ids of three texts, and the logits after each of them alone."""
    ids = np.random.default_rng(2).integers(0, model.config.n_vocab, (3, N_CTX)).astype(np.int32)
    executor, logits = NumbaExecutor(model.plan, N_CTX, 1, N_BATCH), []
    sequence = single_seat(executor)
    for text in ids:
        logits.append(sequence.forward(text, 0, np.arange(N_CTX)))
        sequence.reset()
    executor.close()
    return ids, logits


@pytest.fixture(scope="module")
def executor(model):
    made = NumbaExecutor(model.plan, N_CTX, 2, N_BATCH, n_seq_max=N_SEATS, n_pool_tokens=3 * N_CTX)
    yield made
    made.close()


def run(executor, parts, ids, expected):
    """One step of pieces [(sequence, text, n)], whose logits are those of each text alone."""
    pieces = []
    for sequence, text, n in parts:
        start = sequence.n_positions
        sequence.make_room(start + n)
        pieces.append(Piece(sequence.number, start, ids[text, start : start + n], np.arange(n)))
    for (sequence, text, n), rows in zip(parts, executor.step(pieces), strict=True):
        start, sequence.n_positions = sequence.n_positions, sequence.n_positions + n
        assert rows.values.tobytes() == expected[text][start : start + n].tobytes(), (text, start, n)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_same_bits_in_any_company(executor, truth, data):
    """Sequences join, run some rows, are forked, go back and leave, as it comes."""
    ids, expected = truth
    seats = Seats(executor)
    texts = {}
    for _ in range(data.draw(st.integers(5, 25))):
        kinds = ["step"] * 4 + ["join"] * (len(texts) < N_SEATS) + (["leave", "back"] if texts else [])
        kinds += ["fork"] if 0 < len(texts) < N_SEATS else []
        kind = data.draw(st.sampled_from(kinds))
        if kind == "join":
            texts[seats.take()] = data.draw(st.integers(0, 2))
        elif kind == "step":
            parts, left = [], N_BATCH
            for sequence, text in texts.items():
                n = data.draw(st.integers(0, min(left, N_CTX - sequence.n_positions)))
                left -= n
                parts += [(sequence, text, n)] if n else []
            if parts:
                run(executor, parts, ids, expected)
        else:
            sequence = data.draw(st.sampled_from(list(texts)))
            if kind == "leave":
                seats.give_back(sequence)
                del texts[sequence]
            elif kind == "fork":
                texts[seats.fork(sequence)] = texts[sequence]
            else:
                try:
                    sequence.truncate(data.draw(st.integers(0, sequence.n_positions)))
                except ValueError as error:
                    assert "cannot go back" in str(error)
    for sequence in texts:
        seats.give_back(sequence)
    assert [pool.n_free for pool in seats.pools] == [pool.pages.n for pool in seats.pools]


def test_a_fork_writes_to_pages_of_its_own(executor, truth):
    ids, expected = truth
    seats = Seats(executor)
    first = seats.take()
    run(executor, [(first, 0, N_BATCH)], ids, expected)
    second = seats.fork(first)
    other = np.random.default_rng(3).permutation(ids[1])[:20].astype(np.int32)
    second.forward(other, N_BATCH, np.empty(0, np.intp))
    run(executor, [(first, 0, 30)], ids, expected)  # nothing of the other text
    third = seats.fork(first)
    seats.give_back(first)
    run(executor, [(third, 0, N_BATCH)], ids, expected)
    for sequence in (second, third):
        seats.give_back(sequence)


def test_pages_run_out_before_anything_is_run(model):
    executor = NumbaExecutor(model.plan, 256, 1, 200, n_seq_max=2, n_pool_tokens=256)
    if not any(pages.window == 0 for pages in executor.pages):
        pytest.skip("no layer keeps all positions")
    seats = Seats(executor)
    first, second = seats.take(), seats.take()
    first.make_room(256)
    with pytest.raises(NybbleError, match="3 more pages are needed, and 1 of 5 are free"):
        second.make_room(192)
    with pytest.raises(ValueError, match="all 2 seats are taken"):
        seats.take()
    seats.give_back(first)
    second.make_room(256)
    executor.close()


def test_the_reference_behind_the_same_interface(model):
    executor = ReferenceExecutor(model.plan, 64, n_seq_max=2)
    ids = np.random.default_rng(4).integers(0, model.config.n_vocab, 40).astype(np.int32)
    seats = Seats(executor)
    first = seats.take()
    expected = [first.forward(ids[:30], 0, np.arange(30)), first.forward(ids[30:], 30, np.arange(10))]
    first.reset()
    first.forward(ids[:30], 0, np.arange(0))
    second = seats.fork(first)
    pieces = [Piece(s.number, 30, ids[30:], np.arange(10)) for s in (first, second)]
    for found in executor.step(pieces):
        assert found.values.tobytes() == expected[1].tobytes()
    executor.close()
