"""Traces and logits of lists of prompts: what each prompt gives alone."""

import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from state_kinds import KINDS, N_CTX, write_model

import nybble
from nybble import ModelError, NybbleError, RequestError

LENGTHS = (5, 1, 70, 12, 130, 12, 3)
CAPTURE = ["blk.*.resid_post", "output_norm"]


def scale(value, info):
    value *= np.float32(1.25)


def shift(value, info):
    value[info.positions % 2 == 1] += np.float32(0.5)


STEER, SCALE = {"blk.[01].resid_post": shift}, {"token_embd": scale}
EDITS = [None, {"blk.0.resid_post": scale}, STEER, None, {}, SCALE, None]


@pytest.fixture(scope="module", params=KINDS)
def llm(request, tmp_path_factory):
    path = write_model(tmp_path_factory.mktemp("kinds") / "m.gguf", request.param)
    with nybble.LLM(path, n_ctx=N_CTX, n_seq_max=3, n_pool_tokens=2 * N_CTX, n_threads=2) as llm:
        yield llm


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with nybble.LLM(tiny_model.write(tmp_path_factory.mktemp("tiny") / "m.gguf")) as llm:
        yield llm


def prompts_of(llm):
    random = np.random.default_rng(3)
    return [random.integers(0, llm.config.n_vocab, n).tolist() for n in LENGTHS]


def bits(trace):
    return {name: value.tobytes() for name, value in trace.items()}, trace.logits.tobytes()


@pytest.mark.parametrize("logits", ["all", "last", [0], [-1, 0, -1]])
def test_a_list_gives_what_each_prompt_gives_alone(llm, logits):
    prompts = prompts_of(llm)
    alone = [
        llm.trace(prompt, CAPTURE, edit, logits=logits) for prompt, edit in zip(prompts, EDITS, strict=True)
    ]
    found = llm.trace(prompts, CAPTURE, EDITS, logits=logits)
    assert [trace.ids.tolist() for trace in found] == prompts
    assert [bits(trace) for trace in found] == [bits(trace) for trace in alone]


def test_logits_and_one_edit_for_all(llm):
    prompts = prompts_of(llm)
    for edit in (None, STEER):
        alone = [llm.logits(prompt, edit=edit).tobytes() for prompt in prompts]
        assert [logits.tobytes() for logits in llm.logits(prompts, edit=edit)] == alone


def test_attention_probabilities_in_company(tiny):
    """Their rows are as long as each text is."""
    prompts = [[7, 8, 9], [1], [2, 3, 4, 5]]
    edit = {"blk.1.attn_probs": lambda value, info: value * np.float32(0.5)}
    found = tiny.trace(prompts, "blk.*.attn_probs", edit)
    assert [trace["blk.0.attn_probs"].shape for trace in found] == [(n, 4, n) for n in (3, 1, 4)]
    assert list(map(bits, found)) == [bits(tiny.trace(ids, "blk.*.attn_probs", edit)) for ids in prompts]


def test_one_or_many(tiny):
    assert isinstance(tiny.trace("the"), nybble.Trace) and isinstance(tiny.trace([5, 6]), nybble.Trace)
    assert [len(trace.ids) for trace in tiny.trace([[5, 6]])] == [2]
    assert tiny.trace([]) == [] and tiny.logits([]) == []
    same = tiny.logits(["the other", np.array([5, 6]), (7,)])
    assert [len(rows) for rows in same] == [len(tiny.tokenizer.encode("the other")), 2, 1]


@pytest.mark.parametrize(
    ("prompts", "arguments", "message"),
    [
        ([[1], [], [2]], {}, r"^prompt\[1\]: the prompt is empty"),
        (["the", 5], {}, r"^prompt\[1\]: a prompt is a text or a list of token ids, not 5"),
        ([[1], [2, -1]], {}, r"^prompt\[1\]: token id -1 at index 1"),
        ([[1, 2], [3]], {"logits": [1]}, r"^prompt\[1\]: there are no logits at position 1"),
        ([[1], [2]], {"logits": "some"}, r"^logits must be"),
        ([[1], [2]], {"edit": [None]}, "there are 2 prompts, but 1 edit: give one for all, or each its own"),
        ([[1], [2]], {"edit": [None, 3]}, r"edit\[1\] must be a mapping"),
        ([[1], [2]], {"edit": [None, {"nothing": scale}]}, "no activation is called 'nothing'"),
        ([[1], [2]], {"capture": "nothing"}, "no activation is called 'nothing'"),
        (
            [[1, 2], [3]],
            {"capture": "blk.0.q", "logits": None, "max_bytes": 767},
            "these 2 traces would take 768 bytes, 768 of them for blk.0.q, but max_bytes is 767",
        ),
    ],
)
def test_everything_is_checked_before_any_work(tiny, monkeypatch, prompts, arguments, message):
    monkeypatch.setattr(tiny.scheduler, "step", None)
    with pytest.raises(RequestError, match=message):
        tiny.trace(prompts, **arguments)


def test_an_error_says_of_which_prompt_it_is(tiny):
    def refuse(value, info):
        if 9 in info.ids:
            raise LookupError("nine")

    prompts = [[1, 2], [9], [4, 9], [5]]
    expected = tiny.logits(prompts)
    with pytest.raises(LookupError, match="nine") as caught:
        tiny.logits(prompts, edit={"token_embd": refuse})
    assert caught.value.__notes__ == ["raised for prompt[1]"] and caught.value.args == ("nine",)
    with pytest.raises(RequestError, match=r"^prompt\[1\]: the edit of token_embd gave 1") as refused:
        tiny.trace(prompts, edit=[None, {"token_embd": lambda value, info: 1}, None, None])
    assert not hasattr(refused.value, "__notes__")
    with pytest.raises(LookupError) as alone:
        tiny.logits([9], edit={"token_embd": refuse})
    assert not hasattr(alone.value, "__notes__")
    assert [a.tobytes() for a in tiny.logits(prompts)] == [a.tobytes() for a in expected]


def test_nan_says_of_which_prompt_it_is(tmp_path):
    """Row 9 of the embeddings is damaged."""
    file = GGUFForge.parse(tiny_model.write(tmp_path / "m.gguf").read_bytes())
    tensor = file.tensor("token_embd.weight")
    values = np.frombuffer(tensor.data, np.float32).reshape(-1, 64).copy()
    values[9, 3] = np.nan
    tensor.data = values.tobytes()
    (tmp_path / "m.gguf").write_bytes(file.build())
    with nybble.LLM(tmp_path / "m.gguf") as llm:
        with pytest.raises(ModelError, match=r"^prompt\[2\]: the model produced NaN .* in row 9"):
            llm.logits([[1], [2], [3, 9], [9]])
        with pytest.raises(ModelError, match=r"^texts\[1\]: .*embedding at position 2 is NaN"):
            llm.embed([[1], [2, 3, 9]], pooling="mean")
        assert np.isfinite(llm.logits([1])).all()


def test_what_fails_leaves_nobody_in_the_scheduler(tiny):
    def interrupt(value, info):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.trace([[1], [2], [3]], edit=[None, {"blk.1.resid_post": interrupt}, None])
    with pytest.raises(ZeroDivisionError):
        tiny.trace([[1], [2], [3]], edit=[None, {"blk.1.resid_post": lambda value, info: 1 / 0}, None])
    assert not tiny.scheduler._jobs and not tiny.scheduler.seating.seated
    seats = tiny.scheduler.seating.seats
    assert seats.n_free == tiny.scheduler.executor.n_seq_max


def test_a_closed_model_is_no_prompts_fault(tmp_path):
    with nybble.LLM(tiny_model.write(tmp_path / "m.gguf")) as llm:
        pass
    with pytest.raises(NybbleError, match=r"^this LLM has been closed") as caught:
        llm.trace([[1], [2]])
    assert not hasattr(caught.value, "__notes__")
