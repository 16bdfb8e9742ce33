"""The cache of machine code on disk: used, repaired, private, and done without. Each case is a process of its
own."""

import compileall
import errno
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stopwatch import HANG

from nybble.kernels.jit.compiler import compile_kernel
from nybble.kernels.jit.object_cache import code_version
from nybble.system.private_file import MAGIC, make_private_folder, read_private

elf_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="elsewhere LLVM links"
)
posix_only = pytest.mark.skipif(os.name != "posix", reason="about POSIX permissions")

# Adds ones to ones; prints how many kernels were compiled, the sum, and each warning.
ADD = """
import sys, warnings
import numpy as np
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.object_cache import compile_log
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    a = np.ones((2, 16), np.float32)
    out = np.zeros((2, 16), np.float32)
    bind_add(a, a, out, np.array([2])).run()
print(compile_log.n_compiled, int(out.sum()), "numba" in sys.modules, len(caught))
for w in caught:
    print(w.message)
"""
ANNOUNCE = (
    "from nybble.engine.executors.numba.compile_notice import announce_compiling; announce_compiling()\n"
)
COMPILED, FROM_CACHE = "1 64 True", "0 64 False"


def run(cache: Path | None, script: str = ADD, **options: Any) -> list[str]:
    """The lines that the script prints; `cache` is $NYBBLE_CACHE."""
    environment = {name: value for name, value in os.environ.items() if name != "NYBBLE_CACHE"}
    environment |= options.pop("environment", {})
    if cache is not None:
        environment["NYBBLE_CACHE"] = str(cache)
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, **options
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.splitlines()


def objects(cache: Path) -> list[Path]:
    return sorted((cache / "kernels").glob("*/*"))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the machine code of `ADD`."""
    folder = tmp_path_factory.mktemp("warm") / "cache"
    assert run(folder) == [f"{COMPILED} 0"]
    return folder


@pytest.fixture
def cache(warm: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(warm, tmp_path / "cache"))


def test_the_second_process_compiles_nothing(cache: Path) -> None:
    """And does not even import Numba."""
    assert run(cache) == [f"{FROM_CACHE} 0"]


@elf_only
def test_the_second_process_needs_no_llvm(cache: Path) -> None:
    """It takes 50 MB and 40 ms."""
    assert run(cache, f"{ADD}\nprint('llvmlite' in sys.modules)")[1] == "False"


def test_what_llvm_calls_the_processor_is_kept(cache: Path) -> None:
    """And asked for again where the file about it is damaged, or others may write to it."""
    script = "from nybble.kernels.target.host_cpu import host_cpu; print(*host_cpu())"
    answer = run(cache, script)
    for path in (cache / "processors").iterdir():
        for bad in (b"", path.read_bytes()[:-1], path.read_bytes().replace(b"x86_64", b"x86_65")):
            path.write_bytes(bad)
            assert run(cache, script) == answer
            assert read_private(path) is not None
        path.chmod(0o666)
        assert run(cache, script) == answer
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        (cache / "processors").chmod(0o777)
        path.write_bytes(b"")
        assert run(cache, script) == answer
        assert path.read_bytes() == b"", "nothing is put where others may change it"


def test_the_files_are_private_machine_code(cache: Path) -> None:
    (path,) = objects(cache)
    assert path.name.startswith("nybble.kernels.elementwise.add.") and path.suffix == ".o"
    data = path.read_bytes()
    assert data.startswith(MAGIC)
    symbol, _, code = data[len(MAGIC) + 32 :].partition(b"\n")
    assert path.name.startswith(f"{symbol.decode()}.")
    assert b"numba.core" not in data and b"numpy" not in data, "nothing pickled"
    if sys.platform == "linux":
        assert code.startswith(b"\x7fELF")
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "others may read it, as in an image"
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o722 == 0o700


def test_damaged_files_are_made_anew(cache: Path) -> None:
    (path,) = objects(cache)
    good = path.read_bytes()
    assert read_private(path) is not None
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for bad in (
        b"",
        good[:10],
        good[: len(MAGIC) + 32],
        good[:-1],
        good + b"\0",
        b"x" + good,
        bytes(flipped),
    ):
        path.write_bytes(bad)
        assert read_private(path) is None
    assert run(cache) == [f"{COMPILED} 0"]
    assert read_private(path) is not None
    assert objects(cache) == [path], "no temporary file is left"


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


def test_of_processes_that_start_at_once_one_compiles(tmp_path: Path) -> None:
    environment = {**os.environ, "NYBBLE_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", ADD]
    crowd = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=HANG)[0].split() for process in crowd]
    assert all(process.returncode == 0 for process in crowd)
    assert sorted(n_compiled for n_compiled, *_ in outputs) == ["0", "0", "1"]
    assert all(total == "64" and n_warnings == "0" for _, total, _, n_warnings in outputs)
    assert run(tmp_path) == [f"{FROM_CACHE} 0"]
    assert len(objects(tmp_path)) == 1, "no lock is left"


@posix_only
def test_a_process_that_was_killed_while_compiling_is_in_nobodys_way(tmp_path: Path) -> None:
    killed = f"""
import os, signal
from nybble.kernels.jit import compiler
compiler.compile_kernel = lambda kernel: os.kill(os.getpid(), signal.SIGKILL)
{ADD}
"""
    environment = {**os.environ, "NYBBLE_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", killed], env=environment).returncode == -signal.SIGKILL
    (lock,) = objects(tmp_path)
    assert lock.suffix == ".lock"
    assert run(tmp_path) == [f"{COMPILED} 0"]
    assert [path.suffix for path in objects(tmp_path)] == [".o"]


@posix_only
def test_without_locks_it_just_compiles(tmp_path: Path) -> None:
    """As on some file systems of a network."""
    script = f"""
import errno, fcntl
def flock(descriptor, operation): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
{ADD}
"""
    assert run(tmp_path, script) == [f"{COMPILED} 0"]
    assert run(tmp_path) == [f"{FROM_CACHE} 0"]


def test_threads_may_ask_for_the_same_kernel_at_once(tmp_path: Path) -> None:
    threads = """
from concurrent.futures import ThreadPoolExecutor
from nybble.kernels.norm.rms_norm import bind_rms_norm
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.object_cache import compile_log
import numpy as np
def add(i):
    out = np.zeros((2, 16), np.float32)
    bind_add(out + i, out + 1, out, np.array([2])).run()
    return int(out[0, 0])
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(add, range(16))) == list(range(1, 17)), compile_log.n_compiled <= 8)
"""
    assert run(tmp_path, threads) == ["True True"]


VERSION = "from nybble.kernels.jit.object_cache import code_version; print(code_version())"


def copy_of_package(folder: Path) -> Path:
    """A copy of the package's kernels, to be imported from `folder`."""
    import nybble

    root = Path(nybble.__file__).parent
    target = folder / "nybble"
    for tree in ("system", "gguf_io", "kernels"):
        shutil.copytree(root / tree, target / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "errors.py", target)
    (target / "__init__.py").write_text("")
    return target


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_package(tmp_path_factory.mktemp("copy"))


def run_copy(copy: Path, script: str, cache: Path | None = None, **environment: str) -> list[str]:
    """The lines that the script prints with the copied package. The real one may have a finder of its own,
    which must not come first."""
    script = f"import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]\n{script}"
    return run(cache, script, environment={"PYTHONPATH": str(copy.parent), **environment}, cwd=copy.parent)


def version_of(copy: Path, **environment: str) -> str:
    (version,) = run_copy(copy, VERSION, **environment)
    return version


SOURCES = [
    "kernels/language/rows.py",
    "kernels/codegen/dot.py",
    "kernels/room/new.py",
    "kernels/room/inner/new.py",
    "gguf_io/codecs/codebooks.py",
    "gguf_io/room/inner/new.py",
]


@pytest.mark.parametrize("name", SOURCES)
def test_a_changed_source_never_meets_old_code(copy: Path, name: str) -> None:
    """Wherever it stands in the two trees that kernels are made of."""
    source = copy / name
    source.parent.mkdir(parents=True, exist_ok=True)
    kept = source.read_text() if source.exists() else ""
    source.write_text(kept)
    before = version_of(copy)
    source.write_text(kept + "\n# changed\n")
    assert version_of(copy) != before
    source.write_text(kept)
    assert version_of(copy) == before
    if not kept:
        source.unlink()


def test_a_source_of_another_name_or_place_never_meets_old_code(copy: Path) -> None:
    for folder in ("kernels/room", "kernels/room/inner", "gguf_io/room"):
        (copy / folder).mkdir(parents=True, exist_ok=True)
    places = ["kernels/new.py", "kernels/old.py", "kernels/room/new.py", "kernels/room/inner/new.py"]
    places += ["gguf_io/new.py", "gguf_io/room/new.py"]
    source, versions = copy / "kernels/first.py", set()
    source.write_text("")
    for place in places:
        source = source.rename(copy / place)
        versions.add(version_of(copy))
    source.unlink()
    assert len(versions) == len(places)


def test_files_of_one_name_in_two_folders_have_objects_of_their_own(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    for folder, value in (("norm", 1.0), ("linear", 2.0)):
        (package / "kernels" / folder / "reference.py").write_text(
            f"""
from ..jit.kernel import kernel
from ..language.pointer import F32
from ..language.record import PointerTo, Record
@kernel(Record(out=PointerTo(F32)))
def fill(args, thread_id, n_threads):
    args.out[0] = {value}
"""
        )
    script = """
import numpy as np
from nybble.kernels.norm.reference import fill as one
from nybble.kernels.linear.reference import fill as other
from nybble.kernels.jit.object_cache import compile_log
out = np.zeros(2, np.float32)
one.bind(out=out[:1]).run()
other.bind(out=out[1:]).run()
print(out, compile_log.n_compiled)
"""
    for n_compiled in (2, 0):
        assert run_copy(package, script, tmp_path / "cache") == [f"[1. 2.] {n_compiled}"]
    names = [path.name for path in objects(tmp_path / "cache")]
    expected = ["nybble.kernels.linear.reference.fill.", "nybble.kernels.norm.reference.fill."]
    assert [name[: len(start)] for name, start in zip(names, expected, strict=True)] == expected


def test_the_copy_is_like_the_original(tmp_path: Path) -> None:
    assert version_of(copy_of_package(tmp_path)) == code_version()


def test_a_package_without_sources_keeps_nothing(tmp_path: Path) -> None:
    """It could not tell its kernels from those of another version."""
    package = copy_of_package(tmp_path)
    compileall.compile_dir(package, quiet=1, legacy=True)
    for source in package.rglob("*.py"):
        source.unlink()
    result, warning = run_copy(package, ADD, tmp_path / "cache")
    assert result == f"{COMPILED} 1"
    assert "compiled kernels are not kept: the sources of nybble are not there" in warning
    assert not list((tmp_path / "cache").rglob("*.o"))


def test_another_machine_has_code_of_its_own(copy: Path) -> None:
    versions = {
        version_of(copy),
        version_of(copy, NYBBLE_DOT="generic"),
        version_of(copy, NUMBA_CPU_NAME="generic"),
        version_of(copy, NUMBA_CPU_NAME="x86-64-v3", NYBBLE_DOT="generic"),
    }
    assert len(versions) >= 3  # a machine without any extension has the path "generic" anyway


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"NYBBLE_DOT": "sse9"},
            "'sse9' is not a dot product path; choose from amx, vnni, dotprod, avx2, generic",
        ),
        (
            {"NYBBLE_DOT": "dotprod", "NUMBA_CPU_NAME": "generic"},
            "NYBBLE_DOT='dotprod' needs a CPU",
        ),
        ({"NYBBLE_DOT": "vnni", "NUMBA_CPU_NAME": "generic"}, "has 'generic'"),
    ],
)
def test_a_bad_dot_path_is_named(environment: dict[str, str], message: str) -> None:
    script = f"""
from nybble.errors import NybbleError
from nybble.kernels.jit.object_cache import machine_code
from nybble.kernels.elementwise.add import bind_add
try:
    machine_code(None)
except NybbleError as error:
    print({message!r} in str(error))
"""
    assert run(None, script, environment=environment) == ["True"]


def test_an_object_shows_one_name() -> None:
    """Numba numbers its functions from the start of a process: two objects could have names in common."""
    import llvmlite.binding as llvm

    from nybble.gguf_io import formats
    from nybble.kernels.jit.compiler import assembly
    from nybble.kernels.linear.floats import float_linear_kernel

    kernel = float_linear_kernel(formats.F32)
    symbol, code = compile_kernel(kernel)
    assert symbol == kernel.symbol and llvm.ObjectFileRef.from_data(code)
    shown = [line.split()[1] for line in assembly(kernel).splitlines() if ".globl" in line or ".weak" in line]
    assert [name.lstrip("_") for name in shown] == [symbol]


def test_objects_from_different_processes_live_together(tmp_path: Path) -> None:
    define = """
import numpy as np
from nybble.gguf_io import formats
from nybble.kernels.linear.floats import bind_float_linear
from nybble.kernels.weights.floats import pack_floats
from nybble.kernels.jit.object_cache import compile_log
def output(name):
    format = getattr(formats, name)
    x, out = np.ones((2, 16), np.float32), np.zeros((2, 16), np.float32)
    packed = pack_floats(format, np.full(16 * format.nbytes(16), 0x3c, np.uint8), (16, 16))
    bind_float_linear(format, packed, x, out, np.array([2])).run()
    return out[0, 0]
"""
    (one,), (other,) = (run(tmp_path, f"{define}print(output({name!r}))") for name in ("F32", "F16"))
    assert one != other
    for order in (["F32", "F16"], ["F16", "F32"]):
        script = f"{define}for name in {order}: print(output(name))\nprint(compile_log.n_compiled)"
        assert run(tmp_path, script) == [*((one, other) if order[0] == "F32" else (other, one)), "0"]


def test_numba_still_compiles_for_others(tmp_path: Path) -> None:
    """Researchers use it beside nybble, which borrows its front end."""
    script = """
import numba, numpy as np
@numba.njit
def before(x): return min(x, 3)
print(before(5))
from nybble.kernels.linear.quantize_activations import quantize
quantize.address
@numba.njit
def after(a):
    total = 0
    for x in a:
        total += min(x, 3) + max(x, 1)
    return total
print(after(np.arange(6)), before(1))
"""
    assert run(tmp_path, script) == ["3", "28 1"]
