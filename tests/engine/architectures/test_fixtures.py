"""Every architecture on a tiny model: its plan is sound, its buffers keep their names, llama.cpp agrees."""

import itertools

import architecture_fixtures
import numpy as np
import pytest
import shared_files
from architecture_fixtures import MIXED

from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.executors.base import Piece
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.llm import LLM
from nybble.engine.model import Model
from nybble.engine.plan.plan import ops
from nybble.engine.scheduler.seats import Seats, single_seat
from nybble.errors import GGUFUnsupportedError, RequestError

# With float32 weights nybble and a float32 cache llama.cpp differ by rounding alone, but for llama.cpp's
# GELU, which is a table in float16.
TOLERANCE = 1e-6
# The numba executor keeps keys and values in float16.
NUMBA_TOLERANCE = 1e-5

FOUND = sorted(path.stem for path in (shared_files.ROOT / "archs").glob("*.gguf")) or ["llama-dense"]
SHARED = [name for name in FOUND if name.rpartition("-")[0] in ARCHITECTURES]


@pytest.fixture(scope="module", params=architecture_fixtures.NAMES)
def described(request):
    return request.param, architecture_fixtures.description(request.param)


@pytest.fixture(scope="module")
def model(described, tmp_path_factory):
    path = tmp_path_factory.mktemp(described[0]) / "model.gguf"
    made = Model.load(architecture_fixtures.write(path, described[1]))
    yield made
    made.close()


def error(sequence, ids, rows, logits, chunk):
    """The mean square error in units of the logits' own mean square; `chunk` ids are run at a time."""
    parts = []
    for start in range(0, len(ids), chunk):
        some = ids[start : start + chunk].astype(np.int32)
        parts.append(sequence.forward(some, start, np.arange(len(some))))
    sequence.reset()
    found, expected = np.concatenate(parts)[rows].astype(np.float64), logits.astype(np.float64)
    return ((found - expected) ** 2).sum() / (expected**2).sum()


def numba_executor(model, **options):
    return NumbaExecutor(model.plan, n_ctx=48, n_threads=2, **options)


def test_every_architecture_has_a_fixture():
    described = [architecture_fixtures.description(name)["metadata"] for name in architecture_fixtures.NAMES]
    assert {metadata["general.architecture"][1] for metadata in described} == set(ARCHITECTURES)


def test_names_of_buffers_are_stable(model, described):
    names = [
        f"blk.{layer}.{name}" for layer, block in enumerate(described[1]["blocks"]) for name in block.split()
    ]
    found = list(model.plan.buffers)
    assert [name for name in found if name.startswith("blk.")] == names
    assert found[0] == "token_embd" and found[-1] == model.plan.output
    assert model.plan.embedding == "output_norm" or not model.plan.has_logits
    unknown = [name for name, spec in model.activations.items() if not spec.meaning]
    assert not unknown, "engine/hooks/names.py must say what these are"


def test_every_buffer_is_written_once_before_it_is_read(model):
    written = set()
    for op in model.plan.ops:
        assert set(op.inputs) <= written
        if not isinstance(op, ops.SelectRows):  # which goes on with the same buffers
            assert not set(op.outputs) & written
        written |= set(op.outputs)
    assert written == set(model.plan.buffers)


def test_rows_are_selected_once_and_behind_all_that_needs_every_row(model):
    (place,) = (i for i, op in enumerate(model.plan.ops) if isinstance(op, ops.SelectRows))
    assert not any(hasattr(op, "state") or isinstance(op, ops.Rope) for op in model.plan.ops[place:])
    written_before = {name for op in model.plan.ops[:place] for name in op.outputs}
    read_later = {name for op in model.plan.ops[place + 1 :] for name in op.inputs}
    assert set(model.plan.ops[place].inputs) == written_before & read_later


@pytest.mark.parametrize("chunk", [48, 7])
def test_llama_cpp_computes_the_same(model, described, chunk):
    expected = architecture_fixtures.recorded(described[0])
    executor = ReferenceExecutor(model.plan, n_ctx=48)
    if chunk < 48 and not model.plan.is_causal:
        with pytest.raises(ValueError, match="run all of them in one step"):
            error(single_seat(executor), **expected, chunk=chunk)
    else:
        assert error(single_seat(executor), **expected, chunk=chunk) < TOLERANCE
    executor.close()


def test_llama_cpp_computes_the_same_as_the_kernels(model, described):
    expected = architecture_fixtures.recorded(described[0])
    executor = numba_executor(model)
    sequence = single_seat(executor)
    for chunk in (48, 7) if model.plan.is_causal else (48,):
        assert error(sequence, **expected, chunk=chunk) < NUMBA_TOLERANCE
    executor.close()


def pieces_of(sequences, prompts, ends, wanted):
    """The next of each prompt, up to its end; of `wanted` the logits are asked for."""
    found = []
    for sequence, ids, end in zip(sequences, prompts, ends, strict=True):
        start = sequence.n_positions
        if start < end:
            sequence.make_room(end)
            rows = np.arange(end - start) if wanted else np.empty(0, np.intp)
            found.append((sequence, Piece(sequence.number, start, ids[start:end], rows)))
    return found


@pytest.mark.parametrize("executor", [ReferenceExecutor, NumbaExecutor])
def test_sequences_side_by_side_have_the_bits_of_each_alone(model, executor):
    """One runs its prompt in pieces while another goes on token by token and a third joins later, into the
    seat of one that has left."""
    options = {} if executor is ReferenceExecutor else {"n_threads": 2}
    made = executor(model.plan, n_ctx=48, n_seq_max=3, **{"n_pool_tokens": 144} if options else {}, **options)
    prompts = np.random.default_rng(1).integers(0, model.config.n_vocab, (3, 12)).astype(np.int32)
    whole = not model.plan.is_causal
    steps = [(12, 12, 12)] if whole else [(7, 1, 0), (8, 2, 0), (9, 8, 5), (10, 12, 6), (12, 12, 12)]
    seats = Seats(made)
    gone = seats.take()
    gone.forward(prompts[0], 0, np.arange(0))
    alone = []
    for ids in prompts:  # in the same pieces: NumPy's sums depend on how many rows there are
        sequence, parts = seats.take(), []
        ends = sorted({step[len(alone)] for step in steps} - {0})
        for first, last in itertools.pairwise([0, *ends]):
            parts.append(sequence.forward(ids[first:last], first, np.arange(last - first)))
        alone.append(np.concatenate(parts))
        seats.give_back(sequence)
    seats.give_back(gone)
    sequences, found = [seats.take() for _ in prompts], [[] for _ in prompts]
    for ends in steps:
        pieces = pieces_of(sequences, prompts, ends, True)
        results = made.step([piece for _, piece in pieces])
        for (sequence, piece), rows in zip(pieces, results, strict=True):
            sequence.n_positions += len(piece.ids)
            found[sequences.index(sequence)].append(rows.values.copy())
    for parts, expected in zip(found, alone, strict=True):
        assert np.concatenate(parts).tobytes() == expected.tobytes()
    made.close()


@pytest.mark.parametrize(("name", "head_dim"), [("llama", 100), ("llama", 2), ("gemma2", 20)])
def test_heads_of_any_size(name, head_dim, tmp_path):
    """OpenLLaMA 3B has heads of 100."""
    made = architecture_fixtures.description(name)
    for key in ("key_length", "value_length"):
        made["metadata"][f"{name}.attention.{key}"] = ["UINT32", head_dim]
    made["metadata"][f"{name}.rope.dimension_count"] = ["UINT32", head_dim]
    n_heads, n_kv_heads = (made["metadata"][f"{name}.attention.head_count{x}"][1] for x in ("", "_kv"))
    for tensor, (*rows, n_in) in made["tensors"].items():
        part = tensor.split(".")[-2]
        heads = {"attn_q": n_heads, "attn_k": n_kv_heads, "attn_v": n_kv_heads}.get(part)
        if heads:
            made["tensors"][tensor] = [heads * head_dim, n_in] if rows else [heads * head_dim]
        elif tensor.endswith("attn_output.weight"):
            made["tensors"][tensor] = [*rows, n_heads * head_dim]
        elif tensor == "rope_freqs.weight":
            made["tensors"][tensor] = [head_dim // 2]
    model = Model.load(architecture_fixtures.write(tmp_path / "model.gguf", made))
    ids = np.random.default_rng(1).integers(0, model.config.n_vocab, 40)
    reference, kernels = ReferenceExecutor(model.plan, n_ctx=48), numba_executor(model)
    logits = single_seat(reference).forward(ids.astype(np.int32), 0, np.arange(40))
    sequence = single_seat(kernels)
    for chunk in (40, 7, 1):
        assert error(sequence, ids, slice(None), logits, chunk) < NUMBA_TOLERANCE
    kernels.close()
    model.close()


@pytest.mark.parametrize("name", SHARED)
def test_shared_fixtures(name):
    model = Model.load(shared_files.shared(f"archs/{name}.gguf"))
    expected = np.load(shared_files.shared(f"archs/{name}.npz"))
    executor = ReferenceExecutor(model.plan, n_ctx=48)
    assert error(single_seat(executor), **expected, rows=slice(None), chunk=20) < TOLERANCE
    executor.close()
    model.close()


@pytest.mark.parametrize("name", MIXED)
def test_experts_and_heads_in_block_formats(name, tmp_path):
    """Both executors have the same weights, but the kernels round activations to 8 bits: that costs up to
    6e-5 of a product (`test_linear.py`), of which later layers make more. Another expert costs 1."""
    made = architecture_fixtures.description(name)
    model = Model.load(architecture_fixtures.write(tmp_path / "model.gguf", made, MIXED[name]))
    ids = np.random.default_rng(1).integers(0, model.config.n_vocab, 40)
    executors = [ReferenceExecutor(model.plan, n_ctx=48), numba_executor(model)]
    sequences = [single_seat(executor) for executor in executors]
    logits = sequences[0].forward(ids.astype(np.int32), 0, np.arange(40))
    for chunk in (40, 7, 1):
        assert error(sequences[1], ids, slice(None), logits, chunk) < 2e-3
    for executor in executors:
        executor.close()
    model.close()


def test_experts_have_the_same_bits_in_any_company(tmp_path):
    made = architecture_fixtures.description("llama-moe")
    model = Model.load(architecture_fixtures.write(tmp_path / "model.gguf", made, MIXED["llama-moe"]))
    ids = np.random.default_rng(1).integers(0, model.config.n_vocab, 48).astype(np.int32)
    found = []
    for n_threads, n_batch in ((1, 48), (2, 48), (3, 5), (2, 1)):
        executor = NumbaExecutor(model.plan, 48, n_threads, n_batch)
        found.append(single_seat(executor).forward(ids, 0, np.arange(48)).tobytes())
        executor.close()
    assert len(set(found)) == 1
    model.close()


@pytest.mark.parametrize("name", ["llama-moe", "gpt-oss", "starcoder2"])
def test_scales_of_matrices(name, tmp_path):
    """With powers of two, results are the same to the bit; llama.cpp multiplies before it adds a bias."""
    made = architecture_fixtures.description(name)
    found = []
    for has_scales in (False, True):
        path = architecture_fixtures.write(tmp_path / f"{has_scales}.gguf", made, {}, has_scales)
        model = Model.load(path)
        ids = np.arange(20, dtype=np.int32)
        for executor in (ReferenceExecutor(model.plan, n_ctx=48), numba_executor(model)):
            found.append(single_seat(executor).forward(ids, 0, np.arange(20)))
            executor.close()
        model.close()
    for plain, scaled in zip(found[:2], found[2:], strict=True):
        np.testing.assert_array_equal(plain, scaled)


def test_a_token_reads_the_weights_of_its_experts_alone(tmp_path):
    made = architecture_fixtures.description("llama-moe")
    model = Model.load(architecture_fixtures.write(tmp_path / "model.gguf", made))
    tensors = model.file.tensors
    n_experts, n_used = tensors["blk.0.ffn_gate_exps.weight"].shape[0], model.config.moe.n_used
    assert 0 < n_used < n_experts
    reference, numba = ReferenceExecutor(model.plan, n_ctx=48), numba_executor(model)
    unread = {"rope_freqs.weight"} | ({"token_embd.weight"} if "output.weight" in tensors else set())
    counted = [tensor for name, tensor in tensors.items() if name not in unread]
    shares = [n_used / n_experts if "_exps" in t.name else 1 for t in counted]
    n_bytes = [share * t.nbytes for t, share in zip(counted, shares, strict=True)]
    assert reference.weight_bytes_per_token == sum(n_bytes)
    matrices = [n for t, n in zip(counted, n_bytes, strict=True) if len(t.shape) > 1]
    assert sum(matrices) <= numba.weight_bytes_per_token < 1.1 * sum(matrices)  # rows fill whole tiles
    numba.close()
    model.close()


def test_a_model_that_fills_in_a_text_does_not_go_on_with_one(tmp_path):
    made = architecture_fixtures.description("dream")
    expected = architecture_fixtures.recorded("dream")
    with LLM(architecture_fixtures.write(tmp_path / "model.gguf", made), n_batch=7) as llm:
        found = llm.logits(expected["ids"].tolist())[expected["rows"]]
        np.testing.assert_allclose(found, expected["logits"], atol=1e-2)
        with pytest.raises(RequestError, match="'dream' fills in a text"):
            llm.generate([1, 2, 3])


def test_a_model_that_would_choose_positions_refuses_longer_contexts(tmp_path):
    made = architecture_fixtures.description("deepseek32")
    path = architecture_fixtures.write(tmp_path / "model.gguf", made)
    with LLM(path) as llm:
        assert llm.n_ctx == 64
    with pytest.raises(RequestError, match=r"n_ctx=65 is too long.*use n_ctx=64"):
        LLM(path, n_ctx=65)


def test_heads_that_kernels_cannot_divide_into_lanes(tmp_path):
    made = architecture_fixtures.description("rwkv7")
    made["metadata"]["rwkv7.wkv.head_size"] = ["UINT32", 4]
    path = architecture_fixtures.write(tmp_path / "model.gguf", made)
    with pytest.raises(GGUFUnsupportedError, match=r"multiple of 8, and those .* have 4.*\"reference\""):
        LLM(path)
    with LLM(path, executor="reference") as llm:
        assert np.isfinite(llm.logits([1, 2, 3])).all()
