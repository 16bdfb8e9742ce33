"""The reference executor against a model of its own in float64, and against llama.cpp on the real models."""

import float64_model
import golden_data
import numpy as np
import pytest
import tiny_model

from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat

N_CTX = 40
IDS = np.random.default_rng(3).integers(0, 280, N_CTX).astype(np.int32)
# Float32 rounding over a few layers; logits are of size 1 to 10.
TOLERANCE = {"rtol": 0, "atol": 2e-4}


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def model(request, tmp_path_factory):
    made = Model.load(tiny_model.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf", arch=request.param))
    yield made
    made.close()


@pytest.fixture(scope="module")
def truth(model):
    return float64_model.logits(model.file, IDS)


@pytest.fixture
def sequence(model):
    executor = ReferenceExecutor(model.plan, N_CTX)
    yield single_seat(executor)
    executor.close()


def run(sequence, ids, start=0, chunk=512):
    parts = []
    for first in range(0, len(ids), chunk):
        part = ids[first : first + chunk]
        parts.append(sequence.forward(part, start + first, np.arange(len(part))))
    return np.concatenate(parts)


@pytest.mark.parametrize("chunk", [1, 7, 9, N_CTX])
def test_logits_of_every_position_for_chunks_of_any_size(sequence, truth, chunk):
    found = run(sequence, IDS, chunk=chunk)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, truth, **TOLERANCE)


@pytest.mark.parametrize("weight_format", ["F16", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q6_K"])
def test_quantized_weights_count_as_what_they_dequantize_to(tmp_path, weight_format):
    with_k = Model.load(tiny_model.write(tmp_path / "q.gguf", weight_format=weight_format))
    sequence = single_seat(ReferenceExecutor(with_k.plan, N_CTX))
    expected = float64_model.logits(with_k.file, IDS[:6])
    np.testing.assert_allclose(run(sequence, IDS[:6]), expected, rtol=0, atol=1e-3)
    sequence.executor.close()
    with_k.close()


def test_only_the_wanted_rows(sequence, truth, model):
    rows = np.array([0, 3, 9])
    np.testing.assert_allclose(sequence.forward(IDS[:10], 0, rows), truth[rows], **TOLERANCE)
    nothing = sequence.forward(IDS[10:20], 10, np.empty(0, np.intp))
    assert nothing.shape == (0, model.config.n_vocab) and nothing.dtype == np.float32
    np.testing.assert_allclose(sequence.forward(IDS[20:21], 20, np.array([0])), truth[20:21], **TOLERANCE)


def test_reset_starts_anew(sequence, truth):
    run(sequence, IDS[::-1].copy())
    sequence.reset()
    np.testing.assert_allclose(run(sequence, IDS), truth, **TOLERANCE)


def test_truncate_goes_back(sequence, truth):
    run(sequence, IDS[:20])
    run(sequence, IDS[:12], start=20)  # other tokens than those to come
    sequence.truncate(20)
    np.testing.assert_allclose(run(sequence, IDS[20:], start=20), truth[20:], **TOLERANCE)
    sequence.truncate(0)
    np.testing.assert_allclose(run(sequence, IDS), truth, **TOLERANCE)


def test_truncate_refuses_what_a_window_has_forgotten(sequence, truth, model):
    run(sequence, IDS[:30], chunk=10)
    if model.config.sliding_window:
        with pytest.raises(ValueError, match="the state of 30 positions cannot go back to 10"):
            sequence.truncate(10)
        np.testing.assert_allclose(run(sequence, IDS[30:], start=30), truth[30:], **TOLERANCE)
    else:
        sequence.truncate(10)
        np.testing.assert_allclose(run(sequence, IDS[10:], start=10), truth[10:], **TOLERANCE)


def test_positions_must_follow_and_fit(sequence):
    with pytest.raises(ValueError, match="no ids"):
        sequence.forward(IDS[:0], 0, np.empty(0, np.intp))
    with pytest.raises(ValueError, match="position 1 cannot be next"):
        sequence.forward(IDS[:1], 1, np.array([0]))
    with pytest.raises(ValueError, match="0 \\+ 41 positions are more than the 40"):
        sequence.forward(np.zeros(41, np.int32), 0, np.array([0]))


def test_weight_bytes_are_those_of_float32_matrices_and_norms(sequence, model):
    is_tied = "output.weight" not in model.file.tensors
    counted = [t for name, t in model.file.tensors.items() if is_tied or name != "token_embd.weight"]
    assert sequence.executor.weight_bytes_per_token == 4 * sum(tensor.n_values for tensor in counted)


# llama.cpp rounds activations to 8 bits and its cache to 16, which for the small Gemma shifts the perplexity
# of this passage by 0.5 to 1.5 %, depending on its settings (the golden file says 24.175). With the same
# weights in float32 and a float32 cache, llama-cpp-python 0.3.36 computes 23.8985: that is what float32 must
# come to. For SmolLM2 the golden file's own figure serves.
PERPLEXITIES = {"smollm2": 21.716, "gemma3": 23.8985}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.model) for name in PERPLEXITIES])
def real(request):
    model = Model.load(request.getfixturevalue(f"{request.param}_path"))
    sequence = single_seat(ReferenceExecutor(model.plan, n_ctx=512))
    yield sequence, golden_data.load(request.param), PERPLEXITIES[request.param]
    sequence.executor.close()
    model.close()


def test_next_token_of_the_real_models(real):
    sequence, golden, _ = real
    for prompt in golden.prompts:
        sequence.reset()
        ids = np.array(prompt.ids, np.int32)
        assert prompt.divergence(sequence.forward(ids, 0, np.array([len(ids) - 1]))[0]) < 0.02


def test_perplexity_of_the_real_models(real):
    sequence, golden, perplexity = real
    sequence.reset()
    logits = run(sequence, golden.passage_ids)
    assert golden_data.perplexity(logits, golden.passage_ids) == pytest.approx(perplexity, rel=2e-3)
