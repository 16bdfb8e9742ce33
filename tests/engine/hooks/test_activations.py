"""The activations of every architecture: all have names that say what they are, and both executors agree on
each; the kernels to the bit, however the tokens come."""

import re

import activation_docs
import architecture_fixtures
import numpy as np
import pytest

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.hooks.activations import hook_names
from nybble.engine.hooks.taps import Taps
from nybble.engine.model import Model
from nybble.engine.plan import ops
from nybble.engine.scheduler.seats import single_seat

# The numba executor keeps keys and values in float16; the rest is rounding in float32.
TOLERANCE = 1e-5
N = 16


@pytest.fixture(scope="module", params=architecture_fixtures.NAMES)
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "model.gguf"
    made = Model.load(architecture_fixtures.write(path, architecture_fixtures.description(request.param)))
    yield made
    made.close()


def captured(model, executor, chunk, edits=None):
    """Every activation of N tokens, by the name of its buffer; the output of the last is asked for."""
    ids = np.random.default_rng(1).integers(0, model.config.n_vocab, N).astype(np.int32)
    taps = Taps(model.activations, N, edits, ["*"])
    for spec in taps.captured:
        shape = (spec.width,) if spec.width else (spec.dims[0], N)
        taps.kept[spec.buffer] = np.full((N, *shape), np.nan, np.float32)
        if spec.width is None:
            taps.kept[spec.buffer][:] = 0
    sequence = single_seat(executor)
    for start in range(0, N, chunk):
        some = ids[start : start + chunk]
        rows = np.array([len(some) - 1])
        logits = sequence.forward(some, start, rows, taps)
        assert logits.tobytes() == taps.kept[model.plan.output][start + rows].tobytes()
    return taps.kept


def test_the_table_is_that_of_the_plan(model):
    table = model.activations
    for name, spec in table.items():
        short = re.sub(r"blk\.\d+\.", "", name)
        assert spec.name == name and spec.layer == (int(name.split(".")[1]) if "." in name else None)
        assert spec.width is None if short == "attn_probs" else spec.width == model.plan.buffers[spec.buffer]
    assert set(model.plan.buffers) <= set(table)
    for op in model.plan.ops:
        if isinstance(op, ops.ExpertLinear):
            assert 0 < table[op.ids].n_choices <= op.weight.shape[0]


def test_the_residual_stream_is_whole(model):
    """What leaves a block comes into the next."""
    table, names = model.activations, list(model.activations)
    for layer in range(model.config.n_layers):
        pre, post = f"blk.{layer}.resid_pre", f"blk.{layer}.resid_post"
        assert names.index(pre) < names.index(post)
        if layer and f"blk.{layer}.pass_input" not in table:  # hrm_text: two streams
            left = f"blk.{layer - 1}.resid_post"
            assert table[pre].buffer == (f"{left}_norm" if f"{left}_norm" in table else left)


def test_hooks_of_transformer_lens_are_told_apart(model):
    hooks = hook_names(model.activations)
    assert len(set(hooks.values())) == len(hooks)
    last = model.config.n_layers - 1
    assert hooks[f"blk.{last}.resid_post"] == f"blocks.{last}.hook_resid_post"


def test_both_executors_agree_on_every_activation(model):
    reference = ReferenceExecutor(model.plan, n_ctx=32)
    expected = captured(model, reference, 10 if model.plan.is_causal else N)
    executor = NumbaExecutor(model.plan, n_ctx=32, n_threads=2)
    chosen = {  # of two experts as good as equal each executor may take another
        name: lambda value, info: expected[info.name][info.positions]
        for name in model.activations
        if name.endswith((".expert_ids", ".expert_weights"))
    }
    found = captured(model, executor, N, chosen)
    for name, value in expected.items():
        error = ((found[name].astype(np.float64) - value) ** 2).sum()
        assert error <= TOLERANCE * (value.astype(np.float64) ** 2).sum(), name  # NaN fails
    single = NumbaExecutor(model.plan, n_ctx=32, n_threads=1, matrices=executor.matrices)
    for chunk in (5, 1) if model.plan.is_causal else (N,):
        again = captured(model, single, chunk, chosen | {"*": lambda value, info: value * np.float32(1)})
        for name, value in found.items():
            assert again[name].tobytes() == value.tobytes(), (name, chunk)
    for made in (reference, executor, single):
        made.close()


def test_the_documented_table_is_up_to_date():
    assert activation_docs.PAGE.read_text(encoding="utf-8") == activation_docs.page(), (
        "run python tests/tools/activation_docs.py"
    )
