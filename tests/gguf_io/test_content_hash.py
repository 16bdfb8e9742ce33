"""The hash of a file's content: right, taken once, and taken again after a change."""

import hashlib
import os

import pytest
import tiny_model

from nybble.errors import ModelError
from nybble.gguf_io import content_hash as module
from nybble.gguf_io.content_hash import content_hash
from nybble.gguf_io.file import load_gguf


@pytest.fixture(autouse=True)
def n_reads(tmp_path, monkeypatch):
    """The sizes of the files that are read."""
    sizes = []

    def counted(fd, size, real=module._hash):
        sizes.append(size)
        return real(fd, size)

    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "_hash", counted)
    return sizes


def hash_of(path):
    with open(path, "rb") as file:
        return content_hash(str(path), file.fileno())


@pytest.mark.parametrize("n", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 7])
def test_it_is_that_of_the_content(tmp_path, n):
    content = bytes(range(251)) * (n // 251 + 1)
    (tmp_path / "a").write_bytes(content[:n])
    assert hash_of(tmp_path / "a") == hashlib.sha256(content[:n]).hexdigest()


def test_it_is_taken_once(tmp_path, n_reads, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    first = hash_of(tmp_path / "a")
    assert hash_of(tmp_path / "a") == first
    monkeypatch.setattr(module, "_known", {})  # another process
    assert hash_of(tmp_path / "a") == first and n_reads == [3]
    monkeypatch.setattr(module, "_known", {})
    (kept,) = (tmp_path / "cache" / "hashes").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])  # damaged
    assert hash_of(tmp_path / "a") == first and n_reads == [3, 3]


def test_another_file_of_the_same_name_has_its_own(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    first = hash_of(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"abd")
    os.replace(tmp_path / "b", tmp_path / "a")
    assert hash_of(tmp_path / "a") != first
    (tmp_path / "a").write_bytes(b"abc")
    os.utime(tmp_path / "a", ns=(1, 1))
    assert hash_of(tmp_path / "a") == first


def test_without_a_folder_it_is_not_kept(tmp_path, monkeypatch):
    def none():
        raise FileNotFoundError

    monkeypatch.setattr(module, "cache_folder", none)
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_of_a_model(tmp_path):
    path = tiny_model.write(tmp_path / "m.gguf")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    with load_gguf(path) as file:
        os.replace(path, tmp_path / "moved")
        path.write_bytes(b"another")
        assert file.content_hash() == expected, "of what was opened, not of what is there now"
    with load_gguf(tmp_path / "moved") as file:
        os.utime(tmp_path / "moved", ns=(1, 1))
        with pytest.raises(ModelError, match="changed while it was open"):
            file.content_hash()
