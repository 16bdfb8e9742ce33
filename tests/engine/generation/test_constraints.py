"""Constraints on generated texts: streams, lists, alternatives, drafts, edits, and what fails alone."""

import asyncio
import json
import re

import jsonschema
import numpy as np
import pytest
import tiny_model

import nybble
from nybble import RequestError, SamplingParams
from nybble.engine.grammar.grammar import Grammar

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "tags": {"type": "array", "items": {"enum": ["a", "bc", None]}, "maxItems": 3},
        "n": {"type": "integer", "minimum": -50, "maximum": 50},
    },
    "required": ["name", "tags", "n"],
    "additionalProperties": False,
}
WARM = {"temperature": 1.5, "max_tokens": 300}
KINDS = {
    "json_schema": (SCHEMA, lambda text: jsonschema.validate(json.loads(text), SCHEMA)),
    "regex": ("[a-f]{3}(-[0-9]{2}){2}", lambda text: re.fullmatch("[a-f]{3}(-[0-9]{2}){2}", text)[0]),
    "choice": (["the", "then", "other"], lambda text: {"the": 1, "then": 1, "other": 1}[text]),
    "grammar": ('root ::= [a-c] "=" [0-9] ";"', lambda text: re.fullmatch("[a-c]=[0-9];", text)[0]),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model.write(
        tmp_path_factory.mktemp("constraints") / "m.gguf", weight_format="Q8_0", n_ctx=512
    )


@pytest.fixture(scope="module")
def llm(path):
    with nybble.LLM(path, n_threads=2, n_seq_max=3) as llm:
        yield llm


def params(kind: str, **others: object) -> SamplingParams:
    return SamplingParams(**WARM | {kind: KINDS[kind][0]} | others)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(llm, kind):
    for seed in range(4):
        output = llm.generate("the", params(kind, seed=seed))
        assert output.finish_reason == "stop"
        KINDS[kind][1](output.text)


def test_the_reference_executor(path):
    with nybble.LLM(path, executor="reference") as llm:
        KINDS["regex"][1](llm.generate("the", params("regex", seed=1)).text)


def test_a_json_object(llm):
    closed = 0
    for seed in range(8):
        output = llm.generate(
            "the", SamplingParams(json_object=True, max_tokens=200, temperature=2.0, seed=seed)
        )
        assert output.text.startswith("{")
        if output.finish_reason == "stop":
            assert isinstance(json.loads(output.text), dict)
            closed += 1
    assert closed


def test_lists_alternatives_and_company_change_nothing(llm):
    all_params = [params(kind, seed=5) for kind in KINDS] + [SamplingParams(max_tokens=9)]
    alone = [llm.generate("the", own).token_ids for own in all_params]
    assert [output.token_ids for output in llm.generate(["the"] * 5, all_params)] == alone
    several = llm.generate("the", params("regex", seed=5, n=3))
    assert several.choices[0].token_ids == alone[1]
    for choice in several.choices:
        KINDS["regex"][1](choice.text)


def test_streams_and_requests(llm):
    own = params("json_schema", seed=2)
    expected = llm.generate("the", own).text
    assert "".join(llm.stream("the", own)) == expected
    assert llm.submit("the", own).result(60).text == expected

    async def pieces() -> str:
        return "".join([piece async for piece in llm.stream("the", own)])

    assert asyncio.run(pieces()) == expected


def test_drafts_change_nothing(path, llm):
    with nybble.LLM(path, n_threads=2, draft="ngram") as drafting:
        for kind in KINDS:
            for seed in range(3):
                own = params(kind, seed=seed, temperature=0.7)
                assert (
                    drafting.generate("the the the", own).token_ids
                    == llm.generate("the the the", own).token_ids
                )


def test_edits(llm):
    edit = {"blocks.0.resid_post": lambda x, info: x + np.float32(0.1)}
    name = next(name for name in llm.activations if "0" in name)
    output = llm.generate("the", params("regex", seed=1), edit={name: edit["blocks.0.resid_post"]})
    KINDS["regex"][1](output.text)


def test_logprobs_are_those_of_the_model(llm):
    free = llm.generate("the", SamplingParams(max_tokens=1, logprobs=5))
    bound = llm.generate("the", SamplingParams(max_tokens=1, logprobs=5, regex="[0-9]"))
    assert bound.logprobs[0].top_logprobs == free.logprobs[0].top_logprobs


def test_a_text_that_is_cut_short(llm):
    output = llm.generate("the", SamplingParams(regex="[a-z]{200}", max_tokens=5))
    assert output.finish_reason == "length"


def test_ends_do_not_come_before_the_text_is_complete(llm):
    (end, *_) = llm.tokenizer.eog_ids
    output = llm.generate("the", SamplingParams(regex="[a-z]{30,}", logit_bias={end: 100.0}, max_tokens=200))
    assert output.finish_reason == "stop"
    assert len(output.text) >= 30


def test_the_end_of_the_text_ends_it_whatever_else_is_asked(llm):
    for others in ({"ignore_eos": True}, {"min_tokens": 50}):
        output = llm.generate("the", SamplingParams(choice=["other"], **others))
        assert (output.text, output.finish_reason) == ("other", "stop")


def test_where_nothing_is_allowed_that_request_fails_alone(llm):
    ids = {llm.tokenizer.encode(letter, False)[0]: -float("inf") for letter in "ab"}
    wrong = SamplingParams(choice=["a", "b"], logit_bias=ids)
    with pytest.raises(RequestError, match=r"no token is left .* by choice, logit_bias"):
        llm.generate("the", wrong)
    good, bad = llm.generate(["the", "the"], [params("regex", seed=5), wrong])
    assert good.token_ids == llm.generate("the", params("regex", seed=5)).token_ids
    assert isinstance(bad.error, RequestError)
    assert bad.finish_reason == "error"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regex": "("}, "`regex`: unclosed group"),
        ({"grammar": "start: foo"}, '`grammar`: at 1.* unknown name: "foo"'),
        (
            {"json_schema": {"oneOf": [{"type": "integer"}, {"type": "number"}]}},
            '`json_schema`: at # .*"oneOf"',
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(llm, wrong, message):
    with pytest.raises(RequestError, match=message):
        llm.generate(["the", "the"], [SamplingParams(), SamplingParams(**wrong)])
    with pytest.raises(RequestError, match=message):
        llm.stream("the", SamplingParams(**wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regex": "a", "choice": ["a"]}, "`regex` and `choice` both"),
        ({"json_schema": {}, "json_object": True}, "`json_schema` and `json_object` both"),
        ({"json_schema": False}, "the schema is false"),
        ({"json_schema": {"not": {}}}, '"not" at #/not'),
        ({"json_object": 1}, "json_object must be"),
        ({"regex": 7}, "regex must be a text"),
        ({"grammar": b"x"}, "grammar must be a text"),
        ({"choice": "ab"}, "choice must be a list"),
        ({"choice": []}, "choice must be a list"),
        ({"choice": ["a", 7]}, "choice must be a list"),
        ({"choice": ["\ud800"]}, "lone surrogate"),
    ],
)
def test_parameters_are_checked_when_they_are_made(wrong, message):
    with pytest.raises(RequestError, match=message):
        SamplingParams(**wrong)


def test_what_is_to_be_followed():
    assert SamplingParams().constraint is None
    assert SamplingParams(json_object=True).constraint == Grammar.json_object()
    made = Grammar.lark('start: "a"')
    assert SamplingParams(grammar=made).constraint is made
    assert hash(SamplingParams(json_schema={})) == hash(SamplingParams(json_schema={}))


def test_a_real_model(smollm2_path):
    with nybble.LLM(smollm2_path) as llm:
        prompt = llm.render([{"role": "user", "content": "Which person do you like? Answer in JSON."}])
        output = llm.generate(prompt.token_ids, SamplingParams(json_schema=SCHEMA, max_tokens=100))
        KINDS["json_schema"][1](output.text)
