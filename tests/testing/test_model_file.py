"""The tiny model that people's own tests run: always the same, quick, whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import nybble
from nybble.testing import tiny_model
from nybble.tokenizer import Tokenizer

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def llm(path):
    with nybble.LLM(path, executor="reference") as llm:
        yield llm


def test_the_same_arguments_give_the_same_file(path, tmp_path):
    assert tiny_model(tmp_path / "again.gguf").read_bytes() == path.read_bytes()
    assert tiny_model(tmp_path / "other.gguf", seed=1).read_bytes() != path.read_bytes()
    assert path.stat().st_size < 1_000_000


def test_another_implementation_reads_it(path):
    import gguf

    reader = gguf.GGUFReader(path)
    names = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    assert names["blk.1.ffn_down.weight"] == [128, 64] and "blk.2.ffn_down.weight" not in names
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == names["output.weight"][1]


def test_it_says_printable_text_and_comes_to_an_end(llm):
    params = nybble.SamplingParams(max_tokens=400, temperature=1.0, seed=1)
    outputs = llm.generate(["the", "of it", "you"], params)
    assert {out.finish_reason for out in outputs} == {"stop"}
    assert all(len(out.text) > 20 for out in outputs)
    greedy = llm.generate("the").text
    assert greedy and greedy.isascii() and greedy.isprintable()


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=100)
def test_any_text_comes_back_from_its_ids(llm, text):
    assert llm.tokenizer.decode(llm.tokenizer.encode(text)) == text


def test_its_template_is_chatml(llm):
    assert llm.render(CHAT).text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_template_may_be_another_or_none(tmp_path):
    for given_, found in (("{{ messages[0].content }}", "hi"), ("", None)):
        path = tiny_model(tmp_path / "tiny.gguf", chat_template=given_)
        with nybble.load_gguf(path) as file:
            assert file.metadata.get("tokenizer.chat_template") == (given_ if found else None)
            Tokenizer.from_gguf(file)


def test_layers_and_context_are_as_asked(tmp_path):
    path = tiny_model(tmp_path / "tiny.gguf", n_layers=1, n_ctx=100)
    with nybble.LLM(path, executor="reference") as llm:
        assert (llm.config.n_layers, llm.n_ctx) == (1, 100)
    for wrong in ({"n_layers": 0}, {"n_ctx": -1}, {"n_ctx": "64"}):
        with pytest.raises(nybble.RequestError, match=f"^{next(iter(wrong))} must be"):
            tiny_model(tmp_path / "tiny.gguf", **wrong)


def test_without_a_path_it_goes_when_python_ends():
    code = (
        "import nybble.testing as t; p = t.tiny_model(); assert p.exists() and p != t.tiny_model(); print(p)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    assert path.suffix == ".gguf" and not path.parent.exists()
