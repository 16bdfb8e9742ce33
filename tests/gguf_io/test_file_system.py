"""HOSTILE.md G113 to G123 and G136: odd paths, files that change while open, and the life of the mapping."""

import errno
import gc
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import forge
import hostile_cases
import numpy as np
import pytest
import tiny_model
from stopwatch import HANG

from nybble.errors import GGUFFormatError, ModelError
from nybble.gguf_io.file import load_gguf

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "model.gguf")


def test_g113_the_errors_of_the_system_pass_unchanged(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, kind, code in (
        ("absent", FileNotFoundError, errno.ENOENT),
        ("dangling", FileNotFoundError, errno.ENOENT),
        ("loop", OSError, errno.ELOOP),
        (".", IsADirectoryError, errno.EISDIR),
    ):
        path = tmp_path / name
        with pytest.raises(kind) as caught:
            load_gguf(path)
        assert (caught.value.errno, caught.value.filename) == (code, str(path))


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read everything, so as root the test runs as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_g114_no_permission(model: Path, nobody: None) -> None:
    if os.geteuid() != 65534:
        model.chmod(0)
    with pytest.raises(PermissionError):
        load_gguf(model)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "socket", "fifo"])
def test_g115_g116_what_is_no_regular_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with socket.socket(socket.AF_UNIX) as listener:
        if name == "socket":
            listener.bind(str(path))
        elif name == "fifo":
            os.mkfifo(path)
        with pytest.raises(GGUFFormatError, match=f"{path}: not a regular file"):
            load_gguf(path)


def test_g117_symlinks_and_read_only_files_are_fine(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(model)
    model.chmod(0o444)
    with load_gguf(link) as file:
        assert file.architecture == "llama"
        file.check_unchanged()


@pytest.mark.parametrize("new_size", [0, 4096, -1], ids=["G118-all", "G118", "G119"])
def test_a_file_cut_while_open_is_noticed(new_size: int, model: Path) -> None:
    with load_gguf(model) as file:
        file.check_unchanged()
        os.truncate(model, new_size if new_size >= 0 else model.stat().st_size - 1)
        with pytest.raises(ModelError, match=f"{model}: model file changed"):
            file.check_unchanged()


def test_g120_a_file_rewritten_in_place_is_noticed(model: Path) -> None:
    with load_gguf(model) as file:
        status = model.stat()
        with model.open("r+b") as out:
            out.write(b"GGUF")
        os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        with pytest.raises(ModelError, match=f"{model}: model file changed"):
            file.check_unchanged()


def test_strings_that_changed_under_us_are_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "strings.gguf"
    data = hostile_cases.GGUFForge().set("k", ["abc", "def"]).build()
    path.write_bytes(data)
    with load_gguf(path) as file:
        with path.open("r+b") as out:
            out.seek(data.index(b"abc") - 8)
            out.write(b"\xff" * 8)
        with pytest.raises(ModelError, match=f"{path}: model file changed"):
            file.metadata["k"]


def test_g121_a_file_put_in_its_place_changes_nothing(model: Path, tmp_path: Path) -> None:
    with load_gguf(model) as file:
        before = file.tensors["output.weight"].dequantize()
        os.replace(tiny_model.write(tmp_path / "other.gguf", seed=1), model)
        file.check_unchanged()
        np.testing.assert_array_equal(file.tensors["output.weight"].dequantize(), before)


def test_g122_what_was_taken_outlives_the_file(model: Path) -> None:
    with load_gguf(model) as file:
        tensor = file.tensors["output.weight"]
        metadata = file.metadata
        before = tensor.dequantize()
    del file
    gc.collect()
    np.testing.assert_array_equal(tensor.dequantize(), before)
    assert len(metadata["tokenizer.ggml.tokens"]) == 283


def test_a_closed_file_says_so(model: Path) -> None:
    file = load_gguf(model)
    file.close()
    file.close()
    for ask in (lambda: file.metadata, lambda: file.tensors, lambda: file.architecture, file.check_unchanged):
        with pytest.raises(ValueError, match=f"{model} is closed"):
            ask()


def test_g123_a_sparse_file_of_four_gib(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    head = hostile_cases.with_tensor([1 << 15, 1 << 15], data=b"")
    with path.open("wb") as out:
        out.write(head)
        out.truncate(len(head) + (1 << 32))
    with load_gguf(path) as file:
        tensor = file.tensors["t"]
        assert tensor.nbytes == 1 << 32
        assert not tensor.data[:: 1 << 28].any()


@on_linux
def test_g124_no_address_space_for_the_file_is_a_memory_error_with_the_number(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(b"GGUF")
    os.truncate(path, 1 << 33)
    script = (
        "import resource, sys\n"
        "from nybble.gguf_io.file import load_gguf\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))\n"
        "try:\n    load_gguf(sys.argv[1])\n"
        "except MemoryError as error:\n    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=HANG
    )
    assert result.stdout == f"{path}: no address space to map its {1 << 33} bytes\n", result.stderr


@on_linux
@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (ValueError("mmap length is greater than file size"), ModelError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError),
        (OSError(errno.ENODEV, "No such device"), OSError),
    ],
    ids=["cut while opened", "no memory", "cannot be mapped"],
)
def test_a_mapping_that_fails(
    problem: Exception, outcome: type[Exception], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise problem

    n_descriptors = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("nybble.gguf_io.file.MappedFile", refuse)
    with pytest.raises(outcome) as caught:
        load_gguf(model)
    assert outcome is OSError or str(model) in str(caught.value)
    assert len(os.listdir("/proc/self/fd")) == n_descriptors


def maps_and_descriptors(path: Path) -> tuple[int, int, int]:
    """How often `path` is mapped, and how many descriptors and threads there are."""
    mapped = Path("/proc/self/maps").read_text().count(str(path))
    return mapped, len(os.listdir("/proc/self/fd")), threading.active_count()


@on_linux
def test_g136_opening_and_closing_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model.read_bytes()[:-100])
    before = maps_and_descriptors(tmp_path)
    assert before[0] == 0
    for turn in range(1000):
        if turn % 3 == 0:
            with load_gguf(model) as file:
                assert maps_and_descriptors(tmp_path)[0] == 1
                assert len(file.metadata["tokenizer.ggml.tokens"]) == 283
            del file
        elif turn % 3 == 1:
            load_gguf(model)  # never closed by hand
        else:
            with pytest.raises(GGUFFormatError, match=re.escape(str(broken))):
                load_gguf(broken)
        if turn % 100 == 0:
            gc.collect()
    gc.collect()
    assert maps_and_descriptors(tmp_path) == before


@on_linux
def test_the_mapping_goes_with_the_last_tensor(model: Path) -> None:
    with load_gguf(model) as file:
        tensor = file.tensors["output.weight"]
    del file
    assert maps_and_descriptors(model)[0] == 1
    del tensor
    assert maps_and_descriptors(model)[0] == 0


def test_many_threads_may_open_and_read_one_file(model: Path) -> None:
    failures: list[BaseException] = []
    file = load_gguf(model)

    def work() -> None:
        try:
            for _ in range(20):
                assert len(file.metadata["tokenizer.ggml.tokens"]) == 283
                with load_gguf(model) as mine:
                    assert mine.tensors["output.weight"].dequantize().shape == (283, 64)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert not failures


def test_the_forge_and_the_writer_of_gguf_agree(model: Path) -> None:
    """The forge's idea of a sound file is that of `gguf`: what it takes apart it puts together again."""
    data = model.read_bytes()
    assert forge.GGUFForge.parse(data).build() == data
