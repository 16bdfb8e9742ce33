"""The examples run as they stand there, say what they should, and the README knows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from stopwatch import HANG

from nybble import research

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def output(path: Path, *arguments: str) -> str:
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["first_generation", "new_sampler"])
def test_a_text_goes_on_from_its_prompt_and_a_seed_gives_it_again(name: str, smollm2_path: Path) -> None:
    first, again = (output(ROOT / "examples" / f"{name}.py", "The sea") for _ in range(2))
    assert first.startswith("The sea") and len(first) > 100
    assert first.split("\n\n")[0] == again.split("\n\n")[0]


def test_a_tool_is_called_and_its_result_is_used(smollm2_path: Path) -> None:
    call, answer = output(ROOT / "examples" / "tools.py", "What is 17 times 23?").split("\n", 1)
    assert call == 'multiply({"a": 17, "b": 23}) = 391' and "391" in answer


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
    heads = re.findall(r"layer (\d+) head (\d+) (\S+) (\S+)  token (\d+), (.*)$", found, re.MULTILINE)
    assert heads[0][:2] == ("23", "3") and heads[0][4:] == ("9", "' John'") and float(heads[0][3]) < -1
    assert sum(head[4:] == ("1", "' Mary'") and float(head[2]) > float(head[3]) for head in heads) == 2


def test_a_coarser_quantization_is_worse(smollm2_path: Path) -> None:
    found = output(ROOT / "examples" / "compare_quantizations.py")
    assert 0.1 < float(re.search(r"mean ([\d.]+)", found)[1]) < 0.6
    before, after = map(float, re.search(r"perplexity: ([\d.]+) and ([\d.]+)", found).groups())
    assert before + 5 < after < 2 * before
    same = output(ROOT / "examples" / "compare_quantizations.py", str(smollm2_path))
    assert "mean 0.0000" in same and "100.0%" in same


def test_steering_changes_what_is_said(smollm2_path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "gladness.gguf"
    found = output(ROOT / "examples" / "steer.py", str(saved))
    odds = [float(number) for number in re.findall(r"words (\S+) nats", found)]
    assert len(odds) == 5 and odds == sorted(odds) and odds[0] < odds[2] - 3 < odds[2] + 2 < odds[4]
    assert len(set(re.findall(r"nats: (.*)", found))) == 5
    assert sorted(research.ControlVector.load(saved).directions) == list(range(1, 30))


def test_induction_heads_come_right_behind_one_that_looks_back(smollm2_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "maps.png"
    found = output(ROOT / "examples" / "attention_maps.py", str(picture), "18")
    heads = [[tuple(map(int, head)) for head in re.findall(r"layer (\d+) head (\d+) \((\d+)%", line)]
             for line in found.splitlines()[1::2]]  # fmt: skip
    first, before, followed = heads
    assert all(share > 90 for *_, share in first)
    assert before[0][0] == 16 and before[0][2] > 60
    assert followed[0][0] in (17, 18) and followed[0][2] > 25
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_most_blocks_run_side_by_side_but_not_the_first_and_last(smollm2_path: Path) -> None:
    found = output(ROOT / "examples" / "new_architecture.py")
    as_llama, *others = (float(number) for number in re.findall(r" (\d+\.\d\d)\b", found))
    assert len(others) == 10 and min(others) > as_llama - 0.05
    assert [i for i, loss in enumerate(others) if loss > as_llama + 1] == [0, 3, 9]


def test_a_debugger_follows_a_kernel() -> None:
    """Without a model, and without Numba: what is printed is the same everywhere."""
    found = output(ROOT / "examples" / "step_through_q4_k.py")
    assert found.endswith("Numba was not even imported.\n")
    blocks = re.findall(r"· q = +(\S+), scale (\S+); sum of q +(\S+), minimum +(\S+); out +(\S+)", found)
    assert len(blocks) == 8
    scale_x = float(re.search(r"scale ([\d.]+): q", found)[1])
    dot, scale, total, minimum, out = map(float, blocks[0])
    assert out == pytest.approx(scale_x * (scale * dot + minimum * total), rel=1e-3)
    kernel, rounded, exact = (
        float(number) for number in re.findall(r" (-?[\d.]+)$", found, re.MULTILINE)[-3:]
    )
    assert float(blocks[-1][-1]) == kernel == rounded and abs(kernel - exact) < 0.2
    command = [sys.executable, str(ROOT / "examples" / "step_through_q4_k.py"), "--pdb"]
    asked = subprocess.run(
        command, input="p state.shape\np b\nq\n", capture_output=True, text=True, timeout=HANG
    )
    assert "token_product.py" in asked.stdout and not asked.stderr
    assert re.search(r"\((2, 8|2, 16)\)\n\(Pdb\) 0\n", asked.stdout), "on 8 or 16 lanes"


@each_example
def test_the_readme_leads_to_it(path: Path) -> None:
    name = f"examples/{path.name}"
    assert f"[{name}]({name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python {name}" in path.read_text(encoding="utf-8")
