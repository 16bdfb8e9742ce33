"""`nybble run --receipt` and `nybble verify`."""

import json

import numpy as np
import pytest

import nybble
from nybble import Receipt, research
from nybble.cli import main
from nybble.testing import tiny_model


@pytest.fixture(scope="module")
def model():
    return str(tiny_model())


@pytest.fixture
def said(capsys):
    def run(*words):
        code = main([*map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_a_run_is_verified(model, tmp_path, said):
    path = tmp_path / "r.json"
    code, text, _ = said(
        *("run", model, "the other", "--raw", "-n", 8, "--temp", 1, "-c", 128, "--cache-type", "q8_0"),
        *("--ignore-eos", "--receipt", path),
    )
    assert code == 0 and text
    assert said("verify", path, "--model", model) == (0, "the same: all 8 tokens\n", "")
    code, found, _ = said("verify", path, "--model", model, "--json", "-t", 1)
    assert code == 0 and json.loads(found) == {
        "is_same": True,
        "n_same": 8,
        "difference": "",
        "remarks": [],
    }


def test_json_of_a_run_and_its_receipt_agree(model, tmp_path, said):
    path = tmp_path / "r.json"
    code, out, _ = said("run", model, "the", "-n", 4, "-c", 512, "--json", "--receipt", path)
    facts = json.loads(out)
    assert code == 0 and facts["token_ids"] == list(Receipt.load(path).token_ids)
    assert "receipt_source" not in facts


def test_exit_codes_tell_different_from_unknown(model, tmp_path, said):
    path = tmp_path / "r.json"
    with nybble.LLM(model, n_ctx=64) as llm:
        receipt = llm.generate("the", nybble.SamplingParams(max_tokens=4, ignore_eos=True)).receipt
    facts = receipt.as_dict()
    for name in ("format", "checksum"):
        facts.pop(name)
    first = facts["token_ids"][0] ^ 1
    changed = Receipt.of(**{**facts, "token_ids": [first, *facts["token_ids"][1:]], "nybble": "9.9"})
    changed.save(path)
    code, out, err = said("verify", path, "-m", model)
    assert code == 1 and out.startswith("not the same: token 0 is ") and "because of nybble: " in err
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_model(seed=1).read_bytes())
    receipt.save(path)
    for words, message in [
        (["-m", other], "the receipt is of another model, tiny.gguf"),
        (["-m", tmp_path / "none.gguf"], "none.gguf"),
        ([], "is not on this machine under that name; --model says where it is"),
        (["-m", model, "--control-vector", model], "a control vector was expected"),
    ]:
        code, out, err = said("verify", path, *words)
        assert (code, out) == (2, "") and message in err
    path.write_text("{}")
    assert said("verify", path, "-m", model)[0] == 2
    code, _, err = said("verify", tmp_path / "none.json", "-m", model)
    assert code == 2 and "none.json: No such file" in err


def test_the_model_is_found_by_its_contents(model, tmp_path, said, monkeypatch):
    monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "models"
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(tiny_model(seed=1).read_bytes())
    path = tmp_path / "r.json"
    with nybble.LLM(model, n_ctx=64) as llm:
        llm.generate("the", nybble.SamplingParams(max_tokens=4)).receipt.save(path)
    code, _, err = said("verify", path)
    assert code == 2 and "has other contents on this machine" in err
    (folder / "tiny.gguf").write_bytes(tiny_model().read_bytes())
    assert said("verify", path)[0] == 0


def test_a_steered_run_is_verified_with_its_vector(model, tmp_path, said):
    path, vector = tmp_path / "r.json", tmp_path / "v.gguf"
    random = np.random.default_rng(0)
    research.ControlVector({1: random.standard_normal(64).astype(np.float32)}).save(vector)
    words = ("run", model, "the", "--raw", "-n", 4, "-c", 64, "--receipt", path)
    assert said(*words, "--control-vector", f"{vector}:40")[0] == 0
    code, _, err = said("verify", path, "-m", model)
    assert code == 2 and "steered at blk.1.resid_post" in err
    assert said("verify", path, "-m", model, "--control-vector", vector)[0] == 0
