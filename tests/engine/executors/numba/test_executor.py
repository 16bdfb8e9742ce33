"""The numba executor on tiny models: its texts, against the reference, and the same bits however it is run.

Tolerance: activations are rounded to 8 bits before each product with a quantized matrix, and keys and values
to float16. Over llama's two layers of random weights that made an NMSE of at most 0.00024 in the logits, over
gemma3's six at most 0.0013. With float weights only the cache rounds: 6e-8 and 5e-7. The bounds are some 2.5
times that, and no machine adds to it: the kernels have the same bits on all of them, and the order in which
the reference's BLAS sums makes some 1e-13.
"""

import numpy as np
import pytest
import tiny_model

import nybble
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.errors import RequestError

FORMATS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
FLOATS = {"F32", "F16", "BF16"}
BOUNDS = {"llama": (1.5e-7, 6e-4), "gemma3": (1.2e-6, 3e-3)}
"""NMSE with float weights, and with quantized ones."""
N_CTX = 128
PROMPT = "the other hand is in here"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """models(**arguments of tiny_model.write) -> an open model, written once."""
    folder = tmp_path_factory.mktemp("tiny")
    opened: dict[tuple, Model] = {}

    def get(**options):
        key = tuple(sorted(options.items()))
        if key not in opened:
            opened[key] = Model.load(tiny_model.write(folder / f"{len(opened)}.gguf", **options))
        return opened[key]

    yield get
    for model in opened.values():
        model.close()


def some_ids(model, n=N_CTX):
    return np.random.default_rng(5).integers(0, model.config.n_vocab, n).astype(np.int32)


def run(sequence, ids, chunk=512, start=0):
    """The logits (n, n_vocab) of ids run in steps of `chunk`."""
    parts = []
    for first in range(0, len(ids), chunk):
        part = ids[first : first + chunk]
        parts.append(sequence.forward(part, start + first, np.arange(len(part))))
    return np.concatenate(parts)


def numba(model, n_threads=1, n_batch=512, n_ctx=N_CTX):
    return single_seat(NumbaExecutor(model.plan, n_ctx, n_threads, n_batch))


def numba_logits(model, ids, n_threads=1, chunk=512, n_ctx=N_CTX):
    sequence = numba(model, n_threads, min(chunk, n_ctx), n_ctx)
    try:
        return run(sequence, ids, chunk)
    finally:
        sequence.executor.close()


def reference_logits(model, ids, chunk=512):
    return run(single_seat(ReferenceExecutor(model.plan, len(ids))), ids, chunk)


def nmse(found, truth):
    return np.square(found - truth).mean() / truth.var()


def assert_close(found, truth, weight_format, arch):
    bound = BOUNDS[arch][weight_format not in FLOATS]
    assert nmse(found, truth) < bound


# (architecture, format, seed) -> greedy ids. Seeds were chosen for texts that neither stop early nor repeat
# one token, and where no choice is so close that rounding decides: both executors must give them.
PINNED = {
    ("llama", "Q8_0", 50): [218, 85, 280, 226, 280, 25, 201, 36, 273, 42, 240, 19, 264, 212, 256, 220],
    ("llama", "Q4_0", 5): [79, 80, 179, 245, 108, 5, 27, 188, 129, 63, 183, 5, 27, 188, 164, 5],
    ("gemma3", "Q8_0", 50): [263, 107, 115, 286, 156, 156, 156, 224, 224, 224],
    ("gemma3", "Q4_0", 74): [77, 77, 77, 250, 17, 74, 74, 218, 218, 258],
}


@pytest.mark.parametrize("executor", ["numba", "reference"])
@pytest.mark.parametrize(("arch", "weight_format", "seed"), PINNED)
def test_pinned_text(models, arch, weight_format, seed, executor):
    path = models(arch=arch, weight_format=weight_format, seed=seed).file.path
    expected = PINNED[arch, weight_format, seed]
    with nybble.LLM(path, executor=executor, n_threads=1) as llm:
        out = llm.generate(PROMPT, nybble.SamplingParams(max_tokens=len(expected)))
        assert out.token_ids == expected
        assert out.text == llm.tokenizer.decode(expected, continuation=True)
        assert out.finish_reason == "length"


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("weight_format", FORMATS)
@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_every_format_agrees_with_the_reference(models, arch, weight_format, tied):
    model = models(arch=arch, weight_format=weight_format, tied=tied)
    ids = some_ids(model, 24)
    found = numba_logits(model, ids)
    assert found.dtype == np.float32 and found.shape == (24, model.config.n_vocab)
    assert_close(found, reference_logits(model, ids), weight_format, arch)


@pytest.mark.parametrize("weight_format", FORMATS)
def test_same_bits_in_every_format(models, weight_format):
    model = models(weight_format=weight_format, tied=True)
    ids = some_ids(model, 70)
    expected = numba_logits(model, ids)
    for n_threads, chunk in [(2, 512), (1, 1), (2, 7)]:
        np.testing.assert_array_equal(numba_logits(model, ids, n_threads, chunk), expected)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_same_bits_for_any_threads_and_steps(models, arch, n_threads):
    model = models(arch=arch, weight_format="Q4_0")
    ids = some_ids(model)
    expected = numba_logits(model, ids)
    for chunk in (1, 2, 3, 7, 16, 31, 64, 100, 512) if n_threads < 3 else (3, 31, 512):
        np.testing.assert_array_equal(numba_logits(model, ids, n_threads, chunk), expected)


def test_same_bits_in_unequal_steps_and_after_going_back(models):
    model = models(arch="llama", weight_format="Q8_0")
    ids = some_ids(model)
    expected = numba_logits(model, ids)
    sequence = numba(model, n_threads=2)
    rng = np.random.default_rng(6)
    for _ in range(5):
        start = int(rng.integers(0, sequence.n_positions + 1))
        sequence.truncate(start)
        while start < len(ids):
            part = ids[start : start + int(rng.integers(1, 40))]
            rows = np.flatnonzero(rng.random(len(part)) < 0.5)
            np.testing.assert_array_equal(sequence.forward(part, start, rows), expected[start + rows])
            start += len(part)
    sequence.executor.close()


@pytest.mark.parametrize("chunk", [1, 3, 16])
@pytest.mark.parametrize("weight_format", ["F32", "Q8_0"])
def test_a_window_forgets_what_is_behind_it(models, weight_format, chunk):
    """300 positions go many times around the ring of a window of 8."""
    model = models(arch="gemma3", weight_format=weight_format, n_ctx=300)
    ids = some_ids(model, 300)
    found = numba_logits(model, ids, chunk=chunk, n_ctx=300)
    assert_close(found, reference_logits(model, ids), weight_format, "gemma3")
    np.testing.assert_array_equal(found, numba_logits(model, ids, n_threads=2, n_ctx=300))


def test_a_window_can_only_go_back_as_far_as_it_remembers(models):
    model = models(arch="gemma3", weight_format="Q8_0", n_ctx=300)
    ids = some_ids(model, 300)
    expected = numba_logits(model, ids, n_ctx=300)
    sequence = numba(model, n_batch=16, n_ctx=300)
    run(sequence, ids[:250], 16)
    with pytest.raises(ValueError, match="the state of 250 positions cannot go back to 100"):
        sequence.truncate(100)
    run(sequence, ids[250:260], start=250)  # the refusal has changed nothing
    sequence.truncate(255)
    np.testing.assert_array_equal(run(sequence, ids[255:], 16, start=255), expected[255:])
    sequence.truncate(0)
    np.testing.assert_array_equal(run(sequence, ids[:20], 16), expected[:20])
    sequence.executor.close()


@pytest.mark.parametrize("n_ctx", [1, 5, 8, 9, 31, 33])
@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_a_context_holds_exactly_as_many_tokens_as_it_says(models, arch, n_ctx):
    """Shorter than the window of gemma3 (8), as long, and longer; no multiple of any block."""
    model = models(arch=arch, weight_format="Q8_0")
    ids = some_ids(model, n_ctx + 1)
    expected = numba_logits(model, ids[:n_ctx])
    with nybble.LLM(model.file.path, n_ctx=n_ctx, n_threads=2) as llm:
        np.testing.assert_array_equal(llm.logits(ids[:n_ctx]), expected)
        out = llm.generate(ids[:n_ctx], nybble.SamplingParams(max_tokens=5))
        assert out.token_ids == [int(expected[-1].argmax())]
        for work in (llm.logits, llm.generate):
            with pytest.raises(RequestError, match=rf"{n_ctx + 1} tokens, .* n_ctx={n_ctx}"):
                work(ids)
        np.testing.assert_array_equal(llm.logits(ids[:n_ctx]), expected)


def test_positions_must_follow_and_fit(models):
    sequence = numba(models(weight_format="Q8_0"), n_ctx=4)
    with pytest.raises(ValueError, match="position 1 cannot be next"):
        sequence.forward(np.zeros(1, np.int32), 1, np.array([0]))
    with pytest.raises(ValueError, match="0 \\+ 5 positions are more than the 4"):
        sequence.forward(np.zeros(5, np.int32), 0, np.array([0]))
    assert sequence.forward(np.zeros(4, np.int32), 0, np.empty(0, np.intp)).shape == (0, 283)
    sequence.executor.close()


def test_weight_bytes_are_about_those_of_the_file(models):
    model = models(weight_format="Q8_0")
    sequence = numba(model)
    in_file = sum(t.nbytes for name, t in model.file.tensors.items() if name != "token_embd.weight")
    assert in_file * 0.9 < sequence.executor.weight_bytes_per_token < in_file * 1.3
    sequence.executor.close()
