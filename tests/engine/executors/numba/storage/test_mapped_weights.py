"""Weights that stay in the file: the bits of packed ones, whatever the format and however the model is run;
little memory; and nothing is read of a file that has changed."""

import gc
import os
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from expert_cases import random_experts
from hypothesis import given, settings, strategies as st
from linear_cases import random_layer

import nybble
from nybble.engine.executors.base import Piece
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.numba.storage.packed_matrix import map_tensor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import Seats, single_seat
from nybble.errors import GGUFUnsupportedError, ModelError, RequestError
from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.gguf_io.tensor import Tensor
from nybble.kernels.experts.groups import Groups
from nybble.kernels.experts.linear import Mapped, bind_expert_linear, expert_scratch
from nybble.kernels.linear.mapped import MAPPABLE, bind_mapped_linear, tile_bytes, tiles_bytes
from nybble.kernels.linear.packed_product import TOKENS_PER_PASS, working_memory

each_format = pytest.mark.parametrize("format", MAPPABLE, ids=lambda format: format.name)


# --- kernels ------------------------------------------------------------------------------------------------


@each_format
@settings(max_examples=8, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    n_out=st.integers(1, 50),
    n_blocks=st.integers(1, 9),
    n=st.integers(1, 20),
    n_threads=st.integers(1, 3),
)
def test_same_bits_as_packed(
    format: BlockFormat, seed: int, n_out: int, n_blocks: int, n: int, n_threads: int
) -> None:
    """Of 16 tokens on there may be a unit for matrices."""
    layer, x = random_layer(seed, format, n_out, n_blocks, n)
    assert layer.run(x, n_threads, is_mapped=True).tobytes() == layer.run(x).tobytes()


@pytest.mark.parametrize("format", [formats.Q4_0, formats.Q6_K, formats.BF16], ids=lambda format: format.name)
def test_same_bits_in_several_passes_of_tokens(format: BlockFormat) -> None:
    layer, x = random_layer(1, format, 100, 2, 2 * TOKENS_PER_PASS + 5)
    assert layer.run(x, 2, is_mapped=True).tobytes() == layer.run(x).tobytes()


@pytest.mark.parametrize("format", [formats.Q4_0, formats.Q4_K, formats.BF16], ids=lambda format: format.name)
def test_same_bits_of_experts(format: BlockFormat) -> None:
    for seed, n_out, n in ((1, 75, 13), (2, 16, 150), (3, 5, 1)):
        made = random_experts(seed, format, n_out, 2, n, 3)
        assert made.run(3, is_mapped=True).tobytes() == made.run().tobytes()


def test_kernels_refuse() -> None:
    x, out, n_tokens = np.zeros((3, 64), np.float32), np.zeros((3, 32), np.float32), np.array([3])
    data, tiles = np.zeros(17 * 64 * 4, np.uint8), np.zeros((2, tile_bytes(formats.F32, 64)), np.uint8)
    good: dict[str, Any] = {
        "format": formats.F32, "data": data, "shape": (17, 64), "xs": (x,), "out": out, "n_tokens": n_tokens,
        "tiles": tiles, "working": working_memory(64, 2),
    }  # fmt: skip
    bind_mapped_linear(**good)
    for changes, error, message in (
        ({"format": formats.IQ2_XS}, ValueError, "IQ2_XS has no compute layout"),
        ({"shape": (18, 64)}, ValueError, "4352 bytes are not a 18 x 64 matrix of F32"),
        ({"tiles": tiles[:, :-1].copy()}, ValueError, "4095 bytes for a thread; a tile needs 4096"),
        ({"xs": (x[:, :32].copy(),)}, ValueError, "x has 32 columns, the weights need 64"),
        ({"xs": (x.astype(np.int8),)}, TypeError, "x must be a float32 array"),
        ({"out": out[:, :16].copy()}, ValueError, "out must have shape"),
        ({"n_tokens": n_tokens[:0]}, ValueError, "number of tokens"),
    ):
        with pytest.raises(error, match=message):
            bind_mapped_linear(**{**good, **changes})
    groups, scratch = Groups.make(3, 1, 2), expert_scratch(2)
    with pytest.raises(ValueError, match="4352 bytes are not 2 times a 17 x 64"):
        bind_expert_linear(Mapped(formats.F32, tiles), data, (x,), groups, out, scratch, good["working"], 17)


def test_memory_for_tiles_fits_the_largest() -> None:
    assert tiles_bytes([]) == 0
    assert tiles_bytes([(formats.F32, 64), (formats.F32, 1 << 20)]) == 16 * 4 << 20


# --- models -------------------------------------------------------------------------------------------------


def logits(executor: NumbaExecutor, ids: np.ndarray, chunk: int) -> bytes:
    parts = [ids[first : first + chunk] for first in range(0, len(ids), chunk)]
    sequence = single_seat(executor)
    found = [sequence.forward(part, i * chunk, np.arange(len(part))) for i, part in enumerate(parts)]
    return np.concatenate(found).tobytes()


def executors(model: Model, n_threads: int) -> tuple[NumbaExecutor, NumbaExecutor]:
    """With packed weights, and with mapped ones."""
    matrices = {tensor.name: map_tensor(tensor) for tensor in model.plan.matrices}
    arguments = model.plan, 96, n_threads, 96
    return NumbaExecutor(*arguments), NumbaExecutor(*arguments, matrices)


def check_same_bits(path: Path, n: int = 70) -> None:
    model = Model.load(path)
    ids = np.random.default_rng(5).integers(0, model.config.n_vocab, n).astype(np.int32)
    for n_threads in (1, 2):
        packed, mapped = executors(model, n_threads)
        expected = logits(packed, ids, n)
        for chunk in (n, 7, 1):
            assert logits(mapped, ids, chunk) == expected, (n_threads, chunk)
        packed.close()
        mapped.close()
    model.close()


@pytest.mark.parametrize(
    "weight_format",
    ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"],
)
def test_a_model_has_the_same_bits_as_packed(weight_format: str, tmp_path: Path) -> None:
    check_same_bits(tiny_model.write(tmp_path / "m.gguf", weight_format=weight_format, tied=True))


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("qwen3moe", {"ffn_up_exps": "Q8_0", "ffn_gate_exps": "Q4_0"}),
        ("gpt-oss", {"ffn_up_exps": "Q5_1"}),
        ("deepseek2", {"attn_k_b": "Q8_0"}),
    ],
)
def test_experts_and_heads_have_the_same_bits_as_packed(
    name: str, formats: dict[str, str], tmp_path: Path
) -> None:
    made = architecture_fixtures.description(name)
    check_same_bits(architecture_fixtures.write(tmp_path / "m.gguf", made, formats), 24)


def test_sequences_side_by_side(tmp_path: Path) -> None:
    model = Model.load(tiny_model.write(tmp_path / "m.gguf", weight_format="Q4_0"))
    packed, mapped = executors(model, 2)
    both = NumbaExecutor(model.plan, 96, 2, matrices=mapped.matrices, n_seq_max=2)
    ids, sequences = np.array([5, 9], np.int32), Seats(both)
    pieces = []
    for i in range(2):
        sequence = sequences.take()
        sequence.make_room(1)
        pieces.append(Piece(sequence.number, 0, ids[i : i + 1], np.arange(1)))
    for i, found in enumerate(both.step(pieces)):
        assert found.values.tobytes() == logits(packed, ids[i : i + 1], 1)
    for made in (packed, mapped, both):
        made.close()
    model.close()


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    def run(n_layers: int, weights: Any) -> tuple[int, int]:
        """The bytes of weights that a token reads, and the most that was allocated at a time."""
        path = tmp_path / f"{n_layers}.gguf"
        if not path.exists():
            tiny_model.write(path, n_embd=256, n_layers=n_layers)
        gc.collect()
        tracemalloc.start()
        with nybble.LLM(path, n_ctx=16, n_threads=2, n_batch=1, weights=weights) as llm:
            llm.logits([5, 6, 7])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return llm.weight_bytes_per_token, peak

    for weights in ("packed", "mapped"):
        run(1, weights)  # kernels are compiled
        (few_bytes, small), (many_bytes, large) = run(1, weights), run(5, weights)
        added = many_bytes - few_bytes
        assert added > 8e6
        assert large - small > added if weights == "packed" else large - small < added / 20


@pytest.mark.parametrize("weights", ["packed", "mapped"])
def test_closing_lets_go_of_the_weights_at_once(weights: str, tmp_path: Path) -> None:
    model = Model.load(tiny_model.write(tmp_path / "m.gguf"))
    executor = executors(model, 1)[weights == "mapped"]
    matrix = weakref.ref(next(iter(executor.matrices.values())))
    gc.collect()
    gc.disable()
    try:
        executor.close()
        del executor
        assert matrix() is None
    finally:
        gc.enable()
        model.close()


@pytest.mark.parametrize("weights", ["packed", "mapped"])
def test_a_file_cut_between_two_steps_is_noticed_before_it_is_read(weights: str, tmp_path: Path) -> None:
    path = tiny_model.write(tmp_path / "m.gguf", weight_format="Q4_0", n_embd=256)
    with nybble.LLM(path, n_ctx=64, n_threads=1, weights=weights) as llm:
        stream = llm.stream([70, 71, 72], nybble.SamplingParams(max_tokens=20))
        next(stream)
        os.truncate(path, 4096)
        with pytest.raises(ModelError, match="model file changed while it was open"):
            list(stream)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [formats.IQ2_XS, formats.TQ1_0, formats.F64], ids=lambda f: f.name)
def test_a_format_that_cannot_stay_in_the_file(format: BlockFormat) -> None:
    tensor = Tensor("output.weight", (1, 256), format, np.zeros(format.nbytes(256), np.uint8), "m.gguf")
    message = f"m.gguf: tensor 'output.weight' has the format {format.name}, .* use weights=\"packed\""
    with pytest.raises(GGUFUnsupportedError, match=message):
        map_tensor(tensor)


def test_wishes_that_cannot_be_granted(tmp_path: Path) -> None:
    path = tiny_model.write(tmp_path / "m.gguf")
    with pytest.raises(RequestError, match='weights must be "packed" or "mapped", not 7'):
        nybble.LLM(path, weights=7)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match='weights="mapped" goes with executor="numba" only'):
        nybble.LLM(path, weights="mapped", executor="reference")
