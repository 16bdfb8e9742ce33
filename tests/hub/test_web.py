"""Model files of any web server: what comes is checked, kept, and taken up again."""

import hashlib
import time

import hub_server
import numpy as np
import pytest

from nybble.errors import PullError, RequestError
from nybble.hub import models
from nybble.hub.local_models import local_models, remove_model

CONTENT = b"GGUF" + np.random.default_rng(1).bytes(50_000)
DIGITS = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web(tmp_path, monkeypatch):
    with hub_server.hub_server() as server:
        server.files["tiny.gguf"] = CONTENT
        monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield server


def leftovers(tmp_path):
    known = ("address", "lock")
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name not in known)


def test_a_file_is_fetched_once_listed_and_removed(web, tmp_path):
    address = f"{web.url}/files/tiny.gguf"
    path = models.resolve(address)
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "cache" / "web")
    assert models.resolve(address) == path == models.pull(address, alias="small")
    assert len(web.asked("files")) == 1 and models.resolve("small") == path
    assert {model.name: model.n_bytes for model in local_models()} == {address: 50_004, "small": 50_004}
    assert remove_model(address) == 50_004 and not list(local_models()) and not path.parent.exists()


def test_the_hash_of_an_address(web, tmp_path):
    assert models.resolve(f"{web.url}/files/tiny.gguf#sha256={DIGITS}").read_bytes() == CONTENT
    wrong = "0" * 64
    with pytest.raises(PullError, match=f"damaged.*sha256 is {DIGITS}, expected {wrong}; it was deleted"):
        models.resolve(f"{web.url}/files/tiny.gguf#sha256={wrong}")
    assert leftovers(tmp_path) == ["tiny.gguf"]


def test_what_is_no_model_is_not_kept(web, tmp_path):
    web.files["login.gguf"] = b"<!doctype html>please log in"
    with pytest.raises(PullError, match="another file: it begins b'<!do'"):
        models.resolve(f"{web.url}/files/login.gguf")
    assert leftovers(tmp_path) == []


def test_a_cut_connection_is_taken_up_unless_the_file_has_changed(web):
    web.faults["files"] = [hub_server.cut(1000)]
    assert models.resolve(f"{web.url}/files/tiny.gguf").read_bytes() == CONTENT
    assert web.asked("files")[1]["Range"] == "bytes=1000-"
    assert web.asked("files")[1]["If-Range"] == f'"{DIGITS}"'

    def change(handler, content):
        web.files["other.gguf"] = CONTENT[::-1].replace(CONTENT[:3:-1][:4], b"GGUF")
        return hub_server.cut(1000)(handler, content)

    web.files["other.gguf"] = CONTENT
    web.faults["files"] = [change]
    assert models.resolve(f"{web.url}/files/other.gguf").read_bytes() == web.files["other.gguf"]


def test_a_part_that_is_all_there_is_taken_as_it_is(web, tmp_path, monkeypatch):
    """The process was killed after the last byte, and before the file got its name."""
    address = f"{web.url}/files/tiny.gguf"
    web.faults["files"] = [hub_server.cut(1000), hub_server.status(404)]
    with pytest.raises(PullError, match="answers 404"):
        models.resolve(address)
    (part,) = tmp_path.rglob("*.partial")
    part.write_bytes(CONTENT)
    assert models.resolve(address).read_bytes() == CONTENT
    assert web.asked("files")[-1]["Range"] == f"bytes={len(CONTENT)}-"
    assert leftovers(tmp_path) == ["tiny.gguf"]


def test_a_server_without_lengths_is_believed_and_one_that_breaks_a_chunk_is_not(web):
    def chunked(n_bytes):
        def answer(handler, content):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
            handler.wfile.write(chunk[:n_bytes])
            handler.close_connection = True
            return True

        return answer

    web.faults["files"] = [chunked(20_000), chunked(None)]
    assert models.resolve(f"{web.url}/files/tiny.gguf").read_bytes() == CONTENT
    assert len(web.asked("files")) == 2 and "Range" not in web.asked("files")[1]  # no ETag: from the start


def test_a_model_in_several_files(web):
    names = [f"a m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    web.files |= {name: b"GGUF" + name.encode() for name in names}
    address = f"{web.url}/files/{names[1].replace(' ', '%20')}"
    path = models.resolve(address)
    assert path.name == names[0]
    assert [(path.parent / name).read_bytes() for name in names] == [web.files[name] for name in names]
    with pytest.raises(RequestError, match="one of 3 files"):
        models.resolve(f"{address}#sha256={DIGITS}")


def test_nobody_listens(web):
    with pytest.raises(PullError, match=r"http://127.0.0.1:9/t.gguf could not be fetched: .*refused"):
        models.resolve("http://127.0.0.1:9/t.gguf")
