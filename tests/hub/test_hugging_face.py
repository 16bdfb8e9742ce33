"""Models of huggingface.co, from a stand-in of it on this machine: choosing a file, faults, the cache."""

import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hub_server
import numpy as np
import pytest
from stopwatch import HANG

from nybble.cli import main
from nybble.errors import NybbleError, PullError, RequestError
from nybble.hub import download, hugging_face, models
from nybble.hub.local_models import local_models, remove_model

pytest.importorskip("huggingface_hub")

REPO = "me/tiny-GGUF"
random = np.random.default_rng(0)
FILES = {
    "README.md": b"# tiny",
    "tiny-Q4_K_M.gguf": b"GGUF" + random.bytes(60_000),
    "tiny-Q8_0.gguf": b"GGUF" + random.bytes(700_000),
    "tiny-UD-Q8_0.gguf": b"GGUF" + random.bytes(5000),
    "mmproj-tiny-Q4_K_M.gguf": b"GGUF" + random.bytes(5000),
    "BF16/tiny-BF16-00001-of-00002.gguf": b"GGUF" + random.bytes(5000),
    "BF16/tiny-BF16-00002-of-00002.gguf": b"GGUF" + random.bytes(6000),
    "lost-00001-of-00002.gguf": b"GGUF",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one repository, empty caches, and no pauses."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    with hub_server.hub_server() as server:
        server.repos[REPO] = dict(FILES)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield server


def blobs(tmp_path):
    return sorted(path.name for path in (tmp_path / "hf" / "hub").glob("models--*/blobs/*"))


def digits(file):
    return hashlib.sha256(FILES[file]).hexdigest()


def test_a_file_comes_into_the_hubs_own_cache_and_is_found_there_without_the_network(hub, tmp_path):
    path = models.resolve(f"hf:{REPO}")
    assert path.name == "tiny-Q4_K_M.gguf" and path.read_bytes() == FILES[path.name]
    assert path.parts[-3:-1] == ("snapshots", hub_server.COMMIT)
    assert path.resolve().name == digits(path.name) and blobs(tmp_path) == [digits(path.name)]
    n_requests = len(hub.requests)
    assert models.resolve(f"https://huggingface.co/{REPO}") == path == models.resolve(f"hf.co/{REPO}:q4_k_m")
    assert models.resolve(f"hf:{REPO}/{path.name}") == path and len(hub.requests) == n_requests
    assert models.pull(f"hf:{REPO}") == path and len(hub.asked("content")) == 1
    assert hugging_face.cached(models.parse_address(f"hf:{REPO}:Q8_0")) is None


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("/tiny-Q8_0.gguf", ["tiny-Q8_0.gguf"]),
        (":bf16", ["BF16/tiny-BF16-00001-of-00002.gguf", "BF16/tiny-BF16-00002-of-00002.gguf"]),
        ("/BF16/tiny-BF16-00002-of-00002.gguf", ["BF16/tiny-BF16-00001-of-00002.gguf"]),
        ("/mmproj-tiny-Q4_K_M.gguf", None),
        (f"@{hub_server.COMMIT}:UD-Q8_0", ["tiny-UD-Q8_0.gguf"]),
    ],
)
def test_which_file_it_is(hub, words, files):
    if files is None:
        with pytest.raises(RequestError, match="names none of the models that are there: "):
            models.resolve(f"hf:{REPO}{words}")
        return
    path = models.resolve(f"hf:{REPO}{words}")
    top = path.parents[files[0].count("/")]
    assert [(top / file).read_bytes() for file in files] == [FILES[file] for file in files]
    assert path == top / files[0]


def test_what_cannot_be_chosen(hub):
    with pytest.raises(RequestError, match=r"any of tiny-Q8_0\.gguf, tiny-UD-Q8_0\.gguf; give one: hf:me/"):
        models.resolve(f"hf:{REPO}:Q8_0")
    with pytest.raises(RequestError, match=r"none of the models.*did you mean tiny-Q8_0\.gguf\?"):
        models.resolve(f"hf:{REPO}/tiny-q8_0.gguf")
    for name, what in {"model.safetensors": "safetensors", "x.onnx": "ONNX", "lost-1.txt": "no GGUF"}.items():
        hub.repos["me/other"] = {name: b"x"}
        with pytest.raises(RequestError, match=f"me/other has {what}"):
            models.resolve("hf:me/other")
    hub.repos["me/other"] = {"../../x.gguf": b"GGUF", "C:x.gguf": b"GGUF"}
    with pytest.raises(RequestError, match="no whole model"):
        models.resolve("hf:me/other")
    hub.repos["me/other"] = {"a.gguf": b"GGUF", "b.gguf": b"GGUF"}
    with pytest.raises(RequestError, match=r"none of the models that are there: a\.gguf, b\.gguf"):
        models.resolve("hf:me/other")
    hub.repos["me/other"] = {"only.gguf": FILES["tiny-Q8_0.gguf"], "mmproj.gguf": b"GGUF"}
    assert models.resolve("hf:me/other").name == "only.gguf"


def test_a_cut_connection_is_taken_up_where_it_broke(hub):
    hub.faults["content"] = [hub_server.cut(1000), hub_server.cut(0), hub_server.cut(20_000)]
    path = models.resolve(f"hf:{REPO}")
    assert path.read_bytes() == FILES[path.name]
    starts = [request.get("Range") for request in hub.asked("content")]
    assert starts == [None, "bytes=1000-", "bytes=1000-", "bytes=21000-"]


def test_a_connection_that_never_holds(hub, tmp_path):
    hub.faults["content"] = [hub_server.cut(1000)] + [hub_server.cut(0)] * 9
    with pytest.raises(PullError, match="could not be fetched: the connection was cut; the 1000 bytes that"):
        models.resolve(f"hf:{REPO}")
    assert len(hub.asked("content")) == 1 + 5
    hub.faults.clear()
    assert models.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.asked("content")[-1]["Range"] == "bytes=1000-" and len(blobs(tmp_path)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_pull_that_is_killed_goes_on(hub, tmp_path):
    def stall(handler, content):
        handler.send_content(content, 300_000)
        handler.wfile.flush()
        handler.rfile.read()  # until the other side ends
        return True

    hub.faults["content"] = [stall]
    code = f"from nybble.hub import models; models.resolve('hf:{REPO}/tiny-Q8_0.gguf')"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + HANG
    part = tmp_path / f"hf/hub/models--me--tiny-GGUF/blobs/{digits('tiny-Q8_0.gguf')}.partial"
    while not (part.exists() and part.stat().st_size):
        assert time.monotonic() < deadline and child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    n_here = part.stat().st_size
    assert models.resolve(f"hf:{REPO}/tiny-Q8_0.gguf").read_bytes() == FILES["tiny-Q8_0.gguf"]
    assert hub.asked("content")[-1]["Range"] == f"bytes={n_here}-"
    assert blobs(tmp_path) == [digits("tiny-Q8_0.gguf")]


@pytest.mark.parametrize("fault", [hub_server.damage, hub_server.shorter])
def test_other_bytes_than_the_hub_promised_are_deleted(hub, tmp_path, fault):
    hub.faults["content"] = [fault]
    with pytest.raises(PullError, match=f"damaged.*sha256 is .*expected {digits('tiny-Q4_K_M.gguf')}"):
        models.resolve(f"hf:{REPO}")
    assert blobs(tmp_path) == [] and not list(tmp_path.rglob("*.gguf"))
    assert models.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("api", 401, "does not know the token.*HF_TOKEN"),
        ("resolve", 403, "may not read me/tiny-GGUF"),
        ("api", 429, "too many requests.*wait"),
        ("api", 500, "answers 500 for me/tiny-GGUF; try again later"),
        ("content", 403, "answers 403.*does not let you have the file"),
        ("content", 404, "answers 404.*there is no such file"),
        ("content", 503, "could not be fetched: the server answers 503"),
        ("content", 429, "could not be fetched: the server answers 429"),
    ],
)
def test_refusals_of_the_hub(hub, tmp_path, kind, code, message):
    hub.faults[kind] = [hub_server.status(code, Retry_After="1")] * 9
    with pytest.raises(PullError, match=message):
        models.resolve(f"hf:{REPO}")
    assert blobs(tmp_path) == []


def test_what_is_not_there(hub):
    with pytest.raises(PullError, match=r"huggingface\.co has no me/none, or it is private: check its name"):
        models.resolve("hf:me/none")
    hub.faults["api"] = [hub_server.status(404, X_Error_Code="RevisionNotFound")]
    with pytest.raises(PullError, match="me/tiny-GGUF has no revision 'v9'"):
        models.resolve(f"hf:{REPO}@v9")


def test_a_server_that_asks_to_wait_is_waited_for(hub, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    hub.faults["content"] = [hub_server.status(429, Retry_After="7"), hub_server.status(503)]
    assert models.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert pauses[0] == 7 and len(pauses) == 2


def test_a_gated_repository_wants_a_token_which_nobody_else_sees(hub, monkeypatch):
    hub.token = "hf_secret"
    for token in (None, "hf_other"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(PullError, match=r"me/tiny-GGUF is gated: accept its terms at https://.*HF_TOKEN"):
            models.resolve(f"hf:{REPO}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert models.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.asked("resolve")[-1]["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in hub.asked("content")[-1]  # of another host


def test_without_the_hub_what_is_here_is_run(hub, monkeypatch, capfd):
    hub.repos["me/other"] = {"only-Q8_0.gguf": FILES["tiny-Q8_0.gguf"]}
    path = models.resolve("hf:me/other")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert models.resolve("hf:me/other") == path == models.resolve("hf:me/other:Q8_0")
    assert "huggingface.co cannot be reached; only-Q8_0.gguf is here" in capfd.readouterr().err
    with pytest.raises(PullError, match=r"cannot be reached for hf:me/other:Q4_0"):
        models.resolve("hf:me/other:Q4_0")  # another one is here
    with pytest.raises(
        PullError, match=r"cannot be reached for hf:me/tiny-GGUF: check the network, the proxy"
    ):
        models.resolve(f"hf:{REPO}")


def test_without_the_package(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(NybbleError, match=r'pip install "nybble\[hub\]"'):
        models.resolve(f"hf:{REPO}")


def test_the_package_is_imported_only_where_it_is_used():
    code = "import nybble, sys; from nybble.hub import models; print('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk(hub, tmp_path):
    """Here the process may write no file of more than 20,000 bytes."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2)\n"
    code = f"{limit}from nybble.hub import models; models.resolve('hf:{REPO}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"OSError: [Errno {errno.EFBIG}]") and ".partial" in error, done.stderr
    assert models.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


def test_pulls_at_the_same_time_fetch_once(hub):
    code = f"from nybble.hub import models; print(models.resolve('hf:{REPO}'))"
    command = [sys.executable, "-c", code]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {child.communicate(timeout=HANG)[0] for child in children}
    assert len(paths) == 1 and len(hub.asked("content")) == 1


def test_removing_a_file_keeps_what_another_commit_has(hub, tmp_path):
    path = models.resolve(f"hf:{REPO}")
    name = f"hf:{REPO}/tiny-Q4_K_M.gguf"
    assert [model.name for model in local_models()] == [name]
    older = path.parent.with_name("f" * 40)
    older.mkdir()
    (older / path.name).symlink_to(os.path.relpath(path.resolve(), older))
    assert remove_model(name) == 0 and not path.exists() and len(blobs(tmp_path)) == 1
    models.resolve(f"hf:{REPO}")
    (older / path.name).unlink()
    assert remove_model(name) == len(FILES["tiny-Q4_K_M.gguf"])
    assert blobs(tmp_path) == [] and not list(local_models())


def test_the_commands_of_the_page(hub, capsys):
    names = {format: f"SmolLM2-135M-Instruct-{format}.gguf" for format in ("Q4_K_M", "Q6_K", "Q8_0")}
    files = {name: b"GGUF" + format.encode() for format, name in names.items()}
    hub.repos["bartowski/SmolLM2-135M-Instruct-GGUF"] = files
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    commands = re.findall("^nybble (pull (?:hf:|https://huggingface).*)$", page, re.MULTILINE)
    found = []
    for command in commands:
        assert main(command.split()) == 0
        found.append(Path(capsys.readouterr().out.strip()).name)
    assert found == [names[format] for format in ("Q4_K_M", "Q8_0", "Q6_K", "Q6_K")]
    assert models.resolve("small").name == names["Q8_0"]


def test_a_redirect_does_not_leave_https():
    request = download.urllib.request.Request("https://example.org/t.gguf")
    handler = download._NoDowngrade()
    with pytest.raises(
        PullError, match=r"leads to http://example\.org/t\.gguf, which would come unprotected"
    ):
        handler.redirect_request(request, None, 302, "Found", {}, "http://example.org/t.gguf")
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://cdn.example.org/t.gguf")
