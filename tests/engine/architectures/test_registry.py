"""Architectures from outside the package meet the same checks as those that nybble has."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tiny_model

import nybble
from nybble import Architecture, GGUFUnsupportedError, ModelError, RequestError, register_architecture
from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.architectures.llama import KEYS, LLAMA, TENSORS, build
from nybble.engine.architectures.registry import check_tables
from nybble.engine.config.keys import Key
from nybble.engine.config.tensor_table import required

IDS = [5, 9, 2, 7]


@pytest.fixture(autouse=True)
def registered():
    """Whatever a test registers goes with it."""
    before = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


@pytest.fixture
def llama(tmp_path):
    return tiny_model.write(tmp_path / "llama.gguf", weight_format="Q8_0")


def renamed(path, **own):
    """A copy of a llama whose metadata says "mine", and more keys of it."""
    out = path.with_name("mine.gguf")
    with nybble.load_gguf(path) as file:
        metadata = {re.sub(r"^llama\.", "mine.", key): value for key, value in file.metadata.items()}
        metadata |= {"general.architecture": "mine"} | {f"mine.{key}": value for key, value in own.items()}
        nybble.write_gguf(out, metadata, file.tensors)
    return out


def logits(path, **options):
    with nybble.LLM(path, n_ctx=16, **options) as llm:
        return llm.logits(IDS)


def test_the_same_graph_under_another_name_gives_the_same_bits(llama):
    mine = renamed(llama)
    with pytest.raises(GGUFUnsupportedError, match=r"'mine'; nybble runs .*llama"):
        logits(mine)
    register_architecture(Architecture("mine", TENSORS, build, KEYS))
    assert logits(mine).tobytes() == logits(llama).tobytes()
    with nybble.LLM(mine, n_ctx=16) as llm:
        assert llm.trace(IDS, "blk.*.attn_probs").names == ["blk.0.attn_probs", "blk.1.attn_probs"]


def test_a_graph_and_a_key_of_its_own(llama):
    """logits = output @ attn_q @ (factor * token_embd), on both executors."""
    names = ["token_embd.weight", "blk.0.attn_q.weight", "output.weight"]

    def short(g, model):
        x = g.scale("scaled", g.embed("token_embd", "token_embd"), model.own["factor"])
        x = g.block(0).linear("q", x, "attn_q")
        g.select_rows(x)
        g.linear("logits", x, "output")

    tensors = {name: TENSORS[name] for name in (name.replace(".0.", ".N.") for name in names)}
    keys = {"factor": Key("own.factor", "float", 0, 9)}
    register_architecture(Architecture("mine", tensors, short, keys))
    whole = renamed(llama, factor=2.0, block_count=1)
    with pytest.raises(ModelError, match=r"tensor blk\.0\.attn_norm\.weight .* would not be used"):
        logits(whole)
    path = llama.with_name("short.gguf")
    with nybble.load_gguf(whole) as file:
        nybble.write_gguf(path, file.metadata, {name: file.tensors[name] for name in names})
        embedding, matrix, output = (file.tensors[name].dequantize() for name in names)
    expected = 2 * embedding[IDS] @ matrix.T @ output.T
    np.testing.assert_allclose(logits(path, executor="reference"), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits(path), expected, atol=0.05 * np.abs(expected).max())


def test_its_files_are_checked_by_its_tables(llama):
    register_architecture(Architecture("mine", {**TENSORS, "more.weight": required("n_ff")}, build, KEYS))
    with pytest.raises(
        ModelError, match=r"tensor more\.weight is missing; the model needs it to be \(128,\)"
    ):
        logits(renamed(llama))
    register_architecture(Architecture("mine", TENSORS, build, KEYS), replace=True)
    with pytest.raises(GGUFUnsupportedError, match=r"'mine\.residual_scale' \(2\.0\) may change"):
        logits(renamed(llama, residual_scale=2.0))


def test_a_graph_must_end_in_logits(llama):
    def endless(g, model):
        g.embed("token_embd", "token_embd")

    inert = dict.fromkeys([name for name in TENSORS if name != "token_embd.weight"], "not needed here")
    register_architecture(Architecture("mine", TENSORS, endless, KEYS, inert_tensors=inert))
    with pytest.raises(ValueError, match="must end with select_rows and an operation that writes 'logits'"):
        logits(renamed(llama))


def test_a_name_is_taken_once(llama):
    mine = Architecture("mine", TENSORS, build, KEYS)
    register_architecture(mine)
    with pytest.raises(RequestError, match="'mine' is registered already"):
        register_architecture(mine)
    register_architecture(mine, replace=True)
    for replace in (False, True):
        with pytest.raises(RequestError, match="nybble has an architecture 'llama'"):
            register_architecture(LLAMA, replace=replace)
    assert ARCHITECTURES["llama"] is LLAMA


@pytest.mark.parametrize("name", ["", 7])
def test_a_name_is_a_text(name):
    with pytest.raises(RequestError, match="the name of an architecture"):
        register_architecture(Architecture(name, TENSORS, build))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"tensors": {"x.weight": required("n_embed")}}, r"'x\.weight' is sized by 'n_embed', which Config"),
        (
            {"tensors": {"x.weight": required("2*n_ff|n_embed/2")}},
            r"'x\.weight' is sized by 'n_embed', which Config",
        ),
        (
            {"tensors": {"x.weight": required("2 * n_ff")}},
            r"'2 \* n_ff', which is neither an integer nor a for",
        ),
        ({"tensors": {"x.weight": required("n_ff", 2.0)}}, "2.0, which is neither an integer nor a formula"),
        ({"tensors": {"x.weight": required(3, when="has_expert")}}, "depends on 'has_expert'"),
        ({"tensors": {"x.weight": (3, 4)}}, r"must be required\(\.\.\.\) or optional"),
        ({"keys": {"x": Key("n_layer", "integer")}}, "key 'x' fills 'n_layer', which Config does not have"),
        ({"keys": {"x": "n_layers"}}, "must be a Key"),
        ({"inert": {"block_count": "no reason"}}, "'block_count' cannot be inert"),
    ],
)
def test_tables_that_cannot_be_are_refused(tables, message):
    with pytest.raises(RequestError, match=message):
        register_architecture(Architecture(**{"name": "mine", "tensors": TENSORS, "build": build, **tables}))
    assert "mine" not in ARCHITECTURES
    with pytest.raises(RequestError, match="an Architecture is registered"):
        register_architecture(tables)


def test_to_register_imports_no_other_architecture():
    code = """if True:
        import sys, nybble
        nybble.register_architecture(nybble.Architecture("mine", {}, print))
        found = (m.partition(".architectures.")[2] for m in sys.modules)
        print(*sorted(m for m in found if m and not m.startswith("parts")))
    """
    found = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert found.split() == ["registry"]


def test_the_architectures_of_nybble_pass_the_same_check():
    for architecture in ARCHITECTURES.values():
        check_tables(architecture)
        assert not any(key.field.startswith("own.") for key in architecture.keys.values())
