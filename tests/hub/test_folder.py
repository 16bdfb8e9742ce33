"""The models in a folder: what is one, how it is called, what is wrong with it."""

import os

import pytest

from nybble.errors import RequestError
from nybble.hub import folder as folder_module
from nybble.hub.folder import folder_models


def put(path, content=b"GGUF"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder):
    return [model.long_name for model in folder_models(folder)]


def test_files_and_nested_folders(tmp_path):
    for name in ("b.gguf", "a.GGUF", "owner/repo/c.gguf", "owner/d.gguf", "notes.txt", ".hidden.gguf"):
        put(tmp_path / name)
    put(tmp_path / ".cache" / "e.gguf")
    put(tmp_path / "notes.txt", b"no model")
    put(tmp_path / "short", b"GG")
    found = folder_models(tmp_path)
    assert [model.long_name for model in found] == ["a", "b", "owner/d", "owner/repo/c"]
    assert [model.name for model in found] == ["a", "b", "d", "c"]
    assert found[0].path == tmp_path / "a.GGUF" and not any(model.problem for model in found)
    assert names(tmp_path / "owner") == ["d", "repo/c"]


def test_a_model_in_several_files_is_one(tmp_path):
    parts = [put(tmp_path / "repo" / f"m-0000{n}-of-00003.gguf") for n in (1, 2, 3)]
    (model,) = folder_models(tmp_path)
    assert (model.long_name, model.path, model.problem) == ("repo/m", parts[0], None)
    before = model.identity
    parts[2].write_bytes(b"GGUFF")
    assert folder_models(tmp_path)[0].identity != before
    parts[0].unlink()
    assert folder_models(tmp_path)[0].problem == "m-00001-of-00003.gguf is missing"
    parts[1].unlink()
    assert folder_models(tmp_path)[0].problem == "m-00001-of-00003.gguf is missing, and 1 more"


def test_links_give_names(tmp_path):
    """As the hub's cache has them, and aliases."""
    blob = put(tmp_path / "hub" / "blobs" / ("0" * 64))
    other = put(tmp_path / "hub" / "blobs" / ("1" * 64))
    (tmp_path / "hub" / "snapshots").mkdir()
    (tmp_path / "hub" / "snapshots" / "m.gguf").symlink_to(blob)
    (tmp_path / "mine").symlink_to(blob)
    part = put(tmp_path / "elsewhere" / "p-00001-of-00002.gguf")
    put(tmp_path / "elsewhere" / "p-00002-of-00002.gguf")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "both").symlink_to(part)
    assert names(tmp_path / "hub") == [f"blobs/{other.name}", "snapshots/m"]
    assert [m.long_name for m in folder_models(tmp_path) if not m.place] == ["mine"]
    (model,) = folder_models(tmp_path / "models")
    assert (model.name, model.path) == ("both", part)


def test_links_that_lead_nowhere_or_back(tmp_path):
    put(tmp_path / "a" / "m.gguf")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "no such file")
    (tmp_path / "alias").symlink_to(tmp_path / "no such file")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = {model.long_name: model.problem for model in folder_models(tmp_path)}
    assert found.pop("a/m") is None
    assert sorted(found) == ["alias", "gone", "self"]
    assert all("the link leads nowhere" in problem for problem in found.values())


def test_what_is_not_complete_or_no_file(tmp_path):
    put(tmp_path / "m.gguf.0123.partial")
    put(tmp_path / "n.gguf.crdownload")
    os.mkfifo(tmp_path / "pipe.gguf")
    os.mkfifo(tmp_path / "pipe")
    found = {model.name: model.problem for model in folder_models(tmp_path)}
    assert found.keys() == {"m.gguf.0123.partial", "n.gguf.crdownload", "pipe"}
    assert "its name ends in partial" in found["m.gguf.0123.partial"]
    assert found["pipe"] is None, "who opens it is told"


def test_what_is_deep_or_too_much(tmp_path, monkeypatch):
    put(tmp_path / "1" / "2" / "3" / "4" / "m.gguf")
    put(tmp_path / "1" / "2" / "3" / "4" / "5" / "n.gguf")
    assert names(tmp_path) == ["1/2/3/4/m"]
    monkeypatch.setattr(folder_module, "_MAX_FILES", 3)
    for n in range(4):
        put(tmp_path / f"{n}.txt")
    with pytest.raises(RequestError, match="more than 3 files"):
        folder_models(tmp_path)
    with pytest.raises(FileNotFoundError):
        folder_models(tmp_path / "none")


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    put(tmp_path / "m.gguf")
    put(tmp_path / "locked" / "n.gguf")
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(folder_module.os, "scandir", scandir)
    found = {model.long_name: model.problem for model in folder_models(tmp_path)}
    assert found == {"m": None, "locked": "the folder cannot be read (Permission denied)"}


def test_an_identity_changes_with_the_file(tmp_path):
    path = put(tmp_path / "m.gguf")
    (first,), (again,) = folder_models(tmp_path), folder_models(tmp_path)
    assert first == again
    put(tmp_path / "new").replace(path)
    assert folder_models(tmp_path)[0].identity != first.identity
