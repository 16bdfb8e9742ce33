"""Receipts: what they hold, and texts that are made again from them."""

import dataclasses
import hashlib
import json
import pickle

import numpy as np
import pytest

import nybble
from nybble import Receipt, RequestError, SamplingParams, sampling
from nybble.engine.steering.control_vector import ControlVector
from nybble.testing import MockBackend, tiny_model

PROMPT = "the other is"
HI = [{"role": "user", "content": "Hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}},
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2) as llm:
        yield llm


def sealed(receipt, **changes):
    """A receipt with other fields, and the checksum that belongs to them."""
    facts = {**receipt.as_dict(), **changes}
    facts.pop("checksum")
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return Receipt.from_dict({**facts, "checksum": hashlib.sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 1.0},
        {"temperature": 0.9, "top_p": 0.9, "seed": 5, "n": 3},
        {"temperature": 1.0, "stop": ["e"], "stop_token_ids": [9], "min_tokens": 3},
        {"logit_bias": {5: -np.inf, 7: np.float32(2.5)}, "ignore_eos": True},
        {"temperature": 1.0, "samplers": ["min_p", "temperature"], "min_p": 0.01},
        {"temperature": 1.0, "mirostat": 2},
        {"dry_multiplier": 0.8, "dry_sequence_breakers": ["\n"], "repeat_penalty": 1.1},
        {"repetition_detection": 8, "ignore_eos": True},
        {"choice": ["of the you", "Hi"]},
        {"json_schema": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}}},
        {"json_object": True},
        {"regex": "[a-c]{4,9}"},
        {"grammar": 'root ::= "the " [a-z]+'},
        {"grammar": 'start: "the " /[a-z]+/'},
        {"logprobs": 2, "prompt_logprobs": 1, "echo": True, "cache_salt": "secret", "cache_prompt": False},
    ],
    ids=lambda params: " ".join(params) or "plain",
)
def test_a_text_is_made_again_to_the_token(llm, params):
    out = llm.generate(PROMPT, SamplingParams(max_tokens=16, **params))
    for i, text in enumerate(out.choices):
        receipt = Receipt.from_json(text.receipt.to_json())
        assert receipt == pickle.loads(pickle.dumps(text)).receipt
        assert receipt.token_ids == text.token_ids and receipt.choice == i
        assert receipt.prompt_ids == llm.prompt_ids(PROMPT).tolist()
        assert receipt.params["seed"] == text.seed and "secret" not in receipt.to_json()
        found = llm.verify(receipt)
        assert found.is_same and found.n_same == len(text.token_ids) and not found.remarks


@pytest.mark.parametrize("options", [{}, {"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "required"}])
def test_so_is_an_answer(llm, options):
    out = llm.chat(HI, SamplingParams(max_tokens=30, temperature=1.0), **options)
    assert llm.verify(Receipt.from_json(out.receipt.to_json())).is_same
    assert "</tool_call>" in out.receipt.to_json() or not options


def test_a_receipt_says_what_determines_the_bits(llm):
    receipt = llm.generate(PROMPT, SamplingParams(max_tokens=3, temperature=0.5, top_k=4)).receipt
    data = llm.path.read_bytes()
    assert receipt.model_hash == hashlib.sha256(data).hexdigest() and receipt.model == llm.path.name
    assert (receipt.executor, receipt.cache_type, receipt.n_ctx) == ("numba", "f16", 512)
    assert receipt.params.keys() == {"max_tokens", "temperature", "top_k", "seed"}
    assert receipt.machine["numpy"] == np.__version__ and receipt.architecture == "llama"
    assert str(llm.path.parent) not in receipt.to_json()
    facts = json.loads(receipt.to_json())
    checksum = facts.pop("checksum")
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert checksum == hashlib.sha256(text.encode()).hexdigest()


def test_a_text_that_was_cancelled_is_compared_as_far_as_it_goes(llm):
    stream = llm.stream(PROMPT, SamplingParams(max_tokens=40, ignore_eos=True, min_tokens=20))
    next(stream)
    next(stream)
    stream.cancel()
    receipt = stream.output().receipt
    assert receipt.finish_reason == "cancelled" and 1 < len(receipt.token_ids) < 40
    assert llm.verify(receipt).is_same
    assert not llm.verify(sealed(receipt, token_ids=[7, *receipt.token_ids[1:]])).is_same


def test_drafts_and_company_are_not_in_it(llm):
    prompt = "of the you of the you of the you"
    receipt = llm.generate(prompt, SamplingParams(max_tokens=24, ignore_eos=True, seed=3)).receipt
    with nybble.LLM(llm.path, n_ctx=512, n_threads=1, draft="ngram", n_batch=16) as other:
        other.submit(PROMPT, SamplingParams(max_tokens=24, ignore_eos=True, seed=3))
        assert other.verify(receipt).is_same
        assert (
            other.generate(prompt, SamplingParams(max_tokens=24, ignore_eos=True, seed=3)).receipt == receipt
        )


def test_a_difference_is_told_to_the_token(llm):
    receipt = llm.generate(PROMPT, SamplingParams(max_tokens=8, ignore_eos=True)).receipt
    ids = list(receipt.token_ids)
    for changes, n_same, difference in [
        (
            {"token_ids": [*ids[:5], ids[5] ^ 1, *ids[6:]]},
            5,
            f"token 5 is {ids[5]} here, and {ids[5] ^ 1} in",
        ),
        ({"token_ids": [*ids, 7]}, 8, "ends here after 8 tokens, and has 9"),
        ({"token_ids": ids[:6]}, 6, "more tokens here than the 6"),
        ({"finish_reason": "stop"}, 8, "ends by 'length' here, and 'stop'"),
        ({"nybble": "9.9", "machine": {}, "finish_reason": "stop"}, 8, "ends by 'length'"),
    ]:
        found = llm.verify(sealed(receipt, **changes))
        assert not found.is_same and found.n_same == n_same and difference in found.difference
    assert any("nybble:" in remark for remark in found.remarks)
    assert any("kernels:" in remark and "not told" in remark for remark in found.remarks)
    assert not llm.verify(sealed(receipt, prompt_ids=[5, 6])).is_same


def test_steered_texts_need_their_vectors(llm):
    random = np.random.default_rng(0)
    vectors = [ControlVector({1: random.standard_normal(64).astype(np.float32)}) for _ in range(2)]
    params = SamplingParams(max_tokens=8, ignore_eos=True)
    out = llm.generate(PROMPT, params, edit=vectors[0].edits(64.0))
    receipt = Receipt.from_json(out.receipt.to_json())
    assert out.token_ids != llm.generate(PROMPT, params).token_ids
    assert llm.verify(receipt, vectors).is_same
    for given in ((), vectors[1:]):
        with pytest.raises(RequestError, match=r"steered at blk\.1\.resid_post by add 64\.0\*"):
            llm.verify(receipt, given)
    with pytest.raises(RequestError, match="steered at"):
        llm.verify(sealed(receipt, edits=[["blk.1.resid_post", "add x*y"]]), vectors)


def test_what_is_a_function_cannot_be_verified(llm):
    params = SamplingParams(max_tokens=4)
    edited = llm.generate(PROMPT, params, edit={"blk.1.resid_post": lambda value, info: value}).receipt
    sampled = llm.generate(
        PROMPT, SamplingParams(max_tokens=4, temperature=1.0, samplers=[sampling.TopK(3)])
    ).receipt
    for receipt, what in ((edited, "the edit of 'blk.1.resid_post'"), (sampled, "the sampler TopK")):
        with pytest.raises(RequestError, match=f"cannot be verified: {what} is a function"):
            llm.verify(Receipt.from_json(receipt.to_json()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_hash": "0" * 64}, "another model, tiny.gguf with the SHA-256 000"),
        ({"executor": "reference"}, "of the executor reference, and this is numba"),
        ({"cache_type": "q8_0"}, "keys and values in q8_0"),
        ({"n_ctx": 64}, "n_ctx=64"),
        ({"finish_reason": "error"}, "ended by 'error'"),
        ({"finish_reason": "bored"}, "ended by 'bored'"),
        ({"prompt_ids": []}, "the prompt is empty"),
        ({"prompt_ids": [10**9]}, "outside the vocabulary"),
        ({"prompt_ids": [5] * 600}, "600 tokens, but the context holds only"),
        ({"eog_ids": [10**9]}, "eog_ids must have ids"),
        ({"params": {"temperature": "hot"}}, "temperature must be a number"),
        ({"params": {"colour": 1}}, "must not have 'colour'"),
        ({"params": {"cache_salt": "x"}}, "must not have 'cache_salt'"),
        ({"params": {"logit_bias": {"x": 1}}}, "logit_bias must have token ids as keys"),
        ({"params": {"constraint": {"kind": "magic", "source": ""}}}, "no grammar of the kind 'magic'"),
        ({"params": {"constraint": ["regex"]}}, "must have a kind and a source"),
        (
            {"params": {"constraint": {"kind": "regex", "source": "a" * 70_000}}},
            "cannot be used: regex must have at",
        ),
        ({"params": {"constraint": {"kind": "choice", "source": "{"}}}, "cannot be used"),
        ({"params": {"samplers": ["shell"]}}, "samplers"),
        ({"choice": 5000}, "must be an integer from 1 to 1024"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_verified_here_says_why(llm, changes, message):
    receipt = llm.generate(PROMPT, SamplingParams(max_tokens=2)).receipt
    with pytest.raises(RequestError) as error:
        llm.verify(sealed(receipt, **changes))
    assert message in str(error.value)


def test_what_is_no_receipt_is_refused(llm, tmp_path):
    receipt = llm.generate(PROMPT, SamplingParams(max_tokens=2)).receipt
    facts = receipt.as_dict()
    for text, message in [
        ("", "must be JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "must be a JSON object"),
        ("[" * 100_000, "nested deeper"),
        ('{"format": 1, "format": 1}', "in an object twice"),
        ('{"format": NaN}', "no JSON"),
        (receipt.to_json() + "x", "something follows it"),
        (json.dumps({**facts, "format": 2}), "the format 2, and this version of nybble knows 1"),
        (json.dumps({**facts, "format": True}), "the format True"),
        (json.dumps({**facts, "colour": 1}), "'colour' is no field"),
        (json.dumps({k: v for k, v in facts.items() if k != "edits"}), "'edits' is missing"),
        (json.dumps({**facts, "token_ids": [1, 2]}), "has been changed since it was made"),
        (json.dumps({**facts, "token_ids": [1, -2]}), "token_ids must be a list of token ids"),
        (json.dumps({**facts, "token_ids": [True]}), "token_ids must be a list of token ids"),
        (json.dumps({**facts, "token_ids": {"0": 1}}), "token_ids must be a list of token ids"),
        (json.dumps({**facts, "prompt_ids": [2**31]}), "prompt_ids must be a list of token ids"),
        (json.dumps({**facts, "model": "x" * 5000}), "model must be a text"),
        (json.dumps({**facts, "n_ctx": 1.5}), "n_ctx must be an integer"),
        (json.dumps({**facts, "machine": {"numpy": 2}}), "machine must be an object of texts"),
        (json.dumps({**facts, "params": [1]}), "params must be an object"),
        (json.dumps({**facts, "edits": [["a"]]}), "edits must be a list of pairs"),
        (json.dumps({**facts, "obstacle": 1}), "obstacle must be a text, or null"),
    ]:
        with pytest.raises(RequestError) as error:
            Receipt.from_json(text)
        assert message in str(error.value), text[:80]
    path = tmp_path / "r.json"
    receipt.save(path)
    assert Receipt.load(path) == receipt
    path.write_bytes(b"\xff")
    with pytest.raises(RequestError, match="not UTF-8 at byte 0"):
        Receipt.load(path)


def test_texts_outlive_their_model():
    path, params = tiny_model(), SamplingParams(max_tokens=3)
    with nybble.LLM(path, n_ctx=64) as llm:
        never = llm.generate("the", params)
    with nybble.LLM(path, n_ctx=64) as llm:
        once, later = llm.generate("the", params), llm.generate("of", params)
        assert once.receipt is not None
    with pytest.raises(nybble.NybbleError, match=r"tiny\.gguf is closed; ask for a receipt while"):
        _ = never.receipt
    again = pickle.loads(pickle.dumps(never))
    assert again.text == never.text and again.receipt is None
    with nybble.LLM(path, n_ctx=64) as llm:
        assert (
            llm.verify(once.receipt).is_same and llm.verify(pickle.loads(pickle.dumps(later)).receipt).is_same
        )


def test_not_every_text_has_one(llm):
    assert MockBackend(["Hello!"]).generate("Hi").receipt is None

    def fails(value, info):
        raise ValueError("no")

    out = llm.generate([PROMPT, "of"], SamplingParams(max_tokens=2), edit=[None, {"output_norm": fails}])
    assert out[0].receipt is not None and out[1].receipt is None
    assert dataclasses.replace(out[0], alternatives=()).receipt == out[0].receipt
