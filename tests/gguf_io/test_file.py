"""Opening GGUF files: what is read is what was written, by `gguf`'s writer and by the forge."""

import os
import random
import string
import struct
from pathlib import Path
from typing import Any

import forge
import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from stopwatch import cpu_seconds

import nybble.gguf_io.metadata
from nybble.gguf_io.file import GGUFFile, load_gguf
from nybble.gguf_io.formats import FORMATS, Q4_0


def write(path: Path, forged: GGUFForge, **overrides: Any) -> Path:
    path.write_bytes(forged.build(**overrides))
    return path


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_a_model_reads_as_gguf_reads_it(arch: str, tmp_path: Path) -> None:
    path = tiny_model.write(tmp_path / "tiny.gguf", arch, "Q4_0")
    theirs = gguf.GGUFReader(path)
    with load_gguf(path) as file:
        assert (file.version, file.architecture, file.path) == (3, arch, str(path))
        assert [tensor.name for tensor in theirs.tensors] == list(file.tensors)
        for other in theirs.tensors:
            tensor = file.tensors[other.name]
            assert tensor.name == other.name
            assert tensor.shape == tuple(int(dim) for dim in other.shape[::-1])
            assert tensor.format is FORMATS[other.tensor_type]
            assert tensor.data.tobytes() == other.data.tobytes()
        keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
        assert keys == list(file.metadata)
        for key in keys:
            np.testing.assert_array_equal(file.metadata[key], theirs.fields[key].contents(), key)


def test_metadata_values_have_the_types_of_python(tmp_path: Path) -> None:
    with load_gguf(tiny_model.write(tmp_path / "tiny.gguf", "gemma3")) as file:
        metadata = file.metadata
        assert type(metadata["gemma3.block_count"]) is int
        assert type(metadata["gemma3.attention.layer_norm_rms_epsilon"]) is float
        assert metadata["tokenizer.ggml.add_bos_token"] is True
        assert metadata["tokenizer.ggml.model"] == "llama"
        tokens = metadata["tokenizer.ggml.tokens"]
        assert type(tokens) is list
        assert tokens[:3] == ["<pad>", "<eos>", "<bos>"]
        assert metadata["tokenizer.ggml.tokens"] is tokens
        scores = metadata["tokenizer.ggml.scores"]
        assert (scores.dtype, scores.flags.writeable, scores.flags.aligned) == (np.float32, False, True)


def test_metadata_is_a_read_only_mapping_that_knows_types_and_lengths(tmp_path: Path) -> None:
    forged = (
        GGUFForge().set("n", 7).set("s", "text").set("a", ["x", "y"]).set("f", [1.5], array_of=forge.FLOAT64)
    )
    with load_gguf(write(tmp_path / "f.gguf", forged)) as file:
        metadata = file.metadata
        assert {key: metadata.type_of(key) for key in metadata} == {
            "n": "u32", "s": "string", "a": "string[]", "f": "f64[]",
        }  # fmt: skip
        assert [metadata.length_of(key) for key in metadata] == [None, None, 2, 1]
        assert "a" in metadata
        assert metadata.get("absent") is None
        assert repr(metadata) == "<Metadata of 4 keys>"
        assert path_bytes(file)[metadata.offset_of("n") :][:8] == struct.pack("<II", forge.U32, 7)
        for key in ("absent", "x"):
            with pytest.raises(KeyError):
                metadata[key]
        for mapping in (metadata, file.tensors):
            with pytest.raises(TypeError):
                mapping["n"] = 8  # type: ignore[index]


def path_bytes(file: GGUFFile) -> bytes:
    return Path(file.path).read_bytes()


def test_arrays_are_decoded_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("decoded")

    monkeypatch.setattr(nybble.gguf_io.metadata.StringArray, "decode", refuse)
    monkeypatch.setattr(nybble.gguf_io.metadata.NumericArray, "decode", refuse)
    with load_gguf(tiny_model.write(tmp_path / "tiny.gguf")) as file:
        assert "tokenizer.ggml.tokens" in file.metadata
        assert file.metadata.length_of("tokenizer.ggml.tokens") == 283
        with pytest.raises(RuntimeError, match="decoded"):
            file.metadata["tokenizer.ggml.tokens"]


def test_released_arrays_come_back(tmp_path: Path) -> None:
    with load_gguf(tiny_model.write(tmp_path / "tiny.gguf", "gemma3")) as file:
        metadata = file.metadata
        before = {key: metadata[key] for key in metadata}
        metadata.release()
        for key, value in before.items():
            np.testing.assert_array_equal(metadata[key], value, key)
            is_array = metadata.type_of(key).endswith("[]")
            assert (metadata[key] is value) == (not is_array), f"{key}: it was kept"
            assert metadata[key] is metadata[key]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_g37_random_metadata_of_every_type(seed: int, version: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    values: dict[str, Any] = {}
    forged = GGUFForge()
    for index in range(100):
        value_type = index % 13
        key = "".join(rng.choices(string.ascii_letters + "._é", k=rng.randint(1, 30))) + str(index)
        if value_type == forge.ARRAY:
            element_type = rng.choice([t for t in range(13) if t != forge.ARRAY])
            values[key] = [random_value(rng, element_type) for _ in range(rng.choice((0, 1, 7, 300)))]
            forged.set(key, values[key], array_of=element_type)
        else:
            values[key] = random_value(rng, value_type)
            forged.set(key, values[key], value_type)
    with load_gguf(write(tmp_path / "kv.gguf", forged, version=version)) as file:
        assert file.version == version
        assert list(file.metadata) == list(values)
        for key, value in values.items():
            ours = file.metadata[key]
            assert (ours.tolist() if isinstance(ours, np.ndarray) else ours) == value


def random_value(rng: random.Random, value_type: int) -> Any:
    if value_type == forge.STRING:
        return "".join(rng.choices("abc é\0\n🙂", k=rng.choice((0, 1, 5, 300))))
    if value_type == forge.BOOL:
        return rng.random() < 0.5
    if value_type == forge.FLOAT32:
        return struct.unpack("<f", struct.pack("<f", rng.gauss(0, 1e3)))[0]
    if value_type == forge.FLOAT64:
        return rng.gauss(0, 1e3)
    size = {forge.U8: 8, forge.I8: 8, forge.U16: 16, forge.I16: 16, forge.U32: 32, forge.I32: 32}.get(
        value_type, 64
    )
    signed = value_type in (forge.I8, forge.I16, forge.I32, forge.I64)
    return rng.randrange(-(2 ** (size - 1)), 2 ** (size - 1)) if signed else rng.randrange(2**size)


@pytest.mark.parametrize("alignment", [1, 8, 32, 64, 65536])
def test_g63_random_tensors_of_every_type(alignment: int, tmp_path: Path) -> None:
    rng = random.Random(alignment)
    forged = GGUFForge(alignment=alignment).set("general.alignment", alignment)
    expected = {}
    for index in range(100):
        format = list(FORMATS.values())[index % len(FORMATS)]
        dims = [format.block_size * rng.randint(1, 3), *(rng.randint(1, 4) for _ in range(rng.randint(0, 3)))]
        data = rng.randbytes(format.nbytes(int(np.prod(dims))))
        forged.add_tensor(f"t.{index}", dims, format.ggml_id, data)
        expected[f"t.{index}"] = (format, tuple(dims[::-1]), data)
    with load_gguf(write(tmp_path / "tensors.gguf", forged)) as file:
        assert file.alignment == alignment
        found = {n: (t.format, t.shape, t.data.tobytes()) for n, t in file.tensors.items()}
        assert found == expected


def test_tensors_are_read_only_views_of_the_file(tmp_path: Path) -> None:
    with load_gguf(tiny_model.write(tmp_path / "tiny.gguf", weight_format="Q4_0")) as file:
        tensor = file.tensors["blk.0.ffn_up.weight"]
        assert (tensor.shape, tensor.format) == ((128, 64), Q4_0)
        assert (tensor.n_values, tensor.nbytes) == (128 * 64, 128 * 36)
        assert not tensor.data.flags.writeable
        assert not tensor.data.flags.owndata
        with pytest.raises(ValueError, match="WRITEABLE"):
            tensor.data.flags.writeable = True
        weights = tensor.dequantize()
        assert (weights.shape, weights.dtype) == ((128, 64), np.float32)
        assert repr(tensor) == "<Tensor 'blk.0.ffn_up.weight' Q4_0 (128, 64)>"


def test_scalar_and_empty_tensors(tmp_path: Path) -> None:
    """G43, G45: both are sound containers; what a model makes of them is the loader's business."""
    forged = (
        GGUFForge()
        .add_tensor("scalar", [], data=struct.pack("<f", 2.5))
        .add_tensor("empty", [4, 0], data=b"")
    )
    with load_gguf(write(tmp_path / "odd.gguf", forged)) as file:
        scalar, empty = file.tensors["scalar"], file.tensors["empty"]
        assert (scalar.shape, scalar.dequantize()) == ((), 2.5)
        assert (empty.shape, empty.nbytes, empty.dequantize().shape) == ((0, 4), 0, (0, 4))


AWKWARD = {
    "long": ["x" * 256, "y" * 255, "z" * 70_000] * 3,
    "empty": [""] * 9000,
    "nul": ["\0", "\0" * 8, "a\0\0\0\0\0\0\0", "\1\0\0\0\0\0\0\0"] * 3000,
    "plain then long": ["word"] * 30_000 + ["w" * 300] + ["word"] * 30_000,
    "many": [str(i) for i in range(100_000)],
    "none": [],
}


@pytest.mark.parametrize("strings", AWKWARD.values(), ids=AWKWARD.keys())
def test_string_arrays_of_every_kind_end_where_they_should(strings: list[str], tmp_path: Path) -> None:
    """Strings that the reader can take many at once and those that it cannot, and the two in turn."""
    forged = GGUFForge().set("strings", strings, array_of=forge.STRING).set("after", 42)
    with load_gguf(write(tmp_path / "strings.gguf", forged)) as file:
        assert file.metadata["after"] == 42
        assert file.metadata["strings"] == strings


@pytest.mark.parametrize("n_tokens", [100_000, 262_144])
def test_opening_a_large_vocabulary_is_fast(n_tokens: int, tmp_path: Path) -> None:
    """As many strings as SmolLM2 (tokens and merges) and Gemma 3: they become Python's when somebody reads
    them, which takes some thirty times as long as to open the file."""
    forged = (
        GGUFForge().set("tokens", [f"▁token{i}" for i in range(n_tokens)]).set("scores", [0.5] * n_tokens)
    )
    path = write(tmp_path / "large.gguf", forged)

    def read() -> None:
        with load_gguf(path) as file:
            assert len(list(file.metadata["tokens"])) == n_tokens

    assert cpu_seconds(lambda: load_gguf(path).close(), best_of=5) < cpu_seconds(read) / 4


def test_paths_may_be_strings_or_path_objects(tmp_path: Path) -> None:
    path = tiny_model.write(tmp_path / "tiny.gguf")
    for form in (path, str(path)):
        with load_gguf(form) as file:
            assert file.path == os.fspath(path)
            assert repr(file) == f"<GGUFFile {str(path)!r}>"
