"""Control vectors, and the files that they are kept in."""

import gguf
import numpy as np
import pytest
import tiny_model
from hypothesis import given, settings, strategies as st

import nybble
from nybble import ModelError, RequestError, research
from nybble.cli import main
from nybble.engine.steering.control_vector import ControlVector
from nybble.gguf_io.writer import write_gguf

PAIRS = [([5, 6, 7], [5, 6, 8]), ([9, 7], [9, 8]), ([3, 3, 7], [3, 3, 8])]


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with nybble.LLM(tiny_model.write(tmp_path_factory.mktemp("control") / "m.gguf"), n_ctx=64) as llm:
        yield llm


def last(llm, prompt, layer):
    return llm.trace(prompt, f"blk.{layer}.resid_post")[f"blk.{layer}.resid_post"][-1]


def test_the_mean_difference(llm):
    vector = research.train_control_vector(llm, PAIRS)
    expected = np.mean([last(llm, a, 1) - last(llm, b, 1) for a, b in PAIRS], axis=0)
    np.testing.assert_allclose(vector.directions[1], expected, atol=1e-5)
    assert sorted(vector.directions) == list(range(1, llm.config.n_layers))
    assert vector.model_hint == "llama"


def test_the_principal_axis_points_the_same_way(llm):
    vector = research.train_control_vector(llm, PAIRS, "pca")
    differences = np.array([last(llm, a, 1) - last(llm, b, 1) for a, b in PAIRS], np.float64)
    values, axes = np.linalg.eigh(differences.T @ differences)
    direction = vector.directions[1].astype(np.float64)
    along = axes[:, values.argmax()]
    assert abs(direction @ along) == pytest.approx(np.linalg.norm(direction), rel=1e-4)
    assert direction @ differences.mean(axis=0) > 0


def test_it_is_added_behind_its_blocks(llm):
    vector = research.train_control_vector(llm, PAIRS)
    ids = [4, 5, 6]
    plain = llm.trace(ids, "blk.1.resid_post")["blk.1.resid_post"]
    moved = llm.trace(ids, "blk.1.resid_post", edit=vector.edits(2.0, range(1, 2)))["blk.1.resid_post"]
    np.testing.assert_allclose(moved, plain + 2 * vector.directions[1], rtol=1e-5, atol=1e-5)
    params = nybble.SamplingParams(max_tokens=3)
    still = llm.generate(ids, params, edit=vector.edits(0.0)).token_ids
    assert still == llm.generate(ids, params).token_ids


def test_vectors_are_mixed_by_their_strengths(llm):
    a, b = (ControlVector({i: np.full(64, v, np.float32)}, "llama") for i, v in ((1, 2.0), (0, 3.0)))
    mixture = ControlVector.mixed([(a, 0.5), (b, 2.0), (a, 1.0)])
    assert {i: set(d.tolist()) for i, d in mixture.directions.items()} == {0: {6.0}, 1: {3.0}}
    assert mixture.model_hint == "llama" and mixture.directions[1].dtype == np.float32


def test_the_command_line_adds_them(llm, tmp_path, capsys):
    a, b = tmp_path / "a.gguf", tmp_path / "b:2.gguf"
    random = np.random.default_rng(0)
    vectors = [ControlVector({1: random.standard_normal(64).astype(np.float32)}, "llama") for _ in range(2)]
    for vector, path in zip(vectors, (a, b), strict=True):
        vector.save(path)
    command = ["run", str(llm.path), "the other hand", "-n", "6", "-c", "64"]
    both = ["--control-vector", f"{a}:3.5", "--control-vector-scaled", str(b)]

    def text(*options):
        assert main([*command, *options]) == 0
        return capsys.readouterr().out

    params = nybble.SamplingParams(max_tokens=6)
    edit = ControlVector.mixed([(vectors[0], 3.5), (vectors[1], 1.0)]).edits()
    steered = llm.generate("the other hand", params, edit=edit).text
    plain = llm.generate("the other hand", params).text
    assert steered != plain == text().rstrip("\n")
    assert text(*both, "--control-vector-layer-range", "1", "1") == f"{steered}\n"
    for options, message in [
        ([*both, "--control-vector-layer-range", "2", "9"], "none of the chosen layers"),
        (["--control-vector-layer-range", "1", "9"], "needs a --control-vector"),
        (["--control-vector", str(llm.path)], "a control vector was expected"),
        (["--control-vector", f"{a}:nan"], "must be finite"),
        (["--control-vector", f"{a}:much"], "No such file"),
    ]:
        assert main([*command, *options]) == 1
        assert message in capsys.readouterr().err


def test_a_saved_vector_is_read_again_by_us_and_by_gguf(llm, tmp_path):
    vector = research.train_control_vector(llm, PAIRS)
    path = tmp_path / "v.gguf"
    vector.save(path)
    again = ControlVector.load(path)
    assert again.model_hint == "llama"
    assert {i: d.tobytes() for i, d in again.directions.items()} == {
        i: d.tobytes() for i, d in vector.directions.items()
    }
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert [t.name for t in reader.tensors] == [f"direction.{i}" for i in sorted(vector.directions)]


def test_what_is_no_control_vector_is_refused(llm, tmp_path):
    with pytest.raises(
        ModelError, match="a control vector was expected, found a model of the architecture llama"
    ):
        ControlVector.load(llm.path)
    path = tmp_path / "v.gguf"
    write_gguf(path, {"general.architecture": "controlvector"}, {"elsewhere": np.ones(4, np.float32)})
    with pytest.raises(ModelError, match=r"tensor elsewhere .* is no direction"):
        ControlVector.load(path)
    write_gguf(
        path, {"general.architecture": "controlvector"}, {"direction.1": np.full(4, np.nan, np.float32)}
    )
    with pytest.raises(ModelError, match="finite"):
        ControlVector.load(path)
    narrow = ControlVector({1: np.ones(4, np.float32)})
    with pytest.raises(RequestError, match="made for another model"):
        llm.logits([1, 2], edit=narrow.edits())
    with pytest.raises(RequestError, match=r"has 4 values for layer 1; .* has 2 layers of 64 values"):
        narrow.require_fit(llm)
    with pytest.raises(RequestError, match=r"none of the chosen layers \(5 to 8\); it has 1$"):
        narrow.edits(1.0, range(5, 9))
    with pytest.raises(RequestError, match="finite"):
        ControlVector.mixed([(narrow, float("inf"))])
    for parts in ([], [(narrow, 1.0), (ControlVector({1: np.ones(5, np.float32)}), 1.0)]):
        with pytest.raises(RequestError, match="all of one size"):
            ControlVector.mixed(parts)
    with pytest.raises(RequestError, match="finite"):
        narrow.edits(float("nan"))
    with pytest.raises(RequestError, match="no layer 0"):
        ControlVector({0: np.ones(4, np.float32)}).save(path)
    with pytest.raises(RequestError, match="at least one pair"):
        research.train_control_vector(llm, [])


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), min_size=1, max_size=4),
)
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=40)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}\.[a-z]{1,8}", fullmatch=True), VALUES, max_size=4),
    st.lists(SHAPES, max_size=4),
)
def test_what_is_written_is_read(tmp_path_factory, metadata, shapes):
    path = tmp_path_factory.mktemp("written") / "x.gguf"
    tensors = {
        f"t.{i}": np.random.default_rng(i).standard_normal(shape).astype(np.float32)
        for i, shape in enumerate(shapes)
    }
    write_gguf(path, metadata, tensors)
    with nybble.load_gguf(path) as file:
        for key, value in metadata.items():
            found = file.metadata[key]
            assert (list(found) if isinstance(value, list) else found) == value
        for name, array in tensors.items():
            assert file.tensors[name].dequantize().tobytes() == array.tobytes()
    found = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}
    assert all(
        found[name].reshape(array.shape).tobytes() == array.tobytes() for name, array in tensors.items()
    )


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((1,) * 5, np.float32), np.ones(0, np.float32)])
def test_tensors_that_gguf_cannot_hold_leave_no_file(tmp_path, bad):
    with pytest.raises(RequestError, match="must be float32"):
        write_gguf(tmp_path / "x.gguf", {}, {"x": bad})
    assert not list(tmp_path.iterdir())
