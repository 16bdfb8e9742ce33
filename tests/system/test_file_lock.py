"""Locks between processes: held by one, freed however it ends, and done without where there are none."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nybble.system.file_lock import file_lock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are for POSIX")

HOLD = """
import sys
from pathlib import Path
from nybble.system.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as other:
        waited = []

        def on_wait() -> None:
            waited.append(other.poll())
            assert other.stdin
            other.stdin.close()

        with file_lock(path, on_wait) as is_locked:
            assert is_locked
        assert waited == [None], "it was told once, and while the other still ran"
    with file_lock(path, on_wait) as is_locked:
        assert is_locked and len(waited) == 1


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as other, file_lock(path, lambda: other.send_signal(signal.SIGKILL)) as is_locked:
        assert is_locked


def test_one_that_was_stopped_is_waited_for_no_longer_than_one_likes(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as other:
        other.send_signal(signal.SIGSTOP)
        try:
            with file_lock(tmp_path / "lock", patience=0.2) as is_locked:
                assert not is_locked
        finally:
            other.kill()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with file_lock(tmp_path / "lock") as is_locked:
        assert not is_locked


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of forks beside threads
def test_a_child_that_lives_longer_does_not_keep_it(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with file_lock(tmp_path / "lock", patience=0) as is_locked:
            assert is_locked
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
