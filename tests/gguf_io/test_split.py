"""Models in several files; HOSTILE.md G109 to G112."""

import os
from collections.abc import Callable
from pathlib import Path

import forge
import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge

from nybble.errors import GGUFFormatError, ModelError
from nybble.gguf_io.file import load_gguf

N = 3


def name(number: int, count: int = N) -> str:
    return f"tiny-{number:05}-of-{count:05}.gguf"


@pytest.fixture
def whole(tmp_path: Path) -> GGUFForge:
    return GGUFForge.parse(tiny_model.write(tmp_path / "whole.gguf").read_bytes())


@pytest.fixture
def parts(whole: GGUFForge) -> list[GGUFForge]:
    """As llama.cpp splits: the metadata in the first part, the tensors dealt out in order."""
    made = [GGUFForge(kv=list(whole.kv) if number == 0 else []) for number in range(N)]
    for number, part in enumerate(made):
        part.set("split.no", number, forge.U16).set("split.count", N, forge.U16)
        part.set("split.tensors.count", len(whole.tensors), forge.I32)
        part.tensors = whole.tensors[number * 7 : (number + 1) * 7 if number < N - 1 else None]
    return made


def write(parts: list[GGUFForge], directory: Path) -> list[Path]:
    paths = [directory / name(number + 1) for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part.build())
    return paths


@pytest.mark.parametrize("opened", range(N))
def test_any_part_opens_all(opened: int, parts: list[GGUFForge], tmp_path: Path) -> None:
    """G110, where llama.cpp wants the first."""
    paths = write(parts, tmp_path)
    with load_gguf(tmp_path / "whole.gguf") as whole, load_gguf(paths[opened]) as file:
        assert file.path == str(paths[0])
        assert file.architecture == "llama"
        assert list(file.tensors) == list(whole.tensors)
        for tensor, expected in zip(file.tensors.values(), whole.tensors.values(), strict=True):
            assert (tensor.shape, tensor.format) == (expected.shape, expected.format)
            assert tensor.data.tobytes() == expected.data.tobytes()
        assert [tensor.path for tensor in file.tensors.values()][::7] == [str(path) for path in paths][:N]
        assert set(file.metadata) - set(whole.metadata) == {"split.no", "split.count", "split.tensors.count"}


def test_parts_as_gguf_writes_them(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama", split_max_tensors=2)
    tensors = {f"t{i}": np.full((2, 32), i, np.float32) for i in range(5)}
    for key, values in tensors.items():
        writer.add_tensor(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with load_gguf(tmp_path / "model-00002-of-00003.gguf") as file:
        assert {key: tensor.dequantize().tolist() for key, tensor in file.tensors.items()} == {
            key: values.tolist() for key, values in tensors.items()
        }


def test_without_a_count_of_tensors_and_in_the_working_directory(
    parts: list[GGUFForge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in parts:
        part.remove("split.tensors.count")
    write(parts, tmp_path)
    monkeypatch.chdir(tmp_path)
    with load_gguf(name(2)) as file:
        assert file.path == name(1)


@pytest.mark.parametrize("count", [0, 1])
def test_g111_one_part_is_a_whole_file(count: int, whole: GGUFForge, tmp_path: Path) -> None:
    path = tmp_path / "any name"
    path.write_bytes(whole.set("split.count", count, forge.U16).build())
    with load_gguf(path) as file:
        assert len(file.tensors) == len(whole.tensors)


def test_g109_missing_parts_are_listed(parts: list[GGUFForge], tmp_path: Path) -> None:
    paths = write(parts, tmp_path)
    paths[0].unlink()
    paths[2].unlink()
    with pytest.raises(ModelError) as caught:
        load_gguf(paths[1])
    assert str(caught.value) == f"{paths[1]}: part 2 of 3 of a model; missing: {paths[0]}, {paths[2]}"


def test_g111_very_many_parts(
    parts: list[GGUFForge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name(1, 65535)
    path.write_bytes(parts[0].set("split.count", 65535, forge.U16).build())
    opened = []
    os_open = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args[0]) or os_open(*args))
    with pytest.raises(ModelError, match=r"part 1 of 65535 .*missing: .*-00006-of-65535.gguf and 65529 more"):
        load_gguf(path)
    assert opened == [str(path)]


@pytest.mark.parametrize(
    "other", ["tiny.gguf", "tiny-00001-of-00004.gguf", "tiny-00002-of-00003.gguf", "tiny-1-of-3.gguf"]
)
def test_g109_a_name_that_does_not_say_where_the_others_are(
    other: str, parts: list[GGUFForge], tmp_path: Path
) -> None:
    path = tmp_path / other
    path.write_bytes(parts[0].build())
    with pytest.raises(ModelError, match=r"part 1 of 3.*must end with -00001-of-00003\.gguf"):
        load_gguf(path)


Change = Callable[[list[GGUFForge]], object]
CASES: dict[str, tuple[Change, str]] = {
    "another number": (
        lambda parts: parts[1].set("split.no", 2, forge.U16),
        r"00002-of-00003.gguf: must be part 2 of 3 by its name, says it is part 3 of 3",
    ),
    "another count": (
        lambda parts: parts[1].set("split.count", 4, forge.U16),
        r"00002-of-00003.gguf: must be part 2 of 3 .*part 2 of 4",
    ),
    "a whole model": (
        lambda parts: parts[2].remove("split.count"),
        r"00003-of-00003.gguf: must be part 3 of 3 .*a whole model",
    ),
    "a tensor in two parts": (
        lambda parts: parts[1].tensors.append(parts[0].tensors[3]),
        r"00002-of-00003.gguf: tensor '.*' is in .*00001-of-00003.gguf too",
    ),
    "too few tensors": (
        lambda parts: parts[1].tensors.pop(),
        r"00001-of-00003.gguf: split.tensors.count is 21, but the 3 parts have 20 tensors",
    ),
    "another number of tensors": (
        lambda parts: parts[1].set("split.tensors.count", 99, forge.I32),
        r"00002-of-00003.gguf: belongs to another model: its split.tensors.count is 99, not 21",
    ),
    "another architecture": (
        lambda parts: parts[1].set("general.architecture", "gemma3"),
        r"00002-of-00003.gguf: belongs to another model: its general.architecture is not that of",
    ),
    "another vocabulary": (
        lambda parts: parts[1].set("tokenizer.ggml.tokens", ["a"]),
        r"00002-of-00003.gguf: belongs to another model: its tokenizer.ggml.tokens",
    ),
    "a number out of range": (
        lambda parts: parts[0].set("split.no", 3, forge.U16),
        r"00001-of-00003.gguf: split.no is 3, but split.count 3",
    ),
    "no number": (lambda parts: parts[0].remove("split.no"), r"split.no is None"),
    "a number below zero": (lambda parts: parts[0].set("split.no", -1, forge.I32), r"split.no is -1"),
    "a count below zero": (lambda parts: parts[0].set("split.count", -3, forge.I32), r"split.count -3"),
    "text for a number": (
        lambda parts: parts[0].set("split.count", "3"),
        r"split.count must be an integer, found string",
    ),
    "truth for a number": (
        lambda parts: parts[0].set("split.count", True, forge.BOOL),
        r"split.count must be an integer, found bool",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_g112_parts_that_do_not_belong_together(case: str, parts: list[GGUFForge], tmp_path: Path) -> None:
    change, pattern = CASES[case]
    change(parts)
    with pytest.raises(ModelError, match=pattern):
        load_gguf(write(parts, tmp_path)[0])


def test_what_is_wrong_with_another_part_is_said_with_its_path(
    parts: list[GGUFForge], tmp_path: Path
) -> None:
    paths = write(parts, tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-100])
    with pytest.raises(GGUFFormatError, match=rf"{paths[2]}: .*truncated"):
        load_gguf(paths[0])
    paths[2].unlink()
    paths[2].mkdir()
    with pytest.raises(IsADirectoryError):
        load_gguf(paths[0])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what /proc shows")
def test_no_part_stays_open(parts: list[GGUFForge], tmp_path: Path) -> None:
    paths = write(parts, tmp_path)
    before = open_files()
    load_gguf(paths[1]).close()
    assert open_files() == before
    parts[2].set("split.no", 0, forge.U16)
    write(parts, tmp_path)
    with pytest.raises(ModelError):
        load_gguf(paths[1])
    assert open_files() == before


def test_a_change_of_any_part_is_noticed(parts: list[GGUFForge], tmp_path: Path) -> None:
    paths = write(parts, tmp_path)
    with load_gguf(paths[0]) as file:
        file.check_unchanged()
        with paths[2].open("ab") as last:
            last.write(b"x")
        with pytest.raises(ModelError, match=f"{paths[2]}: model file changed"):
            file.check_unchanged()
