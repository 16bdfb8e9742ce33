"""Errors say what a file is that is no model, and how pieces and parts are put together."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import forge
import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble import GGUFFormatError, GGUFUnsupportedError, ModelError
from nybble.cli import main
from nybble.gguf_io.file import load_gguf
from nybble.research import ControlVector


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_model.write(tmp_path_factory.mktemp("kinds") / "tiny.gguf").read_bytes()


def vocabulary_only(sound: bytes) -> GGUFForge:
    made = GGUFForge.parse(sound)
    made.tensors = []
    return made


PROJECTOR = "a multimodal projector (mmproj), which sees or hears for a model"
IMAGES = "a part of an image or video generator"
KINDS = {
    "lora": (
        lambda sound: (
            GGUFForge()
            .set("general.architecture", "llama")
            .set("general.type", "adapter")
            .set("adapter.type", "lora")
            .set("adapter.lora.alpha", 16.0)
            .add_tensor("blk.0.attn_q.weight.lora_a", [64, 8])
            .add_tensor("blk.0.attn_q.weight.lora_b", [8, 64])
        ),
        "a LoRA adapter for a model of the architecture llama",
        "llama-export-lora",
    ),
    "projector": (
        lambda sound: (
            GGUFForge()
            .set("general.architecture", "clip")
            .set("general.type", "mmproj")
            .set("clip.has_vision_encoder", True)
            .add_tensor("v.patch_embd.weight", [14, 14, 3, 64])
        ),
        PROJECTOR,
        "the language model is another file",
    ),
    "projector of llava": (
        lambda sound: GGUFForge().set("general.architecture", "clip").set("clip.has_llava_projector", True),
        PROJECTOR,
        "nybble runs that one, on text",
    ),
    "imatrix": (
        lambda sound: (
            GGUFForge()
            .set("general.type", "imatrix")
            .set("imatrix.datasets", ["wiki.txt"])
            .set("imatrix.chunk_count", 10)
            .add_tensor("blk.0.attn_q.weight.in_sum2", [64, 1])
            .add_tensor("blk.0.attn_q.weight.counts", [1, 1])
        ),
        "an importance matrix (imatrix)",
        "open the model itself",
    ),
    "control vector": (
        lambda sound: (
            GGUFForge()
            .set("general.architecture", "controlvector")
            .set("controlvector.model_hint", "llama")
            .add_tensor("direction.1", [64])
        ),
        "a control vector",
        "`nybble run --control-vector`",
    ),
    "vocabulary": (vocabulary_only, "a vocabulary without a model", "`nybble tokenize` can use it"),
    "images": (
        lambda sound: GGUFForge().set("general.architecture", "flux").add_tensor("img_in.weight", [64, 64]),
        IMAGES,
        "nybble runs language models only",
    ),
    "images without architecture": (
        lambda sound: GGUFForge().add_tensor("model.diffusion_model.input_blocks.0.0.bias", [64]),
        IMAGES,
        "nybble runs language models only",
    ),
    "vocoder": (
        lambda sound: GGUFForge().set("general.architecture", "wavtokenizer-dec"),
        "a vocoder, which makes sound of the tokens of a speech model",
        "nybble runs language models only",
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_no_model(
    case: str, sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build, kind, advice = KINDS[case]
    path = tmp_path / "file.gguf"
    path.write_bytes(build(sound).build())
    with pytest.raises(GGUFUnsupportedError) as caught:
        nybble.LLM(path)
    problem = str(caught.value)
    assert problem.startswith(f"{path}: this is {kind}; ") and advice in problem
    assert main(["inspect", str(path)]) == 1
    shown = capsys.readouterr().out
    assert f": {kind}, GGUF v" in shown and shown.count(problem) == 1
    assert main(["inspect", "--json", str(path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["problems"], report["kind"]) == ([problem], kind)
    if case == "vocabulary":
        assert main(["tokenize", str(path), "a"]) == 0
    else:
        assert main(["tokenize", str(path), "a"]) == 1
        assert f"has no tokenizer: this is {kind}" in capsys.readouterr().err


def test_a_model_is_a_model(sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(GGUFForge.parse(sound).set("general.type", "model").build())
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "a model"
    with pytest.raises(ModelError, match=r"control vector was expected, found a model of the arch.* llama"):
        ControlVector.load(path)
    path.write_bytes(KINDS["imatrix"][0](sound).build())
    with pytest.raises(ModelError, match="control vector was expected, found an importance matrix"):
        ControlVector.load(path)


def safetensors() -> bytes:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def archive(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(name, b"x" * 40)
    return made.getvalue()


FOREIGN = {
    "safetensors": (safetensors(), "a safetensors file; convert"),
    "pickle": (pickle.dumps({"x": [1, 2, 3] * 9}, protocol=2), "a Python pickle, perhaps .*convert"),
    "torch": (archive("archive/data.pkl"), "a PyTorch checkpoint; convert"),
    "zip": (archive("model.gguf"), "a ZIP archive; unpack it"),
    "ggjt": (b"tjgg" + bytes(40), "legacy GGJT file; convert"),
    "ggla": (b"algg" + bytes(40), "legacy LoRA adapter"),
    "imatrix": (b"\2\0\0\0\x13\0\0\0blk.0.attn_q.weight" + bytes(40), "an importance matrix .* before GGUF"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xf3\x82\x01\n\x0f", "an ONNX model, .*in GGUF"),
    "onnx graph": (b"\x08\x07:\xb5\x1c\n\x29\n\x01x\x12\x01y", "an ONNX model"),
    "html": (b"\n<!doctype HTML><html lang=en>" + b" " * 40, "an HTML or XML page; the download went wrong"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an HTML or XML page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer.*git lfs pull"),
    "json": (b'{\n  "architectures": ["LlamaForCausalLM"]\n}\n', "JSON, perhaps a model's configuration"),
    "text": (b"Invalid username or password.", "what a server said.*: Invalid username or password"),
    "zeros": (bytes(5000), "nothing but zeros so far"),
    "gzip": (b"\x1f\x8b\x08\x08" + bytes(40), "a gzip archive; unpack"),
    "empty": (b"", "the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_gguf(case: str, tmp_path: Path) -> None:
    content, message = FOREIGN[case]
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(GGUFFormatError, match=rf"model\.gguf: .*at byte 0: .*{message}"):
        nybble.LLM(tmp_path / "model.gguf")


def test_what_is_unlike_anything_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(GGUFFormatError, match=r"expected b'GGUF', found b'\S+'$"):
        nybble.LLM(tmp_path / "model.gguf")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="there is no GGUF file in it"):
        nybble.LLM(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(IsADirectoryError, match="with a model that is not GGUF; convert"):
        nybble.LLM(tmp_path)
    (tmp_path / "a.gguf").touch()
    with pytest.raises(IsADirectoryError, match=r"; open a file in it: a\.gguf: "):
        nybble.LLM(tmp_path)


PIECES = {
    "part1of": ["m.gguf.part1of3", "m.gguf.part2of3", "m.gguf.part3of3"],
    "split-a": ["m.gguf-split-a", "m.gguf-split-b", "m.gguf-split-c"],
    "split": ["m.ggufaa", "m.ggufab", "m.ggufac"],
    "letters": ["m.gguf.a", "m.gguf.b", "m.gguf.c"],
    "numbers": ["m.gguf.9", "m.gguf.10", "m.gguf.11"],
    "part-aa": ["m.gguf.part-aa", "m.gguf.part-ab", "m.gguf.part-ac"],
    "chunk": ["m-chunk-001-of-003.gguf", "m-chunk-002-of-003.gguf", "m-chunk-003-of-003.gguf"],
}


@pytest.mark.parametrize("case", PIECES)
@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_pieces_cut_by_bytes(case: str, sound: bytes, tmp_path: Path) -> None:
    """The command in the error makes the model of them."""
    third = len(sound) // 3 + 1
    for i, name in enumerate(PIECES[case]):
        (tmp_path / name).write_bytes(sound[i * third : (i + 1) * third])
    for name in PIECES[case]:
        with pytest.raises(GGUFFormatError, match="a piece of a file that was cut by bytes; join") as caught:
            load_gguf(tmp_path / name)
        command = str(caught.value).partition("in order: ")[2]
        assert command == f"cat {' '.join(PIECES[case])} > m.gguf"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "m.gguf").read_bytes() == sound
    if "of3" in PIECES[case][0]:
        (tmp_path / PIECES[case][1]).unlink()
        with pytest.raises(GGUFFormatError, match=r"fetch all 3 \(here are 2\), then join"):
            load_gguf(tmp_path / PIECES[case][0])


@pytest.mark.parametrize("name", ["m.gguf.ab", "m.gguf.1", "m.gguf.partial", "m.gguf", "m.gguf.bak"])
def test_other_names_say_nothing_of_pieces(name: str, sound: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(sound[:-5000])
    with pytest.raises(
        GGUFFormatError, match=rf"truncated: need \d+ bytes, have {len(sound) - 5000} of"
    ) as caught:
        load_gguf(tmp_path / name)
    assert "by its name" not in str(caught.value) and "fetch the rest" in str(caught.value)


@pytest.mark.parametrize("has_tensors", [True, False])
def test_parts_joined_with_cat(has_tensors: bool, tmp_path: Path) -> None:
    """gguf-split may put nothing but metadata into the first part."""
    parts = []
    for number in range(3):
        part = GGUFForge().set("general.architecture", "llama") if number == 0 else GGUFForge()
        part.set("split.no", number, forge.U16).set("split.count", 3, forge.U16)
        if number or has_tensors:
            part.add_tensor(f"t{number}", [33])
        parts.append(part.build())
    path = tmp_path / "joined.gguf"
    path.write_bytes(b"".join(parts))
    message = (
        rf"joined with cat: after part 1 of 3, at byte {len(parts[0])}, .*-00001-of-00003\.gguf.*--merge"
    )
    with pytest.raises(ModelError, match=message):
        load_gguf(path)


def test_another_file_behind_a_whole_one(
    sound: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is ignored, as by llama.cpp, and said."""
    (tmp_path / "m.gguf").write_bytes(sound + sound)
    with load_gguf(tmp_path / "m.gguf") as file:
        assert file.trailing_bytes == len(sound) == file.appended
    assert "bytes, another GGUF file, after the last tensor" in caplog.text


def test_the_names_of_gguf_py(tmp_path: Path, sound: bytes) -> None:
    """`general.type` and the architecture of projectors are those of llama.cpp's own package."""
    types = {value for name, value in vars(gguf.GGUFType).items() if name.isupper()}
    assert types == {"model", "adapter", "imatrix", "mmproj"}
    assert gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.MMPROJ] == "clip"
