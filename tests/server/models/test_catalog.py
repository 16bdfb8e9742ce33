"""The models of folders: examined when they are new, each under one name, the others with the reason."""

import shutil

import forge
import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble.engine import facts as facts_module
from nybble.engine.facts import facts_of
from nybble.gguf_io.file import load_gguf
from nybble.server.models.catalog import Catalog


@pytest.fixture
def tiny(tmp_path):
    return tiny_model.write(tmp_path / "made.gguf")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def catalog(*folders, **given):
    examined = []

    def examine(path):
        examined.append(path)
        return facts_of(path, {"n_ctx": 64})

    made = Catalog(examine, given, folders)
    made.examined = examined
    return made


def served(found):
    return [each.name for each in found if each.facts is not None]


def test_what_is_no_model_has_the_reason_and_others_are_served(folder, tiny):
    shutil.copy(tiny, folder / "good.gguf")
    for name, change, _ in BAD:
        made = GGUFForge.parse(tiny.read_bytes())
        change(made)
        (folder / f"{name}.gguf").write_bytes(made.build())
    (folder / "cut.gguf").write_bytes(tiny.read_bytes()[:5000])
    (folder / "empty.gguf").touch()
    (folder / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1\n")
    found = catalog(folder).scan()
    assert served(found) == ["good"]
    problems = {each.name: each.problem for each in found if each.facts is None}
    for name, _, reason in BAD:
        assert reason in problems[name], name
    assert "truncated" in problems["cut"] and problems["empty"] and problems["text"]


def without_tensors(made):
    made.tensors = []


BAD = [
    ("adapter", lambda made: made.set("general.type", "adapter"), "a LoRA adapter"),
    ("projector", lambda made: made.set("general.type", "mmproj"), "a multimodal projector"),
    ("imatrix", lambda made: made.set("general.type", "imatrix"), "an importance matrix"),
    ("vocabulary", without_tensors, "a vocabulary without a model"),
    ("unknown", lambda made: made.set("general.architecture", "lama"), "'lama'; nybble runs"),
    ("damaged", lambda made: made.drop_tensor("blk.1.attn_k.weight"), "blk.1.attn_k.weight is missing"),
    ("odd", lambda made: made.set("llama.block_count", -1, forge.I32), "llama.block_count"),
]


def test_a_file_is_examined_when_it_is_new_or_has_changed(folder, tiny):
    half = tiny.read_bytes()[:5000]
    (folder / "m.gguf").write_bytes(half)
    models = catalog(folder)
    for _ in range(2):
        assert served(models.scan()) == []
    assert len(models.examined) == 1
    (folder / "m.gguf").write_bytes(tiny.read_bytes())  # the rest has come
    shutil.copy(tiny, folder / "n.gguf")
    for _ in range(2):
        assert served(models.scan()) == ["m", "n"]
    assert len(models.examined) == 3
    (folder / "m.gguf").unlink()
    assert served(models.scan()) == ["n"]


def test_two_of_one_name_have_longer_names_and_keep_them(folder, tiny):
    for place in ("x/q4", "x/q8"):
        (folder / place).mkdir(parents=True)
        shutil.copy(tiny, folder / place / "m.gguf")
    models = catalog(folder)
    assert served(models.scan()) == ["m", "x/q8/m"]
    shutil.copy(tiny, folder / "m.gguf")
    by_path = {each.path: each.name for each in models.scan() if each.facts is not None}
    assert by_path[folder / "x/q4/m.gguf"] == "m" and by_path[folder / "x/q8/m.gguf"] == "x/q8/m"
    assert folder / "m.gguf" not in by_path
    (lost,) = [each for each in models.scan() if each.facts is None]
    assert lost.problem == "another model is called m; rename one of them"


def test_names_that_were_given_come_first(folder, tiny):
    shutil.copy(tiny, folder / "m.gguf")
    found = catalog(folder, m=tiny).scan()
    assert [(each.name, each.path, each.is_given) for each in found if each.facts] == [("m", tiny, True)]
    (lost,) = [each for each in found if each.facts is None]
    assert "another model is called m" in lost.problem
    (found,) = catalog(folder, m=folder / "m.gguf").scan()
    assert found.is_given, "a file that is given, and its folder too"
    with pytest.raises(FileNotFoundError):
        catalog(m=folder / "none.gguf")


def test_names_that_are_none(folder, tiny):
    shutil.copy(tiny, folder / "a\nb.gguf")
    shutil.copy(tiny, folder / f"{'x' * 201}.gguf")
    found = catalog(folder).scan()
    assert served(found) == [] and all("at most 200 printable" in each.problem for each in found)


def test_a_folder_that_vanishes_takes_its_models_along(folder, tiny):
    shutil.copy(tiny, folder / "m.gguf")
    models = catalog(folder)
    assert served(models.scan()) == ["m"]
    shutil.rmtree(folder)
    (gone,) = models.scan()
    assert gone.facts is None and "the folder cannot be read" in gone.problem
    folder.mkdir()
    shutil.copy(tiny, folder / "m.gguf")
    assert served(models.scan()) == ["m"]


def test_facts_are_those_of_the_loaded_model(tiny):
    facts = facts_of(tiny, {"n_ctx": 64, "cache_type": "q8_0", "n_threads": None})
    with nybble.LLM(tiny, n_ctx=64, cache_type="q8_0") as llm:
        assert facts.info == llm.info
    with nybble.LLM(tiny, executor="reference") as llm:
        assert facts_of(tiny, {"executor": "reference"}).info == llm.info
    with load_gguf(tiny) as file:
        n_values = sum(tensor.n_values for tensor in file.tensors.values())

    def sizes(**options):
        return facts_of(tiny, {"n_ctx": 64, **options}).n_bytes

    plain = sizes()
    assert sizes(weights="mapped") < plain - n_values
    assert plain < sizes(n_pool_tokens=2048) and plain < sizes(n_ctx=128)
    assert sizes(draft=str(tiny)) - plain == plain - facts_module._BESIDES
    assert sizes(draft="ngram") == plain
