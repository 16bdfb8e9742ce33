"""`nybble inspect` says whether a file can be run, and why not, in the words that loading would use."""

import json
from pathlib import Path

import architecture_fixtures
import forge
import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble.cli import main
from nybble.engine.check import examine
from nybble.engine.executors.numba import footprint as footprint_module
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.numba.footprint import footprint
from nybble.engine.model import Model
from nybble.errors import GGUFUnsupportedError, NybbleError
from nybble.gguf_io.file import load_gguf
from nybble.kernels.attention.cache_type import CACHE_TYPES
from nybble.system.free_memory import _of_group

Q8_1 = 9


def in_q8_1(made: GGUFForge) -> None:
    """A format that only ggml's own computations have."""
    tensor = made.tensor("blk.1.ffn_down.weight")
    tensor.type, tensor.data = Q8_1, bytes(forge.n_bytes(tensor.dims, Q8_1))


BAD = {
    "architecture": (lambda f: f.set("general.architecture", "lama"), "'lama'; nybble runs"),
    "hyperparameter": (lambda f: f.set("llama.attention.causal", False), "llama.attention.causal"),
    "missing": (lambda f: f.drop_tensor("blk.1.attn_k.weight"), "blk.1.attn_k.weight is missing"),
    "unused": (lambda f: f.add_tensor("blk.0.gate.weight", [4]), "blk.0.gate.weight would not be used"),
    "format": (in_q8_1, "blk.1.ffn_down.weight': nybble cannot compute with the format Q8_1"),
    "pre": (lambda f: f.set("tokenizer.ggml.pre", "gpt-7"), "tokenizer.ggml.pre is 'gpt-7'"),
    "merges": (lambda f: f.remove("tokenizer.ggml.merges"), "tokenizer.ggml.merges is missing"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_model.write(tmp_path_factory.mktemp("verdict") / "tiny.gguf").read_bytes()


def write(made: GGUFForge, tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(made.build())
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_problem_in_the_words_of_loading(
    case: str, sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, expected = BAD[case]
    made = GGUFForge.parse(sound)
    change(made)
    path = write(made, tmp_path)
    with pytest.raises(NybbleError) as caught:
        nybble.LLM(path)
    with load_gguf(path) as file:
        verdict = examine(file)
    assert verdict.problems == (str(caught.value),) and expected in verdict.problems[0]
    assert not verdict.runs and verdict.footprint is None
    assert main(["inspect", str(path)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["nybble cannot run this file:", f"  {' '.join(verdict.problems[0].split())}"]


def test_independent_problems_are_all_said(sound: bytes, tmp_path: Path) -> None:
    made = GGUFForge.parse(sound)
    for case in ("missing", "pre"):
        BAD[case][0](made)
    with load_gguf(write(made, tmp_path)) as file:
        problems = examine(file).problems
    assert ["blk.1.attn_k" in problems[0], "gpt-7" in problems[1], len(problems)] == [True, True, 2]


def test_a_format_without_a_kernel(sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a kernel for each format that may be in a file; so one is taken away."""
    from nybble.engine.executors.numba.storage import packed_matrix
    from nybble.gguf_io.formats import Q4_0

    path = tiny_model.write(tmp_path / "model.gguf", weight_format="Q4_0")
    monkeypatch.delitem(packed_matrix.PACKERS, Q4_0)
    with pytest.raises(GGUFUnsupportedError) as caught:
        nybble.LLM(path)
    with load_gguf(path) as file:
        assert examine(file).problems == (str(caught.value),)
    assert "Q4_0, for which the numba executor has no kernel" in str(caught.value)


def test_what_runs(sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(GGUFForge.parse(sound), tmp_path)
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out.startswith("nybble runs this file\n")
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["runs"] and report["problems"] == [] and report["path"] == str(path)
    assert report["metadata"]["general.architecture"] == "llama"
    assert report["metadata"]["tokenizer.ggml.tokens"]["type"] == "string[]"
    tensor = report["tensors"]["token_embd.weight"]
    assert tensor["format"] == "F32" and tensor["bytes"] == 4 * tensor["shape"][0] * tensor["shape"][1]
    memory = report["memory"]
    assert memory["total"] == memory["weights"] + memory["states"] + memory["buffers"] < memory["free"]


def test_json_of_what_does_not_run(sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = GGUFForge.parse(sound).drop_tensor("output_norm.weight").set("x.y", float("nan"))
    assert main(["inspect", "--json", str(write(made, tmp_path))]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["runs"] and "output_norm.weight is missing" in report["problems"][0]
    assert report["memory"] is None and report["metadata"]["x.y"] == "nan"


@pytest.mark.parametrize("content", [b"GGUFxxxx", None])
def test_json_of_what_cannot_be_opened(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "part-00001-of-00002.gguf"
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", "--json", str(path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["runs"] is False and path.name in report["problems"][0]


def test_too_little_memory(sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint_module, "free_memory", lambda: 10_000)
    with load_gguf(write(GGUFForge.parse(sound), tmp_path)) as file:
        verdict = examine(file)
    assert not verdict.runs and "but 0 MB are free" in verdict.problems[0]
    assert verdict.footprint is not None


@pytest.mark.parametrize("name", ["llama-moe", "gemma3", "mamba2", "deepseek2"])
def test_the_footprint_is_what_an_executor_takes(name: str, tmp_path: Path) -> None:
    formats = {"llama-moe": {"ffn_gate_exps": "Q4_0", "ffn_down_exps": "F16", "attn_q": "Q8_0"}}.get(name, {})
    described = architecture_fixtures.description(name)
    model = Model.load(architecture_fixtures.write(tmp_path / "model.gguf", described, formats))
    for cache_type in CACHE_TYPES:
        found = footprint(model.plan, 100, 20, cache_type)
        executor = NumbaExecutor(model.plan, 100, 1, 20, cache_type=cache_type)
        assert found.weights == sum(matrix.nbytes for matrix in executor.matrices.values())
        assert found.states == sum(cache.nbytes for cache in executor.caches)
        assert found.buffers == executor.runner.n_buffer_bytes
        executor.close()
    model.close()


def test_pages_of_files_count_as_free_in_a_container(tmp_path: Path) -> None:
    for name, content in {
        "max": "1000\n",
        "current": "900\n",
        "stat": "anon 300\ninactive_file 400\nactive_file 100\nslab 7\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(content)
    assert _of_group(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert _of_group(tmp_path) is None


def test_memory_of_a_control_group_of_version_1(tmp_path):
    for name, content in {
        "limit_in_bytes": "1000\n",
        "usage_in_bytes": "900\n",
        "stat": "cache 1\ninactive_file 1\ntotal_inactive_file 400\ntotal_active_file 100\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(content)
    assert _of_group(tmp_path) == 600
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert _of_group(tmp_path) > 1 << 60
