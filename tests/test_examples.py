"""The examples run as they stand there, say what they should, and the README knows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def output(path: Path, *arguments: str) -> str:
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["first_generation", "new_sampler"])
def test_a_text_goes_on_from_its_prompt_and_a_seed_gives_it_again(name: str, smollm2_path: Path) -> None:
    first, again = (output(ROOT / "examples" / f"{name}.py", "The sea") for _ in range(2))
    assert first.startswith("The sea") and len(first) > 100
    assert first.split("\n\n")[0] == again.split("\n\n")[0]


def test_the_lens_sees_the_answer_only_in_late_layers(smollm2_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "lens.png"
    found = output(ROOT / "examples" / "logit_lens.py", "The capital of France is the city of", str(picture))
    answers = re.findall(r"blk\.(\d+)\.resid_post +' Paris' +([\d.]+)%", found)
    layers = [int(layer) for layer, _ in answers]
    assert layers[-1] == 29 and min(layers) > 20 and float(answers[-1][1]) > 80
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_without_induction_heads_repetition_is_not_seen(smollm2_path: Path) -> None:
    found = output(ROOT / "examples" / "induction_heads.py")
    whole, without_best, without_others = map(float, re.findall(r": ([\d.]+)$", found, re.MULTILINE))
    assert whole < 4 and without_best > whole + 3 and without_others < whole + 1


def test_the_name_moves_to_the_last_token(smollm2_path: Path) -> None:
    found = output(ROOT / "examples" / "patch_a_name.py")
    rows = [tuple(map(float, row)) for row in re.findall(r"resid_pre +(\S+) +(\S+)$", found, re.MULTILINE)]
    assert rows[0][0] > 0.9 > 0.1 > abs(rows[0][1]), "first at the name"
    assert rows[-1][1] > 0.9 > 0.1 > abs(rows[-1][0]), "then at the end"


def test_the_fast_executor_is_close_to_the_reference(smollm2_path: Path) -> None:
    found = output(ROOT / "examples" / "compare_quantizations.py")
    assert float(re.search(r"mean ([\d.]+)", found)[1]) < 0.01
    assert float(re.search(r"at ([\d.]+)%", found)[1]) > 90


@each_example
def test_the_readme_leads_to_it(path: Path) -> None:
    name = f"examples/{path.name}"
    assert f"[{name}]({name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python {name}" in path.read_text(encoding="utf-8")
