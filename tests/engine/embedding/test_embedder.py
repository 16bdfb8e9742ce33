"""Embeddings and scores of texts: llama.cpp's on tiny encoders, and pooling, errors and the command."""

import json

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
import tiny_vocabulary
from forge import GGUFForge

import nybble
from nybble.cli import main
from nybble.engine.embedding.embedder import normalized, pool
from nybble.engine.embedding.reranking import first_probability, pair_ids
from nybble.errors import ModelError, RequestError

POOLED = {name: architecture_fixtures.pooled(name) for name in architecture_fixtures.NAMES}
ENCODERS = [name for name, pooled in POOLED.items() if pooled is not None]
TEXTS = ["the other hand", "in here", "and there is the hand of another"]


def fixture(tmp_path, name, **options):
    made = architecture_fixtures.description(name)
    return nybble.LLM(architecture_fixtures.write(tmp_path / f"{name}.gguf", made), **options)


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("embed") / "tiny.gguf")


@pytest.fixture(scope="module")
def llm(tiny_path):
    with nybble.LLM(tiny_path, executor="reference", n_batch=8) as llm:
        yield llm


@pytest.fixture
def bert(tmp_path):
    with fixture(tmp_path, "bert", executor="reference") as llm:
        yield llm


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("executor", ["reference", "numba"])
def test_llama_cpp_makes_the_same_of_a_text(name, executor, tmp_path):
    """Its pooling and what stands after it: matrices, or a classifier."""
    ids, expected = architecture_fixtures.recorded(name)["ids"], POOLED[name]
    with fixture(tmp_path, name, executor=executor) as llm:
        tensors = architecture_fixtures.description(name)["tensors"]
        found = llm.classify(ids) if any("cls." in n for n in tensors) else llm.embed(ids, normalize=False)
        if name == "qwen3-reranker":  # whose scores llama.cpp makes probabilities
            found = np.stack([first_probability(found), first_probability(found[:, ::-1])], axis=1)
    assert found.shape == (1, len(expected)) and found.dtype == np.float32
    assert ((found[0] - expected) ** 2).sum() < 1e-5 * (expected**2).sum()


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_decoder_embeds_too(llm, pooling):
    found = llm.embed(TEXTS, pooling=pooling)
    assert found.shape == (3, llm.config.n_embd) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    for text, vector in zip(TEXTS, llm.embed(TEXTS, pooling=pooling, normalize=False), strict=True):
        rows = llm.trace(text, "output_norm", logits=None)["output_norm"].astype(np.float64)
        expected = {"mean": rows.mean(axis=0), "cls": rows[0], "last": rows[-1]}[pooling]
        np.testing.assert_allclose(vector, expected, atol=1e-5 * abs(expected).max())


def test_the_file_says_how_to_pool(tiny_path, tmp_path):
    for number, pooling in enumerate(["none", "mean", "cls", "last"]):
        file = GGUFForge.parse(tiny_path.read_bytes()).set("llama.pooling_type", number)
        path = tmp_path / f"{pooling}.gguf"
        path.write_bytes(file.build())
        with nybble.LLM(path, executor="reference") as llm:
            np.testing.assert_array_equal(llm.embed(TEXTS[0]), llm.embed(TEXTS[0], pooling=pooling))


def test_one_text_many_or_ids(llm):
    one = llm.embed(TEXTS[1], pooling="mean")
    ids = llm.tokenizer.encode(TEXTS[1])
    for same in ([TEXTS[1]], ids, np.array(ids), [ids]):
        np.testing.assert_array_equal(llm.embed(same, pooling="mean"), one)
    np.testing.assert_array_equal(llm.embed(TEXTS, pooling="mean")[1:2], one)
    assert llm.embed([], pooling="mean").shape == (0, llm.config.n_embd)
    assert llm.embed(ids, pooling="none").shape == (len(ids), llm.config.n_embd)


@pytest.mark.parametrize("name", ["bert", "bert-classifier", "qwen3-reranker"])
def test_texts_have_the_same_bits_alone_and_side_by_side(name, tmp_path):
    with fixture(tmp_path, name) as llm:
        random = np.random.default_rng(1)
        texts = [random.integers(0, llm.config.n_vocab, n).tolist() for n in (3, 20, 1, 40, 7)]
        run = llm.classify if name != "bert" else llm.embed
        assert run(texts).tobytes() == np.concatenate([run(text) for text in texts]).tobytes()
        with pytest.raises(RequestError, match=r"^texts\[1\]: token id -1 at index 0"):
            run([[1], [-1]])


def test_lengths():
    rows = np.array([[3, 4], [0, 0], [1e30, 0]], np.float32)
    np.testing.assert_allclose(normalized(rows), [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    np.testing.assert_array_equal(pool(rows[:2], "mean"), [[1.5, 2]])


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("the", {}, r"tiny\.gguf does not say how embeddings are pooled .*choose with pooling="),
        ("the", {"pooling": "max"}, "pooling must be one of none, mean, cls, last, not 'max'"),
        (TEXTS, {"pooling": "none"}, "embed one text at a time"),
        ("", {"pooling": "mean"}, "the prompt is empty"),
        (["the", 5], {"pooling": "mean"}, "a prompt is a text or a list of token ids, not 5"),
        (7, {"pooling": "mean"}, "a prompt is a text or a list of token ids, not 7"),
        ([1] * 129, {"pooling": "mean"}, "has 129 tokens, but the context holds only n_ctx=128"),
        ([10**6], {"pooling": "mean"}, "token id 1000000 at index 0 is outside the vocabulary"),
    ],
)
def test_requests_that_cannot_be(llm, texts, options, message):
    with pytest.raises(RequestError, match=message):
        llm.embed(texts, **options)


def test_an_encoder_says_what_it_is_for(bert):
    for ask in (
        lambda: bert.generate([1, 2]),
        lambda: next(bert.stream([1, 2])),
        lambda: bert.logits([1, 2]),
        lambda: bert.trace([1, 2]),
    ):
        with pytest.raises(RequestError, match=r"architecture 'bert' gives embeddings .*use `LLM.embed`"):
            ask()
    with pytest.raises(RequestError, match="this model gives embeddings, and no logits"):
        bert.unembed(np.zeros((1, bert.config.n_embd), np.float32))
    with pytest.raises(RequestError, match=r"has no classifier .*; use `LLM.embed`"):
        bert.classify([1, 2])
    assert bert.trace([1, 2], "blk.0.attn_probs", logits=None)["blk.0.attn_probs"].min() > 0
    assert bert.class_labels == []


def test_a_decoder_whose_tokens_see_each_other_embeds(tmp_path):
    with fixture(tmp_path, "qwen3-both-ways", executor="reference") as llm:
        assert not np.array_equal(llm.logits([1, 2, 3])[0], llm.logits([1, 2, 4])[0])
        with pytest.raises(RequestError, match=r"use `LLM.logits` or `LLM.embed`"):
            llm.generate([1, 2, 3])


def test_a_classifier_has_labels_and_embeds_on_demand(tmp_path):
    with fixture(tmp_path, "bert-classifier", executor="reference") as llm:
        assert llm.class_labels == ["no", "maybe", "yes"]
        assert llm.classify([[1, 2], [3]]).shape == (2, 3)
        with pytest.raises(RequestError, match=r"is made for ranking: use `LLM.rerank`"):
            llm.embed([1, 2])
        assert llm.embed([1, 2], pooling="cls").shape == (1, llm.config.n_embd)
        with pytest.raises(RequestError, match=r"has no tokenizer; use `LLM.classify`"):
            llm.rerank("a", ["b"])


def test_rerankers_are_asked_by_their_template(llm):
    ids = pair_ids(llm.tokenizer, "<|im_start|>{query}: {document}<|im_end|>", "in", "the hand")
    assert ids == llm.tokenizer.encode("<|im_start|>in: the hand<|im_end|>", parse_special=True)
    twice = pair_ids(llm.tokenizer, "{query}, {document}, {query}, {document}", "{document}", "the {query}")
    assert llm.tokenizer.decode(twice) == "{document}, the {query}, {document}, the {query}"
    assert pair_ids(llm.tokenizer, None, "in", "the") == llm.tokenizer.encode_pair("in", "the")
    with pytest.raises(ModelError, match=r"has no place for {query} and then {document}"):
        pair_ids(llm.tokenizer, "{query}", "in", "the")
    with pytest.raises(RequestError, match="a document is a text, not 7"):
        pair_ids(llm.tokenizer, None, "in", 7)


def test_a_template_with_bos_of_its_own_is_warned_of(caplog):
    tokenizer = tiny_vocabulary.make(tiny_vocabulary.spm(add_eos_token=True))
    for document in ("hello", "world"):
        ids = pair_ids(tokenizer, "<s>{query} {document}</s>", "hello", document)
        assert ids[:2] == [1, 1] and ids[-2:] == [2, 2]
    first, second = (record.getMessage() for record in caplog.records)
    assert "the template of a reranker) begins with BOS, '<s>'" in first
    assert "the template of a reranker) ends with EOS, '</s>'" in second


def test_the_first_of_several_classes_counts():
    scores = np.array([[1000, 1000], [0, np.log(3)]], np.float32)
    np.testing.assert_allclose(first_probability(scores), [0.5, 0.25], rtol=1e-6)


def test_damaged_weights_give_an_error(tmp_path):
    made = architecture_fixtures.description("bert")
    path = architecture_fixtures.write(tmp_path / "model.gguf", made)
    file = GGUFForge.parse(path.read_bytes())
    file.tensor("blk.1.layer_output_norm.bias").data = np.full(64, np.nan, np.float32).tobytes()
    path.write_bytes(file.build())
    message = r"model\.gguf: the embedding at position 0 is NaN or infinite"
    with nybble.LLM(path, executor="reference") as llm, pytest.raises(ModelError, match=message):
        llm.embed([1, 2])


def test_the_command_writes_a_line_for_each_text(tiny_path, llm, capsys):
    options = ["--executor", "reference", "--pooling", "last"]
    assert main(["embed", str(tiny_path), *TEXTS, *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert [line["n_tokens"] for line in lines] == [len(llm.tokenizer.encode(text)) for text in TEXTS]
    vectors = np.array([line["embedding"] for line in lines], np.float32)
    np.testing.assert_allclose(vectors, llm.embed(TEXTS, pooling="last"), atol=1e-6)
    assert main(["embed", str(tiny_path), *TEXTS, "-", *options]) == 1
    assert "give texts, or - for standard input, not both" in capsys.readouterr().err
