"""What comes from another process is what an `LLM` here gives, to the token."""

import dataclasses
import pickle

import numpy as np
import pytest
from added_number import AddedNumber
from served import HI, TOOLS

from nybble import ContextLengthError, RequestError, SamplingParams
from nybble.engine.backend import Backend
from nybble.engine.grammar.grammar import Grammar

PROMPT = "the of and to you I is on it"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
FIELDS = {
    "max_tokens": 7,
    "min_tokens": 3,
    "temperature": 0.8,
    "dynatemp_range": 0.2,
    "dynatemp_exponent": 1.5,
    "top_k": 20,
    "top_p": 0.9,
    "min_p": 0.01,
    "typical_p": 0.95,
    "top_n_sigma": 3.0,
    "xtc_probability": 0.3,
    "xtc_threshold": 0.05,
    "min_keep": 2,
    "repeat_penalty": 1.2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repeat_last_n": 32,
    "dry_multiplier": 0.8,
    "dry_base": 1.5,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 50,
    "dry_sequence_breakers": ["\n", "the"],
    "mirostat": 2,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.2,
    "adaptive_target": 0.5,
    "adaptive_decay": 0.8,
    "logit_bias": {5: 2.0, 6: -1.5},
    "samplers": ("top_k", "temperature"),
    "seed": 2**63 + 5,
    "stop": ["of the", "you"],
    "stop_token_ids": [3, 9],
    "ignore_eos": True,
    "json_schema": SCHEMA,
    "json_object": True,
    "grammar": 'root ::= "a" | "b"',
    "regex": "[a-c]{2,5}",
    "choice": ["the", "of"],
    "repetition_detection": 16,
    "logprobs": 3,
    "prompt_logprobs": 2,
    "echo": True,
    "n": 3,
    "n_draft": 0,
    "cache_prompt": False,
    "cache_salt": "salt",
    "skip_special_tokens": False,
}
"""A value for each field that is not its default."""


def params_with(name):
    others = {"seed": 3, "temperature": 0.9, "max_tokens": 24}
    if name == "adaptive_decay":
        others["adaptive_target"] = 0.5
    if name.startswith("dry_") and name != "dry_multiplier":
        others["dry_multiplier"] = 0.8
    if name.startswith("mirostat_"):
        others["mirostat"] = 2
    return SamplingParams(**{**others, name: FIELDS[name]})


def plain(output):
    """All of an output but the times."""
    return [
        (each.text, each.token_ids, each.finish_reason, each.seed, each.logprobs, each.prompt_logprobs)
        for each in output.choices
    ]


def test_the_table_has_every_field():
    assert set(FIELDS) == {field.name for field in dataclasses.fields(SamplingParams)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_text_is_the_same_with_each_parameter(engine, llm, name):
    params = params_with(name)
    assert pickle.loads(pickle.dumps(params)) == params
    assert getattr(params, name) != getattr(SamplingParams(), name)
    assert plain(engine.generate(PROMPT, params)) == plain(llm.generate(PROMPT, params))


def test_pieces_have_the_tokens_and_logprobs_that_they_have_here(engine, llm):
    params = SamplingParams(max_tokens=40, temperature=1, seed=5, logprobs=1, stop=["zzz", "you"])
    theirs, ours = (
        [(str(p), p.token_ids, p.logprobs) for p in each.stream(PROMPT, params)] for each in (engine, llm)
    )
    assert theirs == ours


def test_a_random_seed_is_said_and_gives_the_text_again(engine):
    first = engine.generate(PROMPT, SamplingParams(max_tokens=20, temperature=2))
    again = engine.generate(PROMPT, SamplingParams(max_tokens=20, temperature=2, seed=first.seed))
    assert plain(first) == plain(again)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tools": TOOLS},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tools": TOOLS, "tool_choice": "none"},
    ],
    ids=["plain", "auto", "required", "named", "none"],
)
def test_answers_are_the_same(engine, llm, options):
    params = SamplingParams(max_tokens=60, temperature=0.7, seed=11, n=2, logprobs=0)
    theirs, ours = (each.chat(HI, params, **options) for each in (engine, llm))
    for one, other in zip(theirs.choices, ours.choices, strict=True):
        assert one.finish_reason == other.finish_reason and one.token_ids == other.token_ids
        assert one.message.content == other.message.content and one.logprobs == other.logprobs
        calls = [[call.function for call in each.message.tool_calls] for each in (one, other)]
        assert calls[0] == calls[1]
    deltas = [delta.content for delta in engine.chat_stream(HI, dataclasses.replace(params, n=1), **options)]
    assert "".join(deltas) == (ours.message.content or "")


def test_lists_of_prompts_and_of_conversations(engine, llm):
    params = SamplingParams(max_tokens=5, seed=1)
    prompts = [PROMPT[:n] for n in range(3, 20)]
    assert [plain(out) for out in engine.generate(prompts, params)] == [
        plain(out) for out in llm.generate(prompts, params)
    ]
    assert [out.message for out in engine.chat([HI, HI], params)] == [
        out.message for out in llm.chat([HI, HI], params)
    ]


def test_vectors_and_facts(engine, llm):
    texts = ["the of", [5, 6, 7]]
    assert np.array_equal(engine.embed(texts, pooling="mean"), llm.embed(texts, pooling="mean"))
    assert engine.fingerprint() == llm.fingerprint() and engine.info == llm.info
    assert engine.n_ctx == llm.n_ctx and engine.default_sampling_params() == llm.default_sampling_params()
    assert isinstance(engine, Backend)
    assert engine.render(HI).token_ids == llm.render(HI).token_ids


def test_what_is_wrong_is_refused_before_anything_runs(engine, llm):
    for ask in (
        lambda each: each.generate(""),
        lambda each: each.generate([10**6]),
        lambda each: each.generate(PROMPT, SamplingParams(logit_bias={10**6: 1.0})),
        lambda each: each.generate(PROMPT, SamplingParams(n_draft=3)),
        lambda each: each.generate(PROMPT, SamplingParams(grammar="root ::= (")),
        lambda each: each.chat([{"role": "user"}]),
        lambda each: each.embed(["the"], pooling="none of these"),
        lambda each: each.rerank("the", ["of"]),
    ):
        messages = []
        for backend in (engine, llm):
            with pytest.raises(RequestError) as caught:
                ask(backend)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    with pytest.raises(ContextLengthError):
        engine.generate([5] * 1025)


def test_functions_cannot_go_to_another_process(engine):
    def first(logits, ids):
        return logits

    with pytest.raises(RequestError, match="`samplers` has a function"):
        engine.generate(PROMPT, SamplingParams(samplers=[first]))
    with pytest.raises(RequestError, match="`edit` has a function"):
        engine.generate(PROMPT, edit={"resid_post": lambda values, info: values})
    with pytest.raises(RequestError, match="`on_token` has a function"):
        engine.generate(PROMPT, on_token=print)
    with pytest.raises(RequestError, match="cannot be saved"):
        engine.submit(PROMPT, SamplingParams(max_tokens=2)).save("never.state")


def test_a_grammar_is_checked_text_before_it_is_sent(engine):
    grammar = Grammar.regex("[a-c]{3}")
    assert pickle.loads(pickle.dumps(grammar)) == grammar
    assert len(engine.generate(PROMPT, SamplingParams(regex="[a-c]{3}", max_tokens=20)).text) == 3


def test_timeouts_and_closing(opened):
    engine = opened()
    request = engine.submit(PROMPT, SamplingParams(max_tokens=900, ignore_eos=True))
    with pytest.raises(TimeoutError):
        request.result(0.0)
    engine.close()
    with pytest.raises(Exception, match="has been closed"):
        request.result(20)
    with pytest.raises(Exception, match="has been closed"):
        engine.generate(PROMPT)
    engine.close()
    assert engine.status.state == "closed" and engine.status.pid is None


def test_edits_that_are_data_go_along(engine, llm):
    params = SamplingParams(max_tokens=20, temperature=1, seed=3)
    name = next(name for name in llm.activations if "resid" in name)
    edit = {name: AddedNumber(0.5)}
    theirs, ours = (each.submit(PROMPT, params, edit=edit).result() for each in (engine, llm))
    assert plain(theirs) == plain(ours) and theirs.token_ids != llm.generate(PROMPT, params).token_ids
    with pytest.raises(RequestError, match="no activation"):
        engine.submit(PROMPT, params, edit={"no.such": AddedNumber(1)})
