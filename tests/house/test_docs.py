"""What the pages in `docs` show is so: their code runs, their commands run, what they quote is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import markdown_page
import pytest
import support_docs

PAGES = sorted((markdown_page.ROOT / "docs").glob("*.md"))
KERNEL_PAGES = ["kernels.md", "quantized_linear.md", "own_kernels.md"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@each_page
def test_code_and_commands_run(page: Path, smollm2_path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = markdown_page.run(page)
    if table := printed.get("python bench/kernels.py"):
        errors = re.findall(r"\| (\de.\d+) \|$", table, re.MULTILINE)
        assert len(errors) == 10 and all(float(error) < 0.01 for error in errors), table


@pytest.mark.parametrize("name", KERNEL_PAGES)
def test_kernels_run_in_plain_python(name: str) -> None:
    """All but what needs a model, which would take too long."""
    page = markdown_page.ROOT / "docs" / name
    found = markdown_page.blocks(page)
    end = next((i for i, block in enumerate(found) if "nybble.LLM(" in block.text), len(found))
    code = markdown_page.python(page, found[:end]) + "import sys; print('numba' in sys.modules)\n"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("False\n"), "Numba is not even imported"


@each_page
def test_what_it_quotes_is_there(page: Path) -> None:
    for mark, text, line in markdown_page.blocks(page):
        kind, _, file = mark.partition(" ")
        assert kind in ("python", "sh", "text", ""), f"{page.name}:{line}"
        if file:
            assert text in (markdown_page.ROOT / file).read_text(encoding="utf-8"), f"{page.name}:{line}"


@each_page
def test_links_lead_somewhere_and_to_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    others = "".join(
        p.read_text(encoding="utf-8") for p in [markdown_page.ROOT / "README.md", *PAGES] if p != page
    )
    assert f"]({page.name})" in others or f"](docs/{page.name})" in others


@pytest.mark.parametrize("name", support_docs.TABLES)
def test_tables_of_what_runs_are_up_to_date(name: str) -> None:
    found = (markdown_page.ROOT / name).read_text(encoding="utf-8")
    assert found == support_docs.page(name), "run python tests/tools/support_docs.py"


def test_every_architecture_says_for_which_models_it_is() -> None:
    rows = support_docs.architectures().splitlines()[2:]
    assert not [row for row in rows if not row.split("|")[2].strip()]
