"""Models whose keys and values are stored as each type."""

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from numpy.typing import NDArray

import nybble
from nybble.engine.executors.base import Piece
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import Seats, single_seat
from nybble.kernels.attention.cache_type import CACHE_TYPES

N_CTX, N = 200, 150
KINDS = {"full": "llama", "windows": "gemma3", "latent": "deepseek2", "caps": "gemma2", "hybrid": "jamba"}
ERRORS = {"f32": 1e-9, "f16": 1e-5, "q8_0": 1e-2, "q4_0": 0.3}
"""Mean squares in units of the logits' own."""


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "m.gguf"
    made = Model.load(
        architecture_fixtures.write(path, architecture_fixtures.description(KINDS[request.param]))
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def ids(model) -> NDArray[np.int32]:
    return np.random.default_rng(2).integers(0, model.config.n_vocab, N).astype(np.int32)


@pytest.fixture(scope="module")
def truth(model, ids) -> NDArray[np.float32]:
    return single_seat(ReferenceExecutor(model.plan, N_CTX)).forward(ids, 0, np.arange(N))


@pytest.mark.parametrize("name", CACHE_TYPES)
def test_the_error_is_that_of_its_rounding_and_bits_are_the_same(name, model, ids, truth):
    """Whole and in pieces, on one thread and two."""
    found = []
    for n_threads, chunk in ((1, N), (2, 64), (1, 7), (2, 1)):
        executor = NumbaExecutor(model.plan, N_CTX, n_threads, cache_type=name)
        sequence = single_seat(executor)
        rows = [
            sequence.forward(ids[at : at + chunk], at, np.arange(min(chunk, N - at)))
            for at in range(0, N, chunk)
        ]
        found.append(np.concatenate(rows))
        executor.close()
    assert len({rows.tobytes() for rows in found}) == 1
    error = np.square(found[0] - truth, dtype=np.float64).mean() / np.square(truth, dtype=np.float64).mean()
    assert error < ERRORS[name]


@pytest.mark.parametrize("name", CACHE_TYPES)
def test_sequences_on_copied_pages(name, model, ids):
    """The second goes on where the first was; both have the bits of one that ran alone."""
    executor = NumbaExecutor(model.plan, N_CTX, 2, n_seq_max=2, n_pool_tokens=2 * N_CTX, cache_type=name)
    seats = Seats(executor)
    first = seats.take()
    expected = [first.forward(ids[:100], 0, np.arange(100)), first.forward(ids[100:], 100, np.arange(50))]
    first.reset()
    first.forward(ids[:100], 0, np.arange(0))
    second = seats.fork(first)
    pieces = [Piece(sequence.number, 100, ids[100:], np.arange(50)) for sequence in (first, second)]
    for sequence in (first, second):
        sequence.make_room(N)
    for found in executor.step(pieces):
        assert found.values.tobytes() == expected[1].tobytes()
    executor.close()


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return str(tiny_model.write(tmp_path_factory.mktemp("cache") / "tiny.gguf", n_ctx=128))


def test_each_type_in_python(tiny_path):
    ids = [1, 5, 9, 2] * 20
    with nybble.LLM(tiny_path, executor="reference") as llm:
        assert llm.cache_type == "f32"
        truth = llm.trace(ids, capture="blk.*.attn_probs")
    errors = []
    for name in (None, *CACHE_TYPES):
        with nybble.LLM(tiny_path, cache_type=name) as llm:
            assert llm.cache_type == name or (name is None and llm.cache_type == "f16")
            trace = llm.trace(ids, capture="blk.*.attn_probs", edit={"blk.0.attn_probs": lambda p, info: p})
            assert trace.logits.tobytes() == llm.logits(ids).tobytes()
            probs = trace["blk.0.attn_probs"]
            np.testing.assert_allclose(probs.sum(axis=2), 1, atol=1e-5)
            errors.append(np.abs(probs - truth["blk.0.attn_probs"]).max())
    assert errors[0] == errors[1] and max(errors) < 0.1


@pytest.mark.parametrize("wrong", ["q5_0", "F16", "", 16, ["f16"]])
def test_other_names_are_refused(wrong, tiny_path):
    names = 'cache_type must be "f16", "f32", "q8_0" or "q4_0", not '
    with pytest.raises(nybble.RequestError, match=names):
        nybble.LLM(tiny_path, cache_type=wrong)


def test_the_reference_keeps_float32(tiny_path):
    nybble.LLM(tiny_path, executor="reference", cache_type="f32").close()
    for name in ("f16", "q8_0", "q4_0"):
        with pytest.raises(nybble.RequestError, match=f'cache_type="{name}" goes with executor="numba" only'):
            nybble.LLM(tiny_path, executor="reference", cache_type=name)
