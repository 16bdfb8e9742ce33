"""What tells compiled kernels of different sources and machines apart, on copies of the package."""

import compileall
import shutil
from pathlib import Path

import pytest
from cached_process import ADD, COMPILED, objects, run

from nybble.kernels.jit.object_cache import code_version

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
