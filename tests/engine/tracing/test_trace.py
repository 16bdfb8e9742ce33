"""Reading and replacing activations: on tiny models, with both executors."""

import numpy as np
import pytest
import tiny_model

import nybble
from nybble.errors import RequestError

IDS = np.arange(40, 64)
PATCHED = "blk.1.resid_post"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("trace") / "m.gguf", "gemma3", "Q8_0")


@pytest.fixture(scope="module", params=["numba", "reference"])
def llm(request, path):
    with nybble.LLM(path, executor=request.param, n_threads=2, n_batch=7) as made:
        yield made


def bits(array):
    return array.shape, array.tobytes()


def unchanged(value, info):
    return value + np.float32(0)


def test_a_trace_has_what_was_asked_for(llm):
    with llm.trace(IDS, capture=["blk.*.resid_post", "blk.0.q", "token_embd"]) as trace:
        assert trace.names == ["token_embd", "blk.0.q", *(f"blk.{i}.resid_post" for i in range(6))]
    assert trace.ids.tolist() == IDS.tolist()
    assert trace["blk.0.q"].shape == (24, 128) and trace["blk.0.q"].dtype == np.float32
    assert trace.heads("blk.0.q").shape == (24, 4, 32)
    assert bits(trace.logits) == bits(llm.logits(IDS))
    assert len(trace) == 8 and "blk.0.q" in trace and "blk.1.q" not in trace
    with pytest.raises(KeyError, match=r"'blk\.1\.q' was not captured; the nearest are blk\.0\.q.*of 8 that"):
        trace["blk.1.q"]


def test_logits_are_those_of_the_positions_asked_for(llm):
    every = llm.logits(IDS)
    for asked, rows in [("last", [-1]), ([20, 3, -1, 3], [20, 3, 23, 3]), (np.array([5]), [5])]:
        found = llm.trace(IDS, logits=asked).logits
        np.testing.assert_allclose(found, every[rows], rtol=1e-5, atol=1e-5)
        assert llm.executor == "reference" or bits(found) == bits(every[rows])
    assert llm.trace(IDS, logits=[]).logits.shape == (0, every.shape[1])
    with pytest.raises(RequestError, match="has no logits"):
        _ = llm.trace(IDS, logits=None).logits


def test_what_is_captured_behind_the_last_attention_is_there_for_every_token(llm):
    trace = llm.trace(IDS, capture=["output_norm", "logits"], logits="last")
    assert trace["output_norm"].shape == (24, 64)
    assert bits(trace["logits"]) == bits(llm.logits(IDS))
    assert bits(trace.logits) == bits(trace["logits"][-1:])


def test_the_residual_stream_has_names_before_and_after_each_half(llm):
    trace = llm.trace(IDS, capture=["token_embd", "blk.*.resid_*", "blk.*.post_*_norm"])
    assert bits(trace["blk.0.resid_pre"]) == bits(trace["token_embd"])
    for i in range(6):
        pre, mid, post = (trace[f"blk.{i}.resid_{name}"] for name in ("pre", "mid", "post"))
        assert i == 0 or bits(pre) == bits(trace[f"blk.{i - 1}.resid_post"])
        assert bits(mid) == bits(pre + trace[f"blk.{i}.post_attn_norm"])
        assert bits(post) == bits(mid + trace[f"blk.{i}.post_ffw_norm"])


def test_an_edit_that_changes_nothing_leaves_every_bit(llm):
    expected = llm.trace(IDS, capture="*")
    found = llm.trace(IDS, capture="*", edit={"*": unchanged})
    assert bits(found.logits) == bits(expected.logits)
    for name, value in expected.items():
        assert bits(found[name]) == bits(value), name


def test_patching_the_residual_stream_gives_the_other_runs_logits(llm):
    other = llm.trace(IDS[::-1], capture=PATCHED)
    found = llm.logits(IDS, edit={PATCHED: lambda value, info: other[PATCHED][info.positions]})
    assert bits(found) == bits(other.logits)


def test_an_edit_is_told_what_it_edits(llm):
    seen = []

    def note(value, info):
        assert value.shape == (len(info.positions), 64) and value.dtype == np.float32
        seen.append(info)

    llm.trace(IDS, edit={"blk.2.resid_post": note})
    assert {(info.name, info.layer, info.is_prefill) for info in seen} == {("blk.2.resid_post", 2, True)}
    assert np.concatenate([info.positions for info in seen]).tolist() == list(range(24))
    assert np.concatenate([info.ids for info in seen]).tolist() == IDS.tolist()
    seen.clear()
    llm.trace(IDS, edit={"output_norm": note}, logits=[3, 9])
    assert [(info.layer, info.positions.tolist(), info.ids.tolist()) for info in seen] == [
        (None, [3], [43]),
        (None, [9 - 0], [49]),
    ]


def test_edits_write_in_place_or_return_and_come_in_order(llm):
    def twice(value, info):
        value *= 2

    def add(value, info):
        return value + np.float32(1)

    name = "blk.0.ffn_out"
    plain = llm.trace(IDS, name)[name]
    trace = llm.trace(
        IDS, name, {name: twice, "blk.0.*_out": lambda v, i: add(v, i) if i.name == name else v}
    )
    assert bits(trace[name]) == bits(plain * np.float32(2) + np.float32(1))


def test_a_pattern_edits_a_buffer_once_though_it_has_two_names(llm):
    seen = []
    llm.trace(IDS[:1], edit={"blk.*.resid_p*": lambda value, info: seen.append(info.name)})
    assert len(seen) == 7  # what comes into block 0, and what leaves each of the 6


def test_generation_under_edits_keeps_its_cache_consistent(llm):
    """Each token is computed once, under the edits; a run of the whole text under them gives the same."""

    def steer(value, info):
        value[info.positions > 2, ::2] += np.float32(20)

    edit = {"blk.2.resid_post": steer}
    params = nybble.SamplingParams(max_tokens=8)
    out = llm.generate(IDS, params, edit=edit)
    ids = [*IDS.tolist(), *out.token_ids]
    logits = llm.logits(ids, edit=edit)[len(IDS) - 1 : -1]
    assert logits.argmax(axis=1).tolist() == out.token_ids
    assert out.token_ids != llm.generate(IDS, params).token_ids
    stream = llm.stream(IDS, params, edit=edit)
    first = next(stream)
    assert llm.generate(IDS, params).token_ids != out.token_ids  # another run takes the context
    assert first + "".join(stream) == out.text


def test_edits_know_the_prompt_from_what_is_generated(llm):
    phases = {}
    edit = {"blk.0.resid_post": lambda v, info: phases.update(dict.fromkeys(info.positions, info.is_prefill))}
    params = nybble.SamplingParams(max_tokens=4)
    stream = llm.stream(IDS, params, edit=edit)
    next(stream)
    llm.logits([1])
    for _ in stream:
        pass
    assert phases == {position: position < 24 for position in range(27)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capture": ["blk.3.atn_out"]}, r"no activation is called 'blk\.3\.atn_out'.*blk\.3\.attn_out"),
        ({"capture": ["blk.*.atn_out"]}, r"nearest are blk\.\*\.attn_out"),
        ({"capture": "blk.9.attn_out"}, "nearest are"),
        ({"capture": [3]}, "a text, not 3"),
        ({"capture": 3}, "a list of names, not 3"),
        ({"edit": {"nothing": unchanged}}, "no activation is called 'nothing'"),
        ({"edit": {"logits": 3}}, "the edit of 'logits' must be a function, not 3"),
        ({"edit": [unchanged]}, r"edit\[0\] must be a mapping from names of activations to functions"),
        ({"edit": unchanged}, "edit must be a mapping from names of activations to functions"),
        ({"logits": "some"}, 'must be "all", "last", None'),
        ({"logits": [24]}, "no logits at position 24: the prompt has 24 tokens"),
        ({"logits": [-25]}, "no logits at position -25"),
        ({"logits": [0.5]}, "list of positions"),
        ({"logits": [[1], [2, 3]]}, "list of positions"),
        ({"max_bytes": -1}, "max_bytes must be"),
        ({"max_bytes": 9999, "capture": "blk.0.q"}, "12,288 of them for blk.0.q, but max_bytes is 9,999"),
    ],
)
def test_bad_requests_are_refused_before_anything_runs(llm, arguments, message):
    if message.startswith("12,288"):
        arguments = arguments | {"logits": None}
    with pytest.raises(RequestError, match=message):
        llm.trace(IDS, **arguments)


def test_more_than_fits_in_memory_is_refused_with_its_size(llm, monkeypatch):
    monkeypatch.setattr("nybble.engine.tracing.recorder.free_memory", lambda: 50_000)
    size = 24 * 4 * 64 * 6 + 24 * 4 * llm.config.n_vocab
    with pytest.raises(RequestError, match=f"would take {size:,} bytes, .* but only 50,000 are free"):
        llm.trace(IDS, "blk.*.resid_post")
    assert llm.trace(IDS, "blk.*.resid_post", logits="last").names


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v, info: v[:, :-1], r"gave float32 \(\d, 63\), not float32 \(\d, 64\)"),
        (lambda v, info: v.astype(np.float64), r"gave float64 \(\d, 64\), not float32 .*astype"),
        (lambda v, info: 1.0, r"gave 1\.0; it must give float32 \(\d, 64\)"),
        (
            lambda v, info: v * np.float32(np.nan),
            r"blk\.2\.attn_out float32 .* gave NaN or infinity at position 0",
        ),
        (lambda v, info: v.__setitem__(v > 0, np.inf), "gave NaN or infinity"),
    ],
)
def test_bad_replacements_are_refused_and_the_model_goes_on(llm, edit, message):
    expected = llm.logits(IDS)
    with np.errstate(all="ignore"), pytest.raises(RequestError, match=message):
        llm.logits(IDS, edit={"blk.2.attn_out": edit})
    assert bits(llm.logits(IDS)) == bits(expected)


def test_edits_that_leave_the_range_of_floats_are_blamed(llm):
    with pytest.raises(RequestError, match="with these edits the logits are NaN or infinite"):
        llm.logits(IDS, edit={"output_norm": lambda v, info: np.full_like(v, 3e38)})


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_an_edit_raises_passes_and_the_model_goes_on(llm, error):
    def fail(value, info):
        if info.positions[0] >= 10:
            raise error("mine")

    expected = llm.generate(IDS, nybble.SamplingParams(max_tokens=4)).token_ids
    with pytest.raises(error, match="mine") as caught:
        llm.generate(IDS, edit={"blk.1.ffn_out": fail})
    assert caught.traceback[-1].name == "fail" and caught.value.__cause__ is None
    assert llm.generate(IDS, nybble.SamplingParams(max_tokens=4)).token_ids == expected


def test_a_text_goes_on_after_an_edit_has_failed(llm):
    """What the failing step has left half done is computed again."""
    fails_at = {27}

    def fail_once(value, info):
        value[:, 0] += 1
        if fails_at & set(info.positions.tolist()):
            fails_at.clear()
            raise ZeroDivisionError

    params = nybble.SamplingParams(max_tokens=8)
    stream = llm.stream(IDS, params, edit={"blk.1.ffn_out": fail_once})
    text = ""
    with pytest.raises(ZeroDivisionError):
        for piece in stream:
            text += piece
    assert fails_at == set() and 0 < len(stream.token_ids) < 8
    text += "".join(stream)
    assert text == llm.generate(IDS, params, edit={"blk.1.ffn_out": fail_once}).text


@pytest.mark.parametrize("use", ["logits", "generate", "trace", "close"])
def test_an_edit_cannot_use_the_model_that_it_runs_in(llm, use):
    def again(value, info):
        getattr(llm, use)(*(() if use == "close" else ([1, 2],)))

    expected = llm.logits(IDS)
    with pytest.raises(RequestError, match="this LLM is running; an edit"):
        llm.logits(IDS, edit={"blk.1.ffn_out": again})
    assert bits(llm.logits(IDS)) == bits(expected)


PROBS = "blk.5.attn_probs"  # of a layer that sees all positions; the others have a window of 8


def softmax_of_scores(llm, layer, window):
    """Attention probabilities by the book, from queries and keys."""
    trace = llm.trace(IDS, [f"blk.{layer}.q_rope", f"blk.{layer}.k_rope"])
    q, k = (trace.heads(name).astype(np.float64) for name in trace)
    scores = np.einsum("qhd,khd->qhk", q, np.repeat(k, 2, axis=1)) * 32**-0.5
    distance = np.arange(24)[:, None] - np.arange(24)
    scores = np.where(((distance >= 0) & (distance < window))[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True)


@pytest.mark.parametrize(("layer", "window"), [(0, 8), (5, 24)])
def test_attention_probabilities(llm, layer, window):
    name = f"blk.{layer}.attn_probs"
    probs = llm.trace(IDS, name)[name]
    assert probs.shape == (24, 4, 24) and probs.dtype == np.float32
    np.testing.assert_allclose(probs, softmax_of_scores(llm, layer, window), atol=2e-3)
    np.testing.assert_allclose(probs.sum(axis=2), 1, atol=1e-5)


def test_heads_follow_edited_probabilities(llm):
    """Attention to the own position alone gives the own value; heads that are left alone keep their bits."""

    def look_at_itself(value, info):
        rows = np.arange(len(info.positions))
        value[:, 2] = 0
        value[rows, 2, info.positions] = 1

    plain = llm.trace(IDS, ["blk.5.attn_heads", "blk.5.v"])
    edited = llm.trace(IDS, ["blk.5.attn_heads", PROBS], edit={PROBS: look_at_itself})
    heads, values = edited.heads("blk.5.attn_heads"), plain.heads("blk.5.v")
    np.testing.assert_allclose(heads[:, 2], values[:, 1], rtol=1e-3, atol=1e-3)
    for head in (0, 1, 3):
        assert bits(heads[:, head]) == bits(plain.heads("blk.5.attn_heads")[:, head])
    assert edited[PROBS][:, 2].tolist() == np.eye(24).tolist()
    assert bits(edited.logits) != bits(plain.logits)


def test_attention_can_be_edited_while_generating(llm):
    def blur(value, info):
        for row, position in zip(value, info.positions, strict=True):
            row[:, : position + 1] = 1 / (position + 1)

    params = nybble.SamplingParams(max_tokens=6)
    out = llm.generate(IDS, params, edit={PROBS: blur})
    logits = llm.logits([*IDS, *out.token_ids], edit={PROBS: blur})[len(IDS) - 1 : -1]
    assert logits.argmax(axis=1).tolist() == out.token_ids


@pytest.mark.parametrize(("name", "query", "key"), [(PROBS, 3, 4), ("blk.0.attn_probs", 20, 12)])
def test_edits_cannot_make_a_query_see_more(llm, name, query, key):
    def cheat(value, info):
        value[info.positions == query, 0, key : key + 1] = 0.5

    with pytest.raises(
        RequestError, match=f"lets position {query} attend to position {key}, which it does not"
    ):
        llm.logits(IDS, edit={name: cheat})
