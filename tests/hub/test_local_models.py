"""Names on this machine: aliases, files in the folder of models, listing and removing."""

import json
from dataclasses import replace

import architecture_fixtures
import pytest
import tiny_model

import nybble
from nybble.cli import main
from nybble.errors import RequestError
from nybble.hub import models
from nybble.hub.local_models import local_models, remove_model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Empty caches; -> the folder of models."""
    for name in ("NYBBLE_CACHE", "HF_HUB_CACHE", "OLLAMA_MODELS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "NYBBLE_CACHE" / "models").mkdir(parents=True)
    return tmp_path / "NYBBLE_CACHE" / "models"


@pytest.fixture
def tiny(tmp_path):
    return tiny_model.write(tmp_path / "tiny.gguf")


def test_an_alias_is_a_name_for_every_command(cache, tiny, capsys):
    assert main(["pull", str(tiny), "--alias", "qwen2.5-mine"]) == 0
    assert capsys.readouterr().out == f"{tiny}\n" and (cache / "qwen2.5-mine").is_symlink()
    assert models.resolve("qwen2.5-mine") == tiny
    assert main(["inspect", "qwen2.5-mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tiny)
    assert models.pull("qwen2.5-mine", alias="other") == tiny == models.resolve("other")
    models.pull(tiny, alias="other")  # a second time


def test_what_lies_or_is_linked_in_the_folder_has_a_name(cache, tiny, tmp_path):
    (cache / "linked").symlink_to(tiny)
    (cache / "half.gguf.0123.partial").touch()
    tiny.rename(cache / "own.gguf")
    assert models.resolve("own") == cache / "own.gguf"
    assert models.resolve("linked") == tiny and not tiny.exists()
    (cache / "second.gguf").symlink_to(cache / "own.gguf")
    (cache / "linked.gguf").write_bytes(b"GGUF")  # "linked" has precedence
    kinds = [("linked", "alias"), ("own", "name"), ("second", "alias")]
    assert [(model.name, model.kind) for model in local_models()] == kinds
    assert remove_model("second") == 0 and not (cache / "second.gguf").is_symlink()
    assert models.resolve("own") == cache / "own.gguf"


@pytest.mark.parametrize("alias", ["", "../up", "a/b", "a\\b", "x.gguf", "-x", ".x", "a b", "a:b", "x" * 101])
def test_what_is_no_alias(cache, tiny, alias):
    with pytest.raises(RequestError, match="alias must be a name of letters"):
        models.pull(tiny, alias=alias)
    assert not list(cache.iterdir())


def test_an_alias_takes_no_ones_place(cache, tiny):
    with pytest.raises(RequestError, match="alias='smollm2' must be a new name"):
        models.pull(tiny, alias="smollm2")
    (cache / "taken").write_bytes(b"GGUF")
    with pytest.raises(RequestError, match=r"alias='taken' must be a new name, and .*taken is a file"):
        models.pull(tiny, alias="taken")
    with pytest.raises(FileNotFoundError):
        models.pull("missing.gguf", alias="lost")
    assert [path.name for path in cache.iterdir()] == ["taken"]


def test_names_that_are_not_there_are_not_paths_elsewhere(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (cache.parent / "secret").write_bytes(b"GGUF")
    with pytest.raises(RequestError, match=r"there is no model '\.\./secret' to remove"):
        remove_model("../secret")
    assert models.resolve("../secret").parts[0] == ".."  # a path from here, as it says
    (cache / "mine").write_bytes(b"GGUF")
    with pytest.raises(RequestError, match=r"neither a known model \(gemma3, mine, smollm2\).*mean mine\?"):
        models.resolve("mime")


def test_an_alias_of_a_model_in_several_files(cache, tmp_path, capsys):
    parts = [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for part in parts:
        part.write_bytes(b"GGUF")
    models.pull(parts[0], alias="both")
    assert models.resolve("both") == parts[0]
    (model,) = local_models()
    assert model.paths == tuple(parts) and model.n_bytes == 8


def test_list_says_what_runs_and_what_is_no_model(cache, tiny, capsys):
    made = architecture_fixtures.description("gemma3")
    adapter = made["metadata"] | {"general.type": ["STRING", "adapter"]}
    architecture_fixtures.write(cache / "adapter.gguf", made | {"metadata": adapter})
    (cache / "cut.gguf").write_bytes(tiny.read_bytes()[:5000])
    (cache / "gone").symlink_to(tiny.with_name("gone.gguf"))
    models.pull(tiny, alias="small")
    assert main(["list"]) == 0
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["NAME", "SIZE", "FORMAT", "RUNS"]
    assert [row[0] for row in rows[1:]] == ["adapter", "cut", "gone", "small"]
    assert "no: a LoRA adapter for a model of the architecture gemma3" in " ".join(rows[1])
    assert "truncated" in " ".join(rows[2]) and "No such file" in " ".join(rows[3])
    assert rows[4][3] == "F32 yes" or rows[4][-1].endswith("yes")
    assert main(["list", "--json"]) == 0
    facts = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert facts["small"] == {
        "name": "small",
        "path": str(tiny),
        "bytes": tiny.stat().st_size,
        "format": "F32",
        "kind": "a model",
        "runs": True,
        "problems": [],
    }
    assert not facts["cut"]["runs"] and facts["cut"]["kind"] is None


def test_list_of_nothing(cache, capsys):
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "nybble pull smollm2" in err


def test_rm_removes_names_files_and_the_aliases_of_what_is_gone(cache, tiny, capsys, monkeypatch):
    size = tiny.stat().st_size
    tiny.rename(cache / "own.gguf")
    models.pull("own", alias="first")
    models.pull("own", alias="second")
    assert main(["rm", "first"]) == 0 and (cache / "own.gguf").exists() and not (cache / "first").exists()
    assert main(["rm", "own"]) == 0 and not list(cache.iterdir())
    assert f"own is removed; {size / 1000:.3g} kB are free again" in capsys.readouterr().err
    assert main(["rm", "own"]) == 1 and "there is no model 'own' to remove" in capsys.readouterr().err
    source = replace(models.SOURCES["smollm2"], file_name="s.gguf", n_bytes=4)
    monkeypatch.setitem(models.SOURCES, "smollm2", source)
    (cache / "s.gguf").write_bytes(b"GGUF")
    assert [model.name for model in local_models()] == ["smollm2"] and remove_model("smollm2") == 4


def test_an_llm_opens_a_link_without_an_ending(cache, tiny, monkeypatch):
    path = models.pull(tiny, alias="small")
    monkeypatch.setenv("NYBBLE_CACHE", str(cache.parent))
    with nybble.LLM("small", executor="reference") as llm:
        assert llm.path == path
