"""What comes with a text: log-probabilities, echo, ends, callbacks; and samplers of all kinds in company."""

import dataclasses

import numpy as np
import pytest
import tiny_model

import nybble
from nybble import RequestError, SamplingParams
from nybble.engine.generation.repetition import RepetitionDetector

PROMPT = "the other hand is in here and"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("job") / "m.gguf", weight_format="Q8_0", n_ctx=512)


@pytest.fixture(scope="module")
def llm(path):
    with nybble.LLM(path, n_threads=1, n_seq_max=4, n_pool_tokens=2048, n_batch=4) as llm:
        yield llm


def log_softmax(rows):
    z = rows.astype(np.float64)
    return (
        z
        - np.log(np.exp(z - z.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True))
        - z.max(axis=-1, keepdims=True)
    )


def check_entry(entry, row, token_id, n_top, tokenizer):
    expected = log_softmax(row)
    assert entry.token_id == token_id and entry.logprob == pytest.approx(expected[token_id], abs=1e-9)
    assert bytes(entry.bytes) == tokenizer.token_bytes(token_id, skip_special_tokens=False)
    assert entry.token == bytes(entry.bytes).decode(errors="replace")
    best = np.argsort(-row, kind="stable")[:n_top]
    assert [top.token_id for top in entry.top_logprobs] == best.tolist()
    np.testing.assert_allclose([top.logprob for top in entry.top_logprobs], expected[best], atol=1e-9)


@pytest.mark.parametrize("n_top", [0, 1, 20])
def test_log_probabilities_are_those_of_the_raw_logits(llm, n_top):
    """Whatever was banned, biased or sampled."""
    params = SamplingParams(
        max_tokens=9, temperature=2.0, top_k=50, seed=1, logit_bias={70: 3.0}, logprobs=n_top, ignore_eos=True
    )
    out = llm.generate(PROMPT, params)
    ids = llm.prompt_ids(PROMPT).tolist()
    rows = llm.logits([*ids, *out.token_ids])[len(ids) - 1 :]
    assert len(out.logprobs) == len(out.token_ids) == 9
    for entry, row, token_id in zip(out.logprobs, rows, out.token_ids, strict=False):
        check_entry(entry, row, token_id, n_top, llm.tokenizer)
    assert out.prompt_logprobs is None
    plain = llm.generate(PROMPT, dataclasses.replace(params, logprobs=None))
    assert plain.logprobs is None and plain.token_ids == out.token_ids


def test_log_probabilities_of_the_prompt_run_all_of_it(llm):
    llm.generate(PROMPT)  # leaves what is computed of it
    out = llm.generate(PROMPT, SamplingParams(max_tokens=2, prompt_logprobs=3, n=2, seed=1))
    ids = llm.prompt_ids(PROMPT).tolist()
    rows = llm.logits(ids)
    assert out.prompt_logprobs[0] is None and len(out.prompt_logprobs) == len(ids)
    assert out.n_cached_tokens == 0 and out.alternatives[0].prompt_logprobs is None
    for entry, row, token_id in zip(out.prompt_logprobs[1:], rows, ids[1:], strict=False):
        check_entry(entry, row, token_id, 3, llm.tokenizer)


def test_the_prompt_that_runs_again_gives_no_log_probabilities_again(llm):
    """A text that has lost its seat runs from the beginning."""
    stream = llm.stream(PROMPT, SamplingParams(max_tokens=9, prompt_logprobs=0, ignore_eos=True))
    job, n = stream._job, stream.n_prompt_tokens
    assert job.wanted(0, n).tolist() == list(range(n)) and job.n_at_once(2**23) == 2
    next(stream)
    assert len(job.wanted(0, n)) == 0 and job.n_at_once(2**23) is None
    assert job.wanted(n, len(job.ids)).tolist() == [len(job.ids) - 1]


def test_echo_begins_with_the_prompt(llm):
    out = llm.generate(PROMPT, SamplingParams(max_tokens=5))
    echoed = llm.generate(PROMPT, SamplingParams(max_tokens=5, echo=True))
    assert echoed.text == PROMPT + out.text and echoed.token_ids == out.token_ids
    pieces = list(llm.stream(PROMPT, SamplingParams(max_tokens=5, echo=True)))
    assert pieces[0] == PROMPT and pieces[0].token_ids == [] and "".join(pieces) == echoed.text


def test_pieces_and_callbacks_carry_ids_and_log_probabilities(llm):
    params = SamplingParams(max_tokens=12, temperature=1.0, seed=3, logprobs=1, stop=["zzz"])
    told = []
    out = llm.generate(PROMPT, params, on_token=told.append)
    pieces = list(llm.stream(PROMPT, params))
    for each in (told, pieces):
        assert "".join(each) == out.text
        assert [id_ for piece in each for id_ in piece.token_ids] == out.token_ids
        assert [entry for piece in each for entry in piece.logprobs] == out.logprobs
    assert [len(piece.token_ids) for piece in told] == [1] * 12 and all(pieces)
    assert llm.generate(PROMPT, SamplingParams(max_tokens=1), on_token=told.append).text == told[-1]
    assert told[-1].logprobs is None


def test_what_a_callback_raises_fails_its_own_text_alone(llm):
    def fail(piece):
        if len(told) == 2:
            raise LookupError("mine")
        told.append(piece)

    told = []
    few = SamplingParams(max_tokens=5)
    alone = llm.generate(PROMPT, few)
    first, failed = llm.generate([PROMPT, "the"], few, on_token=[None, fail])
    assert first.text == alone.text and first.finish_reason == "length"
    assert isinstance(failed.error, LookupError) and failed.finish_reason == "error"
    told = []
    with pytest.raises(LookupError, match="mine"):
        llm.generate(PROMPT, few, on_token=fail)
    with pytest.raises(RequestError, match="several texts"):
        llm.generate(PROMPT, SamplingParams(n=2), on_token=fail)
    with pytest.raises(RequestError, match="on_token must be a function"):
        llm.generate(PROMPT, few, on_token="print")


def test_stop_ids_end_the_text_before_them(llm):
    out = llm.generate(PROMPT, SamplingParams(max_tokens=20))
    stop = out.token_ids[7]
    n = out.token_ids.index(stop)
    stopped = llm.generate(PROMPT, SamplingParams(max_tokens=20, stop_token_ids=[stop]))
    assert stopped.token_ids == out.token_ids[:n] and stopped.finish_reason == "stop"
    assert out.text.startswith(stopped.text)


def test_nothing_ends_a_text_before_min_tokens(llm):
    eog = next(iter(llm.tokenizer.eog_ids))
    params = {"max_tokens": 9, "logit_bias": {eog: 100.0}}
    ended = llm.generate(PROMPT, SamplingParams(**params))
    assert ended.token_ids == [] and ended.finish_reason == "stop"
    later = llm.generate(PROMPT, SamplingParams(**params, min_tokens=4))
    assert len(later.token_ids) == 4 and later.finish_reason == "stop"
    never = llm.generate(PROMPT, SamplingParams(**params, ignore_eos=True))
    assert len(never.token_ids) == 9 and never.finish_reason == "length"
    plain = llm.generate(PROMPT, SamplingParams(max_tokens=9, ignore_eos=True))
    stop = plain.text[0]
    params = SamplingParams(max_tokens=9, ignore_eos=True, stop=[stop], min_tokens=9)
    assert llm.generate(PROMPT, params).token_ids == plain.token_ids


def test_a_text_that_loops_ends(llm):
    params = SamplingParams(max_tokens=200, logit_bias={75: 100.0}, repetition_detection=16)
    out = llm.generate(PROMPT, params)
    assert out.finish_reason == "repetition" and out.token_ids == [75] * 16


@pytest.mark.parametrize(("pattern", "n"), [([1], 8), ([1, 2], 8), ([1, 1, 2, 1], 16), (list(range(16)), 64)])
def test_repetitions_are_found_when_the_last_tokens_are_one_pattern(pattern, n):
    detector = RepetitionDetector(n)
    tokens = [7, 8, 9, *(pattern * 20)]
    found = [detector.push(id_) for id_ in tokens].index(True)
    period = len(pattern)
    assert found + 1 == 3 + n and tokens[3 : found + 1 - period] == tokens[3 + period : found + 1]
    assert not any(map(RepetitionDetector(n).push, range(500)))
    longer = list(range(n // 4 + 1)) * 50  # a pattern that is too long
    assert not any(map(RepetitionDetector(n).push, longer))


KINDS = {
    "penalties": {"repeat_penalty": 1.3, "frequency_penalty": 0.2},
    "dry": {"dry_multiplier": 0.8, "dry_allowed_length": 1},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.05},
    "mirostat": {"mirostat": 1, "mirostat_tau": 3.0},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 3.0},
    "adaptive-p": {"min_p": 0.01, "adaptive_target": 0.3},
    "typical": {"typical_p": 0.7, "dynatemp_range": 0.4},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_depends_on_neither_company_nor_drafts_nor_batches(llm, path, kind):
    params = [SamplingParams(max_tokens=24, temperature=0.9, seed=s, n=2, **KINDS[kind]) for s in (1, 2, 3)]
    alone = [[each.token_ids for each in llm.generate(PROMPT, own).choices] for own in params]
    together = [[each.token_ids for each in out.choices] for out in llm.generate([PROMPT] * 3, params)]
    assert together == alone and len({tuple(ids) for texts in alone for ids in texts}) > 3
    with nybble.LLM(path, draft="ngram") as drafting:
        drafted = [[each.token_ids for each in drafting.generate(PROMPT, own).choices] for own in params]
    assert drafted == alone


def test_the_seed_that_was_drawn_gives_the_text_again(llm):
    out = llm.generate(PROMPT, SamplingParams(max_tokens=12, temperature=1.0))
    again = llm.generate(PROMPT, SamplingParams(max_tokens=12, temperature=1.0, seed=out.seed))
    assert again.token_ids == out.token_ids and again.seed == out.seed
    assert llm.generate(PROMPT, SamplingParams(max_tokens=1, seed=5)).seed == 5


class Forbidding:
    """A sampler with a state: no token comes twice."""

    def __init__(self):
        self.seen = []

    def __call__(self, logits, ids):
        self.seen += ids[len(self.seen) :]
        logits[self.seen] = -np.inf


def test_a_sampler_of_ones_own_has_a_state_for_each_text(llm):
    sampler = Forbidding()
    params = SamplingParams(max_tokens=30, samplers=[sampler, "temperature"], ignore_eos=True)
    outs = llm.generate(["the", "in", "hand"], params)
    assert all(len(set(out.token_ids)) == 30 for out in outs) and sampler.seen == []
    assert [out.token_ids for out in outs] == [
        llm.generate(p, params).token_ids for p in ("the", "in", "hand")
    ]


def choose_five(logits, ids):
    return 75


def test_a_sampler_of_ones_own_may_choose(llm):
    out = llm.generate(PROMPT, SamplingParams(max_tokens=3, samplers=[choose_five]))
    assert out.token_ids == [75] * 3


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (lambda logits, ids: logits.keep(logits.values > 1e9), r"samplers\[0\] has banned the rest"),
        (lambda logits, ids: logits.values.fill(-np.inf), r"samplers\[0\] has banned the rest"),
        (lambda logits, ids: logits.values.fill(np.nan), r"samplers\[0\] has made logits NaN"),
        (lambda logits, ids: 10**6, r"samplers\[0\] must give None, or the id"),
        (lambda logits, ids: "x", r"samplers\[0\] must give None, or the id"),
        (
            lambda logits, ids: setattr(logits, "values", logits.values[:3]),
            "must be those of the 283 candidates, not of shape",
        ),
    ],
)
def test_a_sampler_that_leaves_nothing_fails_its_own_text_alone(llm, sampler, message):
    few = SamplingParams(max_tokens=3)
    good, bad = llm.generate([PROMPT] * 2, [few, SamplingParams(max_tokens=3, samplers=[sampler])])
    assert good.token_ids == llm.generate(PROMPT, few).token_ids
    with pytest.raises(RequestError, match=message):
        raise bad.error


def test_all_banned_is_an_error_that_says_by_what(llm):
    n_vocab = llm.config.n_vocab
    params = SamplingParams(logit_bias=dict.fromkeys(range(n_vocab), float("-inf")), temperature=1.0, top_k=5)
    for own in (params, dataclasses.replace(params, temperature=0.0, top_k=0)):
        with pytest.raises(RequestError, match=r"no token is left that may come next: .* logit_bias"):
            llm.generate(PROMPT, own)
    shifted = SamplingParams(logit_bias=dict.fromkeys(range(n_vocab), -100), max_tokens=5)
    assert (
        llm.generate(PROMPT, shifted).token_ids
        == llm.generate(PROMPT, SamplingParams(max_tokens=5)).token_ids
    )


@pytest.mark.parametrize("name", ["logit_bias", "stop_token_ids"])
def test_ids_outside_the_vocabulary_are_refused(llm, name):
    value = {10**6: 1.0} if name == "logit_bias" else [10**6]
    with pytest.raises(RequestError, match=f"{name} must have ids of tokens, 0 to {llm.config.n_vocab - 1}"):
        llm.stream(PROMPT, SamplingParams(**{name: value}))
