"""Errors about NaN name what has made it: a float16 cache, a damaged tensor, or the range of float32."""

from collections.abc import Callable
from pathlib import Path

import architecture_fixtures
import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble import ModelError, RequestError, research

IDS = [70, 71, 72, 73, 74]
EPS = 1e-5

each_executor = pytest.mark.parametrize("executor", ["numba", "reference"])


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[..., Path]:
    """A tiny model whose tensors are changed: name -> function of their float32 values."""

    def make(arch: str = "llama", **changes: Callable[[np.ndarray], np.ndarray]) -> Path:
        path = tiny_model.write(tmp_path / "sound.gguf", arch)
        made = GGUFForge.parse(path.read_bytes())
        for name, change in changes.items():
            tensor = made.tensor(f"{name.replace('__', '.')}.weight")
            values = np.frombuffer(tensor.data, np.float32).reshape(tensor.dims[::-1])
            tensor.data = change(values.copy()).astype(np.float32).tobytes()
        path = tmp_path / "damaged.gguf"
        path.write_bytes(made.build())
        return path

    return make


def layer_values(path: Path, ids: list[int]) -> np.ndarray:
    """The values of layer 0, computed in float64 from what `gguf` reads."""
    tensors = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}
    x = tensors["token_embd.weight"][ids].astype(np.float64)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPS) * tensors["blk.0.attn_norm.weight"]
    return x @ tensors["blk.0.attn_v.weight"].astype(np.float64).T


@pytest.mark.parametrize("n_batch", [512, 2])
def test_values_that_the_cache_cannot_hold(damaged, n_batch):
    path = damaged(blk__0__attn_v=lambda w: w * 1e6, blk__0__attn_output=lambda w: w * 1e-6)
    largest = np.abs(layer_values(path, IDS[:1])).max()
    with nybble.LLM(path, n_batch=n_batch, n_ctx=64) as llm:
        for _ in range(2):  # an error leaves a model that can be asked again
            with pytest.raises(
                ModelError, match=r"as f16, which ends at 65504; use cache_type=\"f32\""
            ) as caught:
                llm.generate(IDS)
        found = str(caught.value)
    assert "logits at position 4: the values of layer 0, blk.0.v, reach " in found
    assert " at position 0, " in found
    number = float(found.partition("reach ")[2].split()[0])
    assert abs(number - largest) < 1e-3 * largest
    with nybble.LLM(path, executor="reference", n_ctx=64) as llm:
        assert np.isfinite(llm.logits(IDS)).all()


@pytest.mark.parametrize(("name", "end", "beyond"), [("q8_0", "8319008", 1e4), ("q4_0", "524032", 1e3)])
def test_the_range_of_quantized_caches(name, end, beyond, damaged):
    """It is that of the float16 scale of a block; float32 has none."""
    for factor in (0.5, beyond):
        path = damaged(
            blk__0__attn_v=lambda w, f=factor: w * 1e5 * f,
            blk__0__attn_output=lambda w, f=factor: w * 1e-5 / f,
        )
        with nybble.LLM(path, cache_type="f32", n_ctx=64) as llm:
            assert np.isfinite(llm.logits(IDS)).all()
        with nybble.LLM(path, cache_type=name, n_ctx=64) as llm:
            if factor < 1:
                assert np.isfinite(llm.logits(IDS)).all()
                continue
            with pytest.raises(ModelError, match=f'as {name}, which ends at {end}; use cache_type="f32"'):
                llm.logits(IDS)


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_keys_that_the_cache_cannot_hold(arch, damaged):
    """gemma3 has norms of q and k, which scale them."""
    changes = {"llama": ["attn_q", "attn_k"], "gemma3": ["attn_q_norm", "attn_k_norm"]}[arch]
    factors = {f"blk__1__{name}": factor for name, factor in zip(changes, (1e-6, 1e6), strict=True)}
    path = damaged(arch, **{name: (lambda w, f=factor: w * f) for name, factor in factors.items()})
    with nybble.LLM(path, n_ctx=64) as llm, pytest.raises(ModelError, match=r"keys of layer 1, blk\.1\.k"):
        llm.logits(IDS)
    with nybble.LLM(path, executor="reference", n_ctx=64) as llm:
        assert np.isfinite(llm.logits(IDS)).all()


@each_executor
def test_a_damaged_tensor_is_named_with_its_row(executor, damaged):
    def damage(w):
        w[7, 5] = np.nan
        return w

    path = damaged(blk__1__ffn_down=damage)
    message = r"at position 0: tensor 'blk\.1\.ffn_down\.weight' holds NaN or infinity in row 7: the file is"
    with nybble.LLM(path, executor=executor, n_ctx=64) as llm, pytest.raises(ModelError, match=message):
        llm.logits(IDS)


@each_executor
def test_what_leaves_the_range_of_float32(executor, damaged):
    """Damage that is nobody's: all weights are finite."""
    path = damaged(blk__0__ffn_up=lambda w: w * 1e25, blk__0__ffn_down=lambda w: w * 1e25)
    message = r"at position 0: blk\.0\.ffn_out leaves the range of float32 at position 0, though the weights"
    with nybble.LLM(path, executor=executor, n_ctx=64) as llm, pytest.raises(ModelError, match=message):
        llm.logits(IDS)


def test_edits_that_the_cache_cannot_hold(damaged):
    """The model is sound; so the error is about the edits, and says where they lead."""
    edit = {"blk.1.v": lambda value, info: value * np.float32(1e7)}
    message = r"with these edits .* at position 0: the values of layer 1, blk\.1\.v, reach"
    with nybble.LLM(damaged(), n_ctx=64) as llm:
        with pytest.raises(RequestError, match=message):
            llm.logits(IDS, edit=edit)
        assert np.isfinite(llm.logits(IDS)).all()


def test_embeddings(tmp_path):
    path = architecture_fixtures.write(tmp_path / "m.gguf", architecture_fixtures.description("bert"))
    made = GGUFForge.parse(path.read_bytes())
    made.tensor("blk.1.layer_output_norm.bias").data = np.full(64, np.nan, np.float32).tobytes()
    path.write_bytes(made.build())
    message = r"at position 0 is NaN or infinite: tensor 'blk\.1\.layer_output_norm\.bias' holds NaN"
    with nybble.LLM(path, executor="reference") as llm, pytest.raises(ModelError, match=message):
        llm.embed([1, 2])


def test_captures(tmp_path, damaged):
    """float32 cannot hold it either, so the remedy is another."""
    path = damaged(blk__1__ffn_down=lambda w: w * np.float32(np.nan))
    message = r"NaN or infinite at position 0 of text 0: tensor 'blk\.1\.ffn_down\.weight' holds NaN"
    with nybble.LLM(path, executor="reference", n_ctx=64) as llm, pytest.raises(ModelError, match=message):
        research.capture_corpus(llm, [IDS], "blk.1.resid_post", tmp_path / "x")


def test_a_damaged_classifier(tmp_path):
    """It is computed apart from the rest, and its scores were NaN in silence."""
    path = architecture_fixtures.write(
        tmp_path / "m.gguf", architecture_fixtures.description("bert-classifier")
    )
    made = GGUFForge.parse(path.read_bytes())
    tensor = made.tensor("cls.output.weight")
    tensor.data = np.full(len(tensor.data) // 4, np.inf, np.float32).tobytes()
    path.write_bytes(made.build())
    message = r"after the pooling is NaN or infinite: tensor 'cls\.output\.weight' holds NaN or infinity"
    with nybble.LLM(path, executor="reference") as llm, pytest.raises(ModelError, match=message):
        llm.classify([1, 2])
