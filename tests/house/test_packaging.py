"""What pyproject.toml says of the package is so: what is in it, and what it and its extras need."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
PACKAGES = [folder.parent for folder in ROOT.glob("*/__init__.py")]
TESTS = [*ROOT.glob("tests/**/*.py")]

# Packages that are imported by another name than they are installed by, or come with another.
INSTALLED_AS = {
    "llama_cpp": "llama-cpp-python",
    "llvmlite": "numba",
    "opentelemetry": "opentelemetry-api",
    **dict.fromkeys(("click", "pydantic", "sqlite_utils"), "llm"),
}


def requirements(*extras: str) -> list[str]:
    """What the package asks for with these extras."""
    return PROJECT["dependencies"] + [need for e in extras for need in PROJECT["optional-dependencies"][e]]


def imports(path: Path) -> Iterator[str]:
    """The packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_every_folder_of_the_package_is_in_the_list():
    """One that is not would be missing from the wheel; so would a file that is no module."""
    files = [path for folder in PACKAGES for path in folder.rglob("*") if path.is_file()]
    folders = {path.parent.relative_to(ROOT) for path in files if path.suffix == ".py"}
    names = {"nybble", *(".".join(("nybble", *folder.parts)) for folder in folders)}
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(names)
    assert all((ROOT.joinpath(*name.split(".")[1:]) / "__init__.py").exists() for name in listed)
    data = {folder for folder in SETTINGS["tool"]["setuptools"]["package-data"] if folder != "nybble"}
    listed_data = {path for name in data for path in _data_files(name)}
    assert {path.suffix for path in files if path not in listed_data} <= {".py", ".pyc"}


@pytest.mark.parametrize(
    "extras, files",
    [
        (
            ["plot", "chat", "grammar", "server", "hub", "telemetry", "llm", "lm_eval", "ray"],
            [path for folder in PACKAGES for path in folder.rglob("*.py")],
        ),
        (["plot"], ROOT.glob("examples/*.py")),
        (["bench", "rivals"], ROOT.glob("bench/**/*.py")),
        (["test", "lm_eval", "ray"], [path for path in TESTS if not path.name.startswith("record_")]),
        (["test", "rivals"], [path for path in TESTS if path.name.startswith("record_")]),
    ],
    ids=["package", "examples", "bench", "tests", "records"],
)
def test_whatever_is_imported_is_asked_for(extras, files):
    asked = {re.match(r"[\w-]+", need)[0] for need in requirements(*extras)}
    files = list(files)
    here = {"nybble", "serving", *(path.stem for path in [*files, *TESTS])}
    found = {name for path in files for name in imports(path)} - set(sys.stdlib_module_names) - here
    assert found and {INSTALLED_AS.get(name, name) for name in found} <= asked


def _data_files(package: str) -> Iterator[Path]:
    """The files beside a package's modules that the wheel has."""
    for pattern in SETTINGS["tool"]["setuptools"]["package-data"][package]:
        yield from ROOT.joinpath(*package.split(".")[1:]).glob(pattern)


def test_every_requirement_has_a_lower_bound():
    for need in requirements(*PROJECT["optional-dependencies"]):
        assert re.fullmatch(r"[\w-]+>=[\d.]+", need), need


def test_the_interpreters_it_names_are_those_it_runs_on():
    versions = [m[1] for c in PROJECT["classifiers"] if (m := re.fullmatch(r".* :: Python :: 3\.(\d+)", c))]
    assert versions == ["11", "12", "13", "14"] and PROJECT["requires-python"] == f">=3.{versions[0]}"


def test_another_package_than_the_one_beside_the_tests_is_not_tested_in_its_place(tmp_path):
    """A wheel of yesterday, or with a module that has been moved since, which its old place still holds."""

    def collect() -> tuple[int, str]:
        command = f"-m pytest -q -n 0 --collect-only tests/house/{Path(__file__).name}".split()
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    installed = tmp_path / "nybble"
    for folder in PACKAGES:
        shutil.copytree(folder, installed / folder.name)
    for path in ROOT.glob("*.py"):
        shutil.copy(path, installed)
    assert collect()[0] == 0
    (installed / "engine" / "moved.py").touch()
    (installed / "cli" / "front.py").write_text("")
    (installed / "__main__.py").unlink()
    code, said = collect()
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "not the package beside these tests: __main__.py, cli/front.py, engine/moved.py differ" in said
