"""The public API on a tiny model and the reference executor."""

import threading

import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from stopwatch import HANG

import nybble
from nybble.cli import main
from nybble.errors import ModelError, NybbleError, RequestError


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("llm") / "tiny.gguf")


@pytest.fixture(scope="module")
def llm(tiny_path):
    with nybble.LLM(tiny_path, executor="reference", n_batch=8) as llm:
        yield llm


@pytest.fixture(scope="module", params=["none", None])
def wordless_path(request, tiny_path, tmp_path_factory):
    """The same model without its vocabulary; the file says so, or nothing. Token 2 ends a text."""
    file = GGUFForge.parse(tiny_path.read_bytes())
    for key in ("model", "pre", "tokens", "token_type", "merges"):
        file.remove(f"tokenizer.ggml.{key}")
    file.set("llama.vocab_size", file.tensor("token_embd.weight").dims[1])
    if request.param:
        file.set("tokenizer.ggml.model", request.param)
    path = tmp_path_factory.mktemp("wordless") / "wordless.gguf"
    path.write_bytes(file.build())
    return path


def test_what_an_llm_says_about_itself(llm, tiny_path):
    assert llm.config.n_vocab == llm.tokenizer.n_vocab
    assert llm.n_ctx == llm.config.n_ctx_train == 128
    assert llm.n_threads >= 1
    assert repr(llm) == f"LLM({str(tiny_path)!r}, n_ctx=128, n_threads={llm.n_threads}, executor='reference')"
    assert llm.weight_bytes_per_token > 0 and llm.load_seconds > 0 and llm.compile_seconds == 0


def test_logits_of_every_position(llm):
    ids = llm.tokenizer.encode("the other hand is in here and there")
    logits = llm.logits(ids)
    assert logits.shape == (len(ids), llm.config.n_vocab) and logits.dtype == np.float32
    with nybble.LLM(llm.path, executor="reference", n_batch=1) as one_by_one:
        np.testing.assert_allclose(one_by_one.logits(ids), logits, atol=1e-4)
    np.testing.assert_allclose(llm.logits(ids[:5]), logits[:5], atol=1e-4)


def test_greedy_generation_follows_the_logits(llm):
    out = llm.generate("the other", nybble.SamplingParams(max_tokens=20))
    ids = llm.tokenizer.encode("the other")
    for token_id in out.token_ids:
        assert token_id == llm.logits(ids)[-1].argmax()
        ids.append(token_id)
    assert out.text == llm.tokenizer.decode(out.token_ids)
    assert out.finish_reason == "length" or llm.logits(ids)[-1].argmax() in llm.tokenizer.eog_ids
    assert out.timings.n_prompt_tokens == len(llm.tokenizer.encode("the other"))
    assert out.timings.prefill_seconds > 0 and out.timings.load_seconds == llm.load_seconds


def test_stream_and_generate_give_the_same(llm):
    params = nybble.SamplingParams(max_tokens=30, temperature=1.0, top_k=50, seed=5)
    stream = llm.stream([70, 71, 72], params)
    pieces = list(stream)
    out = llm.generate([70, 71, 72], params)
    assert ("".join(pieces), stream.token_ids) == (out.text, out.token_ids)
    assert out.token_ids != llm.generate([70, 71, 72], nybble.SamplingParams(max_tokens=30)).token_ids


def test_a_prompt_may_hold_control_tokens_by_name(llm):
    prompt = "<|im_start|>user\nhello<|im_end|>\n"
    ids = llm.tokenizer.encode(prompt, parse_special=True)
    assert ids != llm.tokenizer.encode(prompt)
    np.testing.assert_array_equal(llm.logits(prompt), llm.logits(ids))


def test_a_model_without_a_tokenizer_speaks_in_ids(llm, wordless_path):
    params = nybble.SamplingParams(max_tokens=20, temperature=1.0, seed=3)
    with nybble.LLM(wordless_path, executor="reference", n_batch=8) as wordless:
        assert wordless.tokenizer is None
        np.testing.assert_array_equal(wordless.logits([70, 71]), llm.logits([70, 71]))
        out = wordless.generate([70, 71], params)
        assert out.text == "" and out.token_ids == llm.generate([70, 71], params).token_ids
        stream = wordless.stream([70, 71], params)
        assert [(next(stream), len(stream.token_ids)) for _ in range(3)] == [("", 1), ("", 2), ("", 3)]
        assert list(stream) == [""] * (len(out.token_ids) - 3) and stream.token_ids == out.token_ids
        with pytest.raises(RequestError, match=r"wordless\.gguf has no tokenizer: a prompt must be a list"):
            wordless.generate("text")
        with pytest.raises(RequestError, match="no text, so `stop` and `echo`"):
            wordless.generate([70], nybble.SamplingParams(stop=["x"]))


def test_a_model_without_a_tokenizer_ends_where_its_file_says(llm, wordless_path, caplog):
    ends = llm.logits([70, 71])[-1].argmax()
    file = GGUFForge.parse(wordless_path.read_bytes()).set("tokenizer.ggml.eos_token_id", int(ends))
    wordless_path.with_name("ends.gguf").write_bytes(file.build())
    with nybble.LLM(wordless_path.with_name("ends.gguf"), executor="reference") as wordless:
        out = wordless.generate([70, 71])
    assert (out.token_ids, out.finish_reason) == ([], "stop")
    file.set("tokenizer.ggml.eos_token_id", 10**6)
    wordless_path.with_name("ends.gguf").write_bytes(file.build())
    with nybble.LLM(wordless_path.with_name("ends.gguf"), executor="reference") as wordless:
        out = wordless.generate([70, 71], nybble.SamplingParams(max_tokens=1))
    assert out.token_ids == [ends]
    assert "tokenizer.ggml.eos_token_id is 1000000, but" in caplog.text


def test_the_command_asks_for_ids(wordless_path, capsys):
    assert main(["run", str(wordless_path), "the", "--executor", "reference"]) == 1
    assert "has no tokenizer: a prompt must be a list of token ids" in capsys.readouterr().err
    assert main(["tokenize", str(wordless_path), "the"]) == 1
    assert "the file has no tokenizer" in capsys.readouterr().err


def test_threads_share_one_model(llm):
    prompts = [f"number {i} and the other" for i in range(8)]
    params = nybble.SamplingParams(max_tokens=12)
    alone = [llm.generate(prompt, params).token_ids for prompt in prompts]
    together = {}

    def work(prompt):
        together[prompt] = llm.generate(prompt, params).token_ids

    threads = [threading.Thread(target=work, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    assert [together[prompt] for prompt in prompts] == alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_ctx": 0}, "n_ctx must be an integer from 1 to"),
        ({"n_ctx": 1.5}, "n_ctx must be"),
        ({"n_ctx": True}, "n_ctx must be"),
        ({"n_threads": 0}, "n_threads must be an integer from 1 to 256"),
        ({"n_threads": "2"}, "n_threads must be"),
        ({"n_batch": 0}, "n_batch must be"),
        ({"n_batch": None}, "n_batch must be"),
        ({"executor": "cuda"}, '"numba" or "reference", not \'cuda\''),
    ],
)
def test_arguments_out_of_range(tiny_path, arguments, message):
    with pytest.raises(RequestError, match=message):
        nybble.LLM(tiny_path, **arguments)


def test_a_prompt_longer_than_the_context_names_both(tiny_path):
    with nybble.LLM(tiny_path, executor="reference", n_ctx=4) as llm:
        with pytest.raises(RequestError, match=r"5 tokens.*n_ctx=4"):
            llm.generate([1, 2, 3, 4, 5])
        assert len(llm.generate([70, 71, 72, 73]).token_ids) <= 1


def test_a_missing_file_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        nybble.LLM(tmp_path / "missing.gguf")


def test_a_file_that_changes_under_us_is_noticed(tmp_path):
    path = tiny_model.write(tmp_path / "tiny.gguf")
    with nybble.LLM(path, executor="reference") as llm:
        llm.generate([70], nybble.SamplingParams(max_tokens=1))
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size - 4096)
        with pytest.raises(ModelError, match="changed"):
            llm.generate([70])


def test_weights_that_are_not_numbers_are_noticed_at_the_first_logits(tmp_path, monkeypatch):
    add_tensor = tiny_model._add_tensor

    def poisoned(writer, name, shape, spread, *rest):
        add_tensor(writer, name, shape, np.nan if name == "output_norm.weight" else spread, *rest)

    monkeypatch.setattr(tiny_model, "_add_tensor", poisoned)
    with nybble.LLM(tiny_model.write(tmp_path / "nan.gguf"), executor="reference") as llm:
        with pytest.raises(ModelError, match="produced NaN or infinite logits at position 2"):
            llm.generate([70, 71, 72])
        with pytest.raises(ModelError, match="position 0"):
            llm.logits([70, 71, 72])


def test_a_closed_llm_says_so(tiny_path):
    llm = nybble.LLM(tiny_path, executor="reference")
    stream = llm.stream([70])
    llm.close()
    llm.close()
    for work in (lambda: llm.generate([70]), lambda: llm.logits([70]), lambda: next(stream)):
        with pytest.raises(NybbleError, match="closed"):
            work()
