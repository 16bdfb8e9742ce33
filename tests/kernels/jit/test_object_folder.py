"""The folder of compiled kernels: private, and done without where there can be none."""

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cached_process import ADD, ANNOUNCE, COMPILED, FROM_CACHE, objects, posix_only, run

from nybble.system.private_file import make_private_folder


@posix_only
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_refused(cache: Path, mode: int) -> None:
    (path,) = objects(cache)
    path.parent.chmod(mode)
    result, warning = run(cache)
    assert result == f"{COMPILED} 1"
    assert "compiled kernels are not kept" in warning and str(path.parent) in warning
    assert objects(cache) == [path]


@posix_only
def test_a_file_that_others_may_write_to_is_not_run(cache: Path) -> None:
    (path,) = objects(cache)
    path.chmod(0o666)
    assert run(cache) == [f"{COMPILED} 0"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert run(cache) == [f"{FROM_CACHE} 0"]


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_belongs_to_somebody_else_is_refused(cache: Path, what: str) -> None:
    (path,) = objects(cache)
    os.chown(path.parent if what == "folder" else path, 12345, 12345)
    result, *warnings = run(cache)
    assert result == f"{COMPILED} {len(warnings)}"
    assert len(warnings) == (1 if what == "folder" else 0)


@posix_only
@pytest.mark.parametrize(
    "home", ["/proc/self/nowhere", "/dev/null"], ids=["a folder that cannot be made", "no folder"]
)
def test_without_a_usable_home_it_runs_with_one_warning(home: str) -> None:
    environment = {"HOME": home, "XDG_CACHE_HOME": ""}
    result, warning = run(None, environment=environment)
    assert result == f"{COMPILED} 1"
    assert "compiled kernels are not kept" in warning


@posix_only
def test_without_any_home_variable_it_runs() -> None:
    result, *_ = run(
        None, f"import os; os.environ.pop('HOME', None)\n{ADD}", environment={"XDG_CACHE_HOME": ""}
    )
    assert result.split()[1] == "64"


# What is imported is imported while it can be read; then, if we are root, we become somebody without a name
# and a home, as in a container that was started with `--user 12345`.
AS_NOBODY = f"""
import os, sys
from nybble.kernels.jit.compiler import compile_kernel
from nybble.kernels.jit.object_cache import code_version, compile_log
from nybble.kernels.linear.quantize_activations import quantize
import nybble.kernels.elementwise.add
from nybble.engine.executors.numba.compile_notice import announce_compiling
code_version(), compile_kernel(quantize)
os.environ.pop("HOME", None)
if os.getuid() == 0:
    os.setgroups([]), os.setgid(12345), os.setuid(12345)
sys.stderr = sys.stdout
announce_compiling()
{ADD}
"""


@pytest.fixture
def read_only(warm: Path) -> Iterator[Path]:
    """A copy of the cache that everybody can read, and nobody (but root) can write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        cache = shutil.copytree(warm, folder / "cache")
        for path in (cache, *cache.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield cache
        for path in (cache, *cache.rglob("*")):
            path.chmod(0o755)


@posix_only
def test_a_read_only_cache_is_read(read_only: Path) -> None:
    assert run(read_only, AS_NOBODY) == ["0 64 True 0"]


@posix_only
def test_what_a_read_only_cache_lacks_is_compiled_each_time(read_only: Path) -> None:
    """Nobody is promised that it will be found later."""
    (path,) = objects(read_only)
    path.parent.chmod(0o755)
    path.unlink()
    path.parent.chmod(0o555)
    notice, result, warning = run(read_only, AS_NOBODY)
    assert result == f"{COMPILED} 1"
    assert "every start" in notice and "later" not in notice
    assert f"compiled kernels are not kept: [Errno {errno.EACCES}]" in warning
    assert not objects(read_only)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs to become somebody without a name")
def test_somebody_without_a_home(tmp_path: Path) -> None:
    notice, result, warning = run(None, AS_NOBODY, environment={"XDG_CACHE_HOME": ""})
    assert result == f"{COMPILED} 1"
    assert "every start" in notice
    assert "no home folder" in warning and "NYBBLE_CACHE" in warning


def test_the_notice_says_where_kernels_are_kept(tmp_path: Path) -> None:
    script = f"import sys; sys.stderr = sys.stdout\n{ANNOUNCE}{ADD}"
    notice, result = run(tmp_path, script)
    assert notice.endswith(f"this is done once, later starts find them in {tmp_path}")
    assert result == f"{COMPILED} 0"


@posix_only
def test_windows_takes_folders_of_the_profile_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    make_private_folder(tmp_path / "me" / "AppData" / "nybble")
    for other in (tmp_path / "shared", tmp_path / "me" / ".." / "shared"):
        with pytest.raises(PermissionError, match=r"is not in .*me, where Windows lets nobody else write"):
            make_private_folder(other)
        assert not other.exists()


def test_where_the_folder_is(tmp_path: Path) -> None:
    show = "from nybble.kernels.jit.object_cache import object_folder; print(object_folder())"
    (chosen,) = run(tmp_path / "chosen", show)
    assert Path(chosen).is_relative_to(tmp_path / "chosen")
    if sys.platform == "linux":
        (usual,) = run(None, show, environment={"XDG_CACHE_HOME": str(tmp_path / "xdg")})
        assert Path(usual).is_relative_to(tmp_path / "xdg" / "nybble")
