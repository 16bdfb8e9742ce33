"""HOSTILE.md G1 to G70: every malformed file has its outcome, within a second."""

import logging
import subprocess
import sys
from pathlib import Path

import hostile_cases
import pytest
import tiny_model
from hostile_cases import CASES, Case
from stopwatch import HANG

from nybble.errors import GGUFFormatError, GGUFUnsupportedError, ModelError
from nybble.gguf_io.file import load_gguf


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case(case: Case, tmp_path: Path) -> None:
    hostile_cases.check(case, tmp_path)


def test_the_same_without_asserts_and_with_warnings_as_errors() -> None:
    """G135."""
    command = [sys.executable, "-O", "-W", "error", hostile_cases.__file__]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(CASES)} cases, optimize = 1\n"


def test_g14_a_file_without_metadata_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(hostile_cases.GGUFForge().build())
    with load_gguf(path) as file:
        assert (len(file.metadata), len(file.tensors)) == (0, 0)
        with pytest.raises(ModelError, match=rf"{path}: no general.architecture"):
            _ = file.architecture


@pytest.mark.parametrize(("value", "found"), [(7, "u32"), ([1], r"i32\[\]"), (b"\xff", "string")])
def test_g72_an_architecture_that_is_not_text(value: object, found: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    forged = hostile_cases.sound().set("general.architecture", value)
    path.write_bytes(forged.build())
    with load_gguf(path) as file, pytest.raises(ModelError, match=f"general.architecture must be .*{found}"):
        _ = file.architecture


def test_g21_text_that_is_not_utf8_stays_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes.gguf"
    path.write_bytes(hostile_cases.sound().set("k", b"\xff\xfe").set("ks", ["ok", b"\xff", "é"]).build())
    with load_gguf(path) as file:
        assert file.metadata["k"] == b"\xff\xfe"
        assert file.metadata["ks"] == ["ok", b"\xff", "é"]


def test_g23_any_bool_byte_but_zero_is_true(tmp_path: Path) -> None:
    path = tmp_path / "bool.gguf"
    path.write_bytes(hostile_cases.with_kv(type=hostile_cases.forge.BOOL, payload=b"\2"))
    with load_gguf(path) as file:
        assert file.metadata["k"] is True


def test_g56_a_format_known_by_size_loads_but_does_not_compute(tmp_path: Path) -> None:
    path = tmp_path / "q8_1.gguf"
    path.write_bytes(hostile_cases.with_tensor([32], hostile_cases.forge.Q8_1, data=bytes(36)))
    with load_gguf(path) as file, pytest.raises(GGUFUnsupportedError, match=f"{path}: tensor 't': .* Q8_1"):
        file.tensors["t"].dequantize()


@pytest.mark.parametrize("percent", [25, 50, 90])
def test_g68_a_model_that_was_cut_names_the_first_tensor_out_of_bounds(percent: int, tmp_path: Path) -> None:
    path = tiny_model.write(tmp_path / "model.gguf", "gemma3", "Q8_0")
    with load_gguf(path) as file:
        names = list(file.tensors)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(
        GGUFFormatError, match=r"data of tensor '(.*)' at byte \d+: truncated: need"
    ) as caught:
        load_gguf(path)
    first_missing = str(caught.value).split("'")[1]
    assert 0 < names.index(first_missing) < len(names) - 1


def test_g69_bytes_after_the_last_tensor_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "polyglot.gguf"
    path.write_bytes(hostile_cases.sound().build(tail=b"PK\3\4 and more"))
    with caplog.at_level(logging.WARNING), load_gguf(path) as file:
        assert file.trailing_bytes == 13
    assert f"{path}: ignoring 13 bytes after the last tensor" in caplog.text


def test_a_header_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    """Sparse, so that the file costs no disk: one array of 101 MiB."""
    path = tmp_path / "large.gguf"
    head = hostile_cases.GGUFForge().build(n_kv=1)
    payload = hostile_cases.forge.array(hostile_cases.forge.U8, [], count=101 << 20)
    with path.open("wb") as out:
        out.write(head + hostile_cases.KeyValue(b"k", hostile_cases.forge.ARRAY, payload).build())
        out.truncate(200 << 20)
    with pytest.raises(GGUFFormatError, match=r"metadata 'k' at byte \d+: .*104857\d\d\d"):
        load_gguf(path)


def test_a_header_that_reaches_the_limit_is_refused(tmp_path: Path) -> None:
    """The array ends just below the limit; the next key would cross it, though the file goes on."""
    path = tmp_path / "large.gguf"
    n = (100 << 20) - 24 - 25 - 4
    payload = hostile_cases.forge.array(hostile_cases.forge.U8, [], count=n)
    with path.open("wb") as out:
        out.write(hostile_cases.GGUFForge().build(n_kv=2))
        out.write(hostile_cases.KeyValue(b"k", hostile_cases.forge.ARRAY, payload).build())
        out.truncate(200 << 20)
    with pytest.raises(GGUFFormatError, match=r"metadata key at byte \d+: .*larger than the 104857600 bytes"):
        load_gguf(path)


@pytest.mark.parametrize(
    "n_bytes", [1 << 20, (16 << 20), (16 << 20) + 1], ids=["G103", "largest", "too-large"]
)
def test_very_long_strings(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    words = ["word"] * 10_000
    path.write_bytes(hostile_cases.sound().set("k", [*words, "x" * n_bytes, *words]).build())
    if n_bytes <= 16 << 20:
        with load_gguf(path) as file:
            assert file.metadata["k"] == [*words, "x" * n_bytes, *words]
    else:
        with pytest.raises(
            GGUFFormatError, match=rf"'k'\[10000\] at byte \d+: length {n_bytes} is more than"
        ):
            load_gguf(path)


@pytest.mark.parametrize("cut", [1, 4, 5, 11, 12, 13, 100])
def test_a_large_vocabulary_that_was_cut(cut: int, tmp_path: Path) -> None:
    """Each of the 12 bytes of a string missing in turn, with most strings taken many at a time."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(hostile_cases.GGUFForge().set("k", ["word"] * 50_000).build()[:-cut])
    index = 50_000 - -(-cut // 12)
    with pytest.raises(GGUFFormatError, match=rf"'k'\[{index}\] at byte \d+: truncated"):
        load_gguf(path)


def test_more_strings_than_the_limit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "strings.gguf"
    n = 1 << 20
    payload = hostile_cases.forge.array(hostile_cases.forge.STRING, [], count=n) + bytes(8 * n)
    entries = [hostile_cases.KeyValue(b"k%d" % i, hostile_cases.forge.ARRAY, payload) for i in range(3)]
    path.write_bytes(hostile_cases.GGUFForge(kv=entries[:2]).build())
    load_gguf(path).close()
    path.write_bytes(hostile_cases.GGUFForge(kv=entries).build())
    with pytest.raises(GGUFFormatError, match=r"metadata 'k2' at byte \d+: .*2097152 strings"):
        load_gguf(path)
