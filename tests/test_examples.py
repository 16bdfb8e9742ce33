"""The examples run as they stand there, and the README knows them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@each_example
def test_an_example_runs(path: Path, smollm2_path: Path) -> None:
    command = [sys.executable, str(path), "The sea"]
    first, again = (subprocess.run(command, capture_output=True, text=True, timeout=120) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("The sea") and len(first.stdout) > 100
    assert first.stdout.split("\n\n")[0] == again.stdout.split("\n\n")[0], "a seed gives the same text"


@each_example
def test_the_readme_leads_to_it(path: Path) -> None:
    name = f"examples/{path.name}"
    assert f"[{name}]({name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python {name}" in path.read_text(encoding="utf-8")
