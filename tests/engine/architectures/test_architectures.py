"""Plans of llama and gemma3 in detail; `test_fixtures.py` has all architectures."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_model
from forge import F32, GGUFForge

from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.model import Model
from nybble.engine.plan import ops
from nybble.engine.plan.graph.graph import Graph
from nybble.errors import ModelError


@pytest.fixture(params=["gemma3", "llama"])
def tiny(request, tmp_path):
    model = Model.load(tiny_model.write(tmp_path / "tiny.gguf", arch=request.param))
    yield model
    model.close()


def test_every_architecture_has_a_record_under_its_own_name():
    assert all(name == architecture.name for name, architecture in ARCHITECTURES.items())


def test_a_start_imports_no_architecture():
    """Ninety files take 45 ms."""
    code = "import sys, nybble.engine.llm; print(*(m for m in sys.modules if '.architectures.' in m))"
    found = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert all(".architectures.parts" in name or name.endswith(".registry") for name in found.split())


def test_widths(tiny):
    c, widths = tiny.config, tiny.plan.buffers
    assert widths["token_embd"] == widths["blk.1.resid_post"] == widths["output_norm"] == c.n_embd
    assert widths["blk.0.q_rope"] == widths["blk.0.attn_heads"] == c.q_width
    assert widths["blk.0.k"] == widths["blk.0.v"] == c.kv_width
    assert widths["blk.0.ffn_act"] == c.n_ff
    assert widths[tiny.plan.output] == c.n_vocab


def test_every_tensor_is_used(tiny):
    used = {weight.name for op in tiny.plan.ops for weight in op.weights}
    assert used == set(tiny.file.tensors)


def test_every_buffer_is_written_once_before_it_is_read(tiny):
    written = set()
    for op in tiny.plan.ops:
        assert set(op.inputs) <= written
        if not isinstance(op, ops.SelectRows):  # which goes on with the same buffers
            assert not set(op.outputs) & written
        written |= set(op.outputs)
    assert written == set(tiny.plan.buffers)


def test_the_head_is_tied_where_there_is_no_output_weight(tmp_path):
    for tied, name in ((True, "token_embd.weight"), (False, "output.weight")):
        model = Model.load(tiny_model.write(tmp_path / f"{tied}.gguf", tied=tied))
        assert model.plan.ops[-1].weights[0].name == name
        model.close()


def test_optional_biases_and_rope_factors_are_used(tmp_path):
    path = tiny_model.write(tmp_path / "plain.gguf")
    made = GGUFForge.parse(path.read_bytes())
    extra = {
        "attn_q": 64,
        "attn_k": 32,
        "attn_v": 32,
        "attn_output": 64,
        "ffn_gate": 128,
        "ffn_up": 128,
        "ffn_down": 64,
    }
    for name, width in extra.items():
        made.add_tensor(f"blk.1.{name}.bias", [width], F32)
    factors = np.linspace(1, 8, 8, dtype=np.float32)
    made.add_tensor("rope_freqs.weight", [8], F32, factors.tobytes())
    path.write_bytes(made.build())
    model = Model.load(path)
    biased = {op.bias.name for op in model.plan.ops if isinstance(op, ops.Linear) and op.bias is not None}
    assert biased == {f"blk.1.{name}.bias" for name in extra}
    expected = 10000.0 ** (-np.arange(8) / 8) / factors
    np.testing.assert_allclose(model.plan.rope_tables["rope"].inv_freq, expected, rtol=1e-12)
    model.close()


@pytest.mark.parametrize(
    ("name", "n", "message"),
    [
        ("blk.1.attn_q.scale", 2, r"blk\.1\.attn_q\.scale is \(2,\), the metadata says \(1,\)"),
        ("blk.1.attn_norm.scale", 1, r"blk\.1\.attn_norm\.scale would not be used"),
        ("blk.1.attn_x.input_scale", 1, r"blk\.1\.attn_x\.input_scale would not be used"),
    ],
)
def test_scales_that_no_matrix_has_are_refused(name, n, message, tmp_path):
    path = tiny_model.write(tmp_path / "plain.gguf")
    made = GGUFForge.parse(path.read_bytes())
    made.add_tensor(name, [n], F32)
    path.write_bytes(made.build())
    with pytest.raises(ModelError, match=message):
        Model.load(path)


def test_gemma3_rope_bases_windows_and_scales(tmp_path):
    made = GGUFForge.parse(tiny_model.write(tmp_path / "g.gguf", arch="gemma3").read_bytes())
    made.set("gemma3.rope.scaling.factor", 8.0).set("gemma3.rope.freq_base_swa", 5000.0)
    for entry in made.kv:
        if entry.key in (b"gemma3.rope.scaling.factor", b"gemma3.rope.freq_base_swa"):
            assert entry.type == 6
    (tmp_path / "g.gguf").write_bytes(made.build())
    model = Model.load(tmp_path / "g.gguf")
    exponents = -np.arange(16) / 16
    tables = model.plan.rope_tables
    np.testing.assert_allclose(tables["rope"].inv_freq, 1e6**exponents / 8, rtol=1e-12)
    np.testing.assert_allclose(tables["rope_swa"].inv_freq, 5000.0**exponents, rtol=1e-12)
    attention = [op for op in model.plan.ops if isinstance(op, ops.Attention)]
    assert [op.window for op in attention] == [8] * 5 + [0]
    assert [op.state for op in attention] == list(range(6))
    assert {op.scale for op in attention} == {32**-0.5}
    ropes = [op.table for op in model.plan.ops if isinstance(op, ops.Rope)]
    assert ropes == ["rope_swa"] * 10 + ["rope"] * 2
    model.close()


def test_the_27b_gemma3_scales_by_the_usual_head_width(tmp_path):
    model = Model.load(tiny_model.write(tmp_path / "g.gguf", arch="gemma3", n_layers=62, n_ff=32))
    assert {op.scale for op in model.plan.ops if isinstance(op, ops.Attention)} == {(64 / 4) ** -0.5}
    model.close()


def test_the_graph_refuses_a_second_writer_and_an_unknown_reader(tiny):
    graph = Graph(tiny.file.tensors)
    x = graph.embed("x", "token_embd")
    with pytest.raises(ValueError, match="nothing has written the buffer 'y'"):
        graph.add("z", x, "y")
    with pytest.raises(ValueError, match="two operations write the buffer 'x'"):
        graph.scale("x", x, 2.0)
