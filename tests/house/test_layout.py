"""How large folders and files may get."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
N_FILES, N_LINES = 20, 350

APART = {"engine/architectures"}
"""Folders with one file for each of many things."""


def sources() -> dict[str, Path]:
    """Every Python file of the repository, by its path in it; not those of builds and environments."""
    tops = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"bench", "examples", "tests"}
    found = [*ROOT.glob("*.py"), *(path for top in tops for path in (ROOT / top).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path for path in found}


def test_a_folder_has_few_files():
    """But for `__init__.py`."""
    n_files = Counter(name.rpartition("/")[0] for name in sources() if not name.endswith("__init__.py"))
    assert {folder for folder, n in n_files.items() if n > N_FILES} <= APART


def test_a_file_has_few_lines():
    n_lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in sources().items()}
    assert not {name for name, n in n_lines.items() if n > N_LINES}
