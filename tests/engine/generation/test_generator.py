"""`LLM.generate` of lists and alternatives, and what is said of cached prompts and of options."""

import threading

import numpy as np
import pytest
import tiny_model
from accounts import require_free
from forge import GGUFForge

import nybble
from nybble import ModelError, RequestError, SamplingParams

PROMPTS = ["the other", [70, 71, 72], "and in here", np.array([80, 81]), "the"]
PARAMS = [
    SamplingParams(max_tokens=9),
    SamplingParams(max_tokens=3, temperature=1.0, seed=1),
    SamplingParams(max_tokens=1),
    SamplingParams(max_tokens=12, temperature=0.8, top_k=20, seed=2, cache_prompt=False),
    SamplingParams(max_tokens=6, stop=["e"]),
]
LONG = list(range(60, 190)) * 2


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    path = tiny_model.write(tmp_path_factory.mktemp("many") / "m.gguf", weight_format="Q8_0", n_ctx=512)
    with nybble.LLM(path, n_threads=2, n_seq_max=3, n_pool_tokens=1024) as llm:
        yield llm
        require_free(llm)


def facts(output):
    return output.text, output.token_ids, output.finish_reason


def test_a_list_gives_what_each_prompt_gives_alone(llm):
    alone = [facts(llm.generate(prompt, own)) for prompt, own in zip(PROMPTS, PARAMS, strict=True)]
    assert [facts(output) for output in llm.generate(PROMPTS, PARAMS)] == alone
    assert [facts(output) for output in llm.generate(PROMPTS[::-1], PARAMS[::-1])] == alone[::-1]


def test_one_set_of_params_for_all_or_none(llm):
    few = SamplingParams(max_tokens=4)
    alone = [facts(llm.generate(prompt, few)) for prompt in PROMPTS]
    assert [facts(output) for output in llm.generate(PROMPTS, few)] == alone
    assert facts(llm.generate(PROMPTS[:1])[0]) == facts(llm.generate(PROMPTS[0]))
    assert facts(llm.generate(PROMPTS[:1], [None])[0]) == facts(llm.generate(PROMPTS[0]))
    assert llm.generate([]) == llm.generate([], []) == []


@pytest.mark.parametrize(
    ("prompts", "params", "edit", "message"),
    [
        (
            ["a", "the"],
            [SamplingParams()],
            None,
            "there are 2 prompts, but 1 params: give one for all",
        ),
        (["a"], [SamplingParams()] * 2, None, "there are 1 prompts, but 2 params"),
        (["a", "the"], [SamplingParams(), 5], None, r"params\[1\] must be a SamplingParams, not 5"),
        (["a", "the"], 5, None, "params must be a SamplingParams or a list of them, not 5"),
        (["a", "the"], "ab", None, "params must be a SamplingParams or a list of them, not 'ab'"),
        (["a", "the"], None, [{}], "there are 2 prompts, but 1 edit"),
        (["a", "the"], None, [{}, {"nothing": print}], "no activation is called 'nothing'"),
        (["a", ""], None, None, r"^prompt\[1\]: the prompt is empty"),
        ([[1], [10**6]], None, None, r"^prompt\[1\]: token id 1000000 at index 0"),
        (
            ["a", LONG * 2],
            None,
            None,
            r"^prompt\[1\]: the prompt has 520 tokens, but the context",
        ),
    ],
)
def test_everything_is_checked_before_any_work(llm, monkeypatch, prompts, params, edit, message):
    monkeypatch.setattr(llm.scheduler, "step", None)
    with pytest.raises(RequestError, match=message):
        llm.generate(prompts, params, edit=edit)


def test_one_that_fails_fails_alone(llm):
    def fail(value, info):
        if len(info.ids) == 1 and info.positions[0] == 4:  # in the middle of its text
            raise LookupError("an edit of mine")

    params = SamplingParams(max_tokens=8)
    prompts = [[70, 71], [72, 73, 74], [75]]
    alone = [facts(llm.generate(prompt, params)) for prompt in prompts]
    first, failed, last = llm.generate(prompts, params, edit=[None, {"blk.0.resid_post": fail}, None])
    assert [facts(first), facts(last)] == [alone[0], alone[2]]
    assert isinstance(failed.error, LookupError) and failed.finish_reason == "error"
    assert failed.token_ids == alone[1][1][:2] and "error" in repr(failed)
    with pytest.raises(LookupError, match="an edit of mine"):
        llm.generate(prompts[1], params, edit={"blk.0.resid_post": fail})
    assert facts(llm.generate(prompts[1], params)) == alone[1]
    require_free(llm)


def test_a_wrong_replacement_and_nan_fail_alone(llm):
    cut = {"token_embd": lambda value, info: value[:0]}
    large = {"blk.1.v": lambda value, info: value * np.float32(1e8)}
    params = SamplingParams(max_tokens=4)
    wrong, sound, unsound = llm.generate([[70]] * 3, params, edit=[cut, None, large])
    assert facts(sound) == facts(llm.generate([70], params))
    assert isinstance(wrong.error, RequestError) and "the edit of token_embd gave" in str(wrong.error)
    assert "with these edits the logits are NaN or infinite" in str(unsound.error)
    require_free(llm)


def test_damaged_weights_fail_those_who_meet_them(llm, tmp_path):
    """Row 9 of the embeddings is NaN."""
    file = GGUFForge.parse(tiny_model.write(tmp_path / "m.gguf").read_bytes())
    sound = nybble.LLM(tmp_path / "m.gguf")
    tensor = file.tensor("token_embd.weight")
    values = np.frombuffer(tensor.data, np.float32).reshape(-1, 64).copy()
    values[9] = np.nan
    tensor.data = values.tobytes()
    (tmp_path / "damaged.gguf").write_bytes(file.build())
    prompts, params = [[70, 71], [72, 9], [73], [9]], SamplingParams(max_tokens=5)
    with sound, nybble.LLM(tmp_path / "damaged.gguf") as damaged:
        outputs = damaged.generate(prompts, params)
        assert [isinstance(output.error, ModelError) for output in outputs] == [False, True, False, True]
        assert "holds NaN or infinity in row 9" in str(outputs[1].error)
        for i in (0, 2):
            assert facts(outputs[i]) == facts(sound.generate(prompts[i], params))
        require_free(damaged)


def test_progress(llm, monkeypatch):
    moves = []

    class Bar:
        def __init__(self, title, total, unit, *, shown):
            moves.append((total, shown))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            moves.append("end")

        def update(self, n):
            moves.append(n)

    monkeypatch.setattr("nybble.engine.generation.generator.progress_bar", Bar)
    llm.generate(PROMPTS, SamplingParams(max_tokens=2, n=2), progress=True)
    assert moves == [(5, True), 1, 1, 1, 1, 1, "end"]
    moves.clear()
    llm.generate(PROMPTS[:1], SamplingParams(max_tokens=2))
    assert moves[0] == (1, False)


# --- several texts for a prompt


def test_alternatives(llm):
    drawn = SamplingParams(max_tokens=10, temperature=1.0, seed=4)
    out = llm.generate("the other", SamplingParams(max_tokens=10, temperature=1.0, seed=4, n=5))
    assert len(out.choices) == 5 and out.choices[0] is out
    assert facts(out) == facts(llm.generate("the other", drawn))
    assert len({choice.text for choice in out.choices}) > 1
    again = llm.generate(["in", "the other"], SamplingParams(max_tokens=10, temperature=1.0, seed=4, n=5))
    assert list(map(facts, again[1].choices)) == list(map(facts, out.choices))
    greedy = llm.generate("the other", SamplingParams(max_tokens=4, n=2))
    assert facts(greedy.choices[0]) == facts(greedy.choices[1])


def test_alternatives_share_the_prompt(llm):
    llm.scheduler.seating.index.clear()
    out = llm.generate(LONG, SamplingParams(max_tokens=3, temperature=1.0, seed=4, n=3))
    assert [choice.n_cached_tokens for choice in out.choices] == [0, 256, 256]
    assert out.choices[1].timings.n_prompt_tokens == 260


@pytest.mark.parametrize("n", [0, -1, 1025, 1.5, True, "2"])
def test_n_out_of_range(n):
    with pytest.raises(RequestError, match="n must be an integer from 1 to 1024"):
        SamplingParams(n=n)


def test_a_request_for_several_texts_is_not_iterated_over(llm):
    for ask in (llm.stream, llm.submit):
        request = ask("the", SamplingParams(max_tokens=2, n=2))
        with pytest.raises(RequestError, match=r"iterate over a request for n=2 texts; wait for its"):
            next(request)
        assert len(request.result().choices) == 2


# --- cached prompts


def test_cache_prompt_takes_and_leaves_nothing(llm):
    llm.scheduler.seating.index.clear()
    once, without = SamplingParams(max_tokens=2), SamplingParams(max_tokens=2, cache_prompt=False)
    first = llm.generate(LONG, without)
    assert len(llm.scheduler.seating.index) == 0
    second, third, fourth = (llm.generate(LONG, own) for own in (once, once, without))
    assert [out.n_cached_tokens for out in (first, second, third, fourth)] == [0, 0, 259, 0]
    assert len({str(facts(out)) for out in (first, second, third, fourth)}) == 1


def test_edits_share_nothing_unless_they_have_a_key(llm):
    llm.scheduler.seating.index.clear()

    def steer(value, info):
        value += np.float32(0.5)

    few = SamplingParams(max_tokens=2)
    plain = llm.generate(LONG, few)
    steered = [llm.generate(LONG, few, edit={"blk.0.resid_post": steer}) for _ in range(2)]
    assert [out.n_cached_tokens for out in steered] == [0, 0]
    steer.cache_key = "plus 0.5"
    keyed = [llm.generate(LONG, few, edit={"blk.0.resid_post": steer}) for _ in range(2)]
    assert [out.n_cached_tokens for out in keyed] == [0, 259]
    assert {str(facts(out)) for out in keyed} == {str(facts(steered[0]))}
    assert facts(llm.generate(LONG, few)) == facts(plain)


def test_where_a_prompt_leaves_what_is_cached(llm):
    llm.scheduler.seating.index.clear()
    assert llm.explain_cache("the other") == (
        f"0 of {len(llm.tokenizer.encode('the other'))} tokens are computed already:"
        " no cached prompt begins with 'the other'"
    )
    llm.generate(LONG, SamplingParams(max_tokens=1))
    assert llm.explain_cache(LONG[:256]) == (
        "255 of 256 tokens are computed already; the whole prompt is known, and its last token runs again for"
        " the logits"
    )
    text = llm.explain_cache([*LONG[:100], 65, 66])
    assert text.startswith("100 of 102 tokens are computed already; at token 100")
    assert f"at token 100 this one goes on with {llm.tokenizer.decode([65, 66])!r}" in text
    assert f"what is cached goes on with {llm.tokenizer.decode(LONG[100:108])!r}" in text
    assert llm.explain_cache([*LONG, 65]).endswith("and what is cached ends there")
    with pytest.raises(RequestError, match="the prompt is empty"):
        llm.explain_cache("")


def test_the_reference_keeps_nothing(llm):
    with nybble.LLM(llm.path, executor="reference", n_seq_max=2) as reference:
        assert reference.explain_cache("the") == "this executor keeps nothing of prompts"
        params = SamplingParams(max_tokens=3)
        outputs = reference.generate(PROMPTS, params)
        assert [facts(out) for out in outputs] == [facts(reference.generate(p, params)) for p in PROMPTS]
        require_free(reference)


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_seq_max": 0}, "n_seq_max must be an integer from 1 to 1024, not 0"),
        ({"n_seq_max": 1025}, "n_seq_max must be an integer from 1 to 1024, not 1025"),
        ({"n_seq_max": 2.0}, "n_seq_max must be an integer"),
        ({"n_seq_max": True}, "n_seq_max must be an integer"),
        ({"n_seq_max": 9, "n_batch": 8}, "n_seq_max=9 sequences do not fit in a step of n_batch=8 tokens"),
        ({"n_pool_tokens": 0}, "n_pool_tokens must be an integer from 1 to"),
        ({"n_pool_tokens": 2**41}, "n_pool_tokens must be an integer from 1 to 1099511627776"),
        ({"n_pool_tokens": "9"}, "n_pool_tokens must be an integer"),
        (
            {"n_pool_tokens": 99, "n_ctx": 100},
            "n_pool_tokens=99 has no room for a sequence of n_ctx=100 tokens",
        ),
        ({"n_pool_tokens": 511}, "n_pool_tokens=511 has no room for a sequence of n_ctx=512 tokens"),
    ],
)
@pytest.mark.parametrize("executor", ["numba", "reference"])
def test_options_out_of_range(llm, options, message, executor):
    with pytest.raises(RequestError, match=message):
        nybble.LLM(llm.path, executor=executor, **options)


@pytest.mark.parametrize(
    "options", [{"n_seq_max": 1}, {"n_batch": 1}, {"n_pool_tokens": 512, "n_seq_max": 5}]
)
def test_options_change_no_text(llm, options):
    params = SamplingParams(max_tokens=5)
    expected = [facts(out) for out in llm.generate([*PROMPTS, LONG], params)]
    with nybble.LLM(llm.path, **options) as other:
        assert [facts(out) for out in other.generate([*PROMPTS, LONG], params)] == expected
        require_free(other)


def test_a_request_tells_who_waits_that_something_has_come(llm):
    """`take` gives all pieces, and the last ones once it is done; what it gives is what `generate` gives."""
    news = threading.Event()
    params = SamplingParams(max_tokens=12, temperature=0.8, seed=5, n=2)
    request = llm.submit("Once upon a time", params, on_news=news.set)
    texts = ["", ""]
    is_done = False
    while not is_done:
        assert news.wait(60)
        news.clear()
        is_done = request.is_done
        for i, choice in enumerate(request.choices):
            texts[i] += "".join(choice.take())
    assert texts == [choice.text for choice in llm.generate("Once upon a time", params).choices]
    assert [choice.finish_reason for choice in request.choices] == ["length", "length"]


def test_the_end_is_told_when_another_thread_has_run_the_last_step(llm):
    """Here all steps of a text run while the news of another one are told."""
    is_told, params = threading.Event(), SamplingParams(max_tokens=3)
    others = []

    def first_news():
        if not others:
            others.append(llm.submit("Upon", params, on_news=is_told.set))
            while not others[0].is_done:
                llm.scheduler.step()

    llm.submit("Once", params, on_news=first_news).result(60)
    assert is_told.wait(10)


def test_a_salt_keeps_prompts_apart(llm):
    prompt = LONG[:150]
    n_cached = []
    for salt in ("a", "b", None, "a"):
        request = llm.submit(prompt, SamplingParams(max_tokens=2, cache_salt=salt))
        text = request.result().text
        n_cached.append(request.n_cached_tokens)
    assert n_cached[:2] == [0, 0] and n_cached[3] > 0
    assert text == llm.generate(prompt, SamplingParams(max_tokens=2)).text
    with pytest.raises(RequestError, match="cache_salt must be a text of 1 to 256 characters"):
        SamplingParams(cache_salt="\ud800")
