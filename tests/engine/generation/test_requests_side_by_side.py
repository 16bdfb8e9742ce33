"""Requests that run side by side: read in turns, by threads and tasks, in the background; and their ends."""

import asyncio
import gc
import threading
from itertools import zip_longest

import numpy as np
import pytest
import tiny_model
from accounts import require_free
from stopwatch import HANG

import nybble
from nybble import NybbleError, SamplingParams

PROMPTS = ["the other", "and in here", "hand is", "the"]
PARAMS = SamplingParams(max_tokens=12)
LAYER = "blk.0.resid_post"


@pytest.fixture
def llm(tmp_path):
    path = tiny_model.write(tmp_path / "m.gguf", weight_format="Q8_0")
    with nybble.LLM(path, n_threads=2, n_seq_max=3, n_pool_tokens=512) as llm:
        yield llm
        if llm.scheduler.gate.is_open:
            require_free(llm)


@pytest.fixture
def alone(llm):
    return [llm.generate(prompt, PARAMS).text for prompt in PROMPTS]


@pytest.fixture
def steps(llm, monkeypatch):
    """The numbers of tokens in each step, by sequences."""
    found, run_step = [], llm.scheduler.executor._run_step

    def recorded(pieces):
        found.append([len(piece.ids) for piece in pieces])
        return run_step(pieces)

    monkeypatch.setattr(llm.scheduler.executor, "_run_step", recorded)
    return found


class Door:
    """An edit that waits, in the step of the n-th token after the prompt, until it is opened."""

    def __init__(self, n=1):
        self._n = n
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self, value, info):
        if not info.is_prefill and (n := self._n) > 0:
            self._n -= 1
            if n == 1:
                self._reached.set()
                assert self._opened.wait(HANG)

    def wait(self):
        assert self._reached.wait(HANG)

    def open(self):
        self._opened.set()


def in_threads(work, arguments):
    """What `work` gives for each argument, in threads of their own."""
    found = {}
    threads = [
        threading.Thread(target=lambda i, a: found.update({i: work(a)}), args=(i, argument))
        for i, argument in enumerate(arguments)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    return [found.get(i) for i in range(len(threads))]


# --- streams


def test_streams_in_turns_share_their_steps(llm, alone, steps):
    two = [llm.stream(prompt, PARAMS) for prompt in PROMPTS[:2]]
    texts = ["", ""]
    for pieces in zip_longest(*two, fillvalue=""):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    assert texts == alone[:2]
    together = [step for step in steps if len(step) == 2]
    assert len(together) > 6 and all(sum(step) > 2 or step == [1, 1] for step in together)


def test_more_streams_than_seats(llm, alone):
    streams = [llm.stream(prompt, PARAMS) for prompt in PROMPTS]
    texts = [""] * 4
    while any(stream.finish_reason is None for stream in streams):
        for i, stream in enumerate(streams):
            texts[i] += next(stream, "")
    assert [text + "".join(stream) for text, stream in zip(texts, streams, strict=True)] == alone


def test_streams_in_threads(llm, alone):
    assert in_threads(lambda prompt: "".join(llm.stream(prompt, PARAMS)), PROMPTS) == alone


def test_streams_in_tasks(llm, alone, steps):
    async def text(prompt):
        return "".join([piece async for piece in llm.stream(prompt, PARAMS)])

    async def main():
        return await asyncio.gather(*map(text, PROMPTS))

    assert asyncio.run(main()) == alone
    assert any(len(step) > 1 for step in steps)


def test_an_error_comes_out_of_a_task_and_the_others_go_on(llm, alone):
    def fail(value, info):
        raise LookupError("mine")

    async def text(prompt, edit=None):
        return "".join([piece async for piece in llm.stream(prompt, PARAMS, edit=edit)])

    async def main():
        return await asyncio.gather(
            text(PROMPTS[0]), text("a", {LAYER: fail}), text(PROMPTS[1]), return_exceptions=True
        )

    first, error, second = asyncio.run(main())
    assert [first, second] == alone[:2] and isinstance(error, LookupError)


def test_leaving_the_loop_frees_what_it_has(llm, alone):
    for _ in llm.stream(PROMPTS[0], PARAMS):
        require_seated(llm, 1)
        break
    require_free(llm)

    async def main():
        async for _ in llm.stream(PROMPTS[0], PARAMS):
            break

    asyncio.run(main())
    gc.collect()
    require_free(llm)
    assert llm.generate(PROMPTS[0], PARAMS).text == alone[0]


def require_seated(llm, n):
    assert len(llm.scheduler.seating.seated) == n


def test_a_stream_that_is_cancelled_has_what_was_read(llm, alone):
    stream = llm.stream(PROMPTS[0], PARAMS)
    first = next(stream)
    stream.cancel()
    require_seated(llm, 0)
    assert list(stream) == [] and alone[0].startswith(first)
    out = stream.result()
    assert (out.finish_reason, out.text) == ("cancelled", "") and stream.finish_reason is None
    unread = llm.stream(PROMPTS[0], PARAMS)
    unread.cancel()
    unread.cancel()
    assert unread.result().token_ids == []
    del stream, unread


def test_the_rest_of_a_stream(llm, alone):
    stream = llm.stream(PROMPTS[0], PARAMS)
    first = next(stream)
    assert first + stream.result().text == alone[0]
    assert stream.result().text == "" and stream.result().token_ids == stream.token_ids


# --- in the background


def test_what_is_submitted_runs_side_by_side(llm, alone):
    requests = [llm.submit(prompt, PARAMS) for prompt in PROMPTS]
    assert [request.result(HANG).text for request in requests] == alone
    assert ["".join(llm.submit(prompt, PARAMS)) for prompt in PROMPTS] == alone
    assert in_threads(lambda prompt: llm.submit(prompt, PARAMS).result(HANG).text, PROMPTS) == alone


def test_the_background_and_the_foreground(llm, alone):
    """While a request runs in the background, others run in this thread."""
    door = Door(2)
    request = llm.submit(PROMPTS[0], PARAMS, edit={LAYER: door})
    door.wait()
    assert request.finish_reason is None and len(request.token_ids) >= 1
    door.open()
    assert llm.generate(PROMPTS[1], PARAMS).text == alone[1]
    assert request.result(HANG).text == alone[0]


def test_the_thread_in_the_background_ends(llm):
    llm.submit("the", PARAMS).result(HANG)
    thread = next((t for t in threading.enumerate() if t.name == "nybble-scheduler"), None)
    if thread is not None:
        thread.join(HANG)
        assert not thread.is_alive()
    assert llm.submit("the", PARAMS).result(HANG).text


def test_cancel_from_another_thread_takes_effect_within_a_step(llm, alone):
    door = Door(3)
    neighbour = llm.submit(PROMPTS[1], PARAMS)
    request = llm.submit(PROMPTS[0], SamplingParams(max_tokens=100), edit={LAYER: door})
    door.wait()
    n = len(request.token_ids)
    in_threads(lambda request: request.cancel(), [request])
    door.open()
    out = request.result(HANG)
    assert out.finish_reason == "cancelled" and len(out.token_ids) == n
    assert neighbour.result(HANG).text == alone[1]


def test_an_error_in_the_background(llm, alone):
    def fail(value, info):
        if not info.is_prefill:
            raise LookupError("mine")

    failing, sound = llm.submit("a", PARAMS, edit={LAYER: fail}), llm.submit(PROMPTS[0], PARAMS)
    with pytest.raises(LookupError, match="mine"):
        failing.result(HANG)
    assert failing.output().finish_reason == "error"
    assert sound.result(HANG).text == alone[0]
    iterated = llm.submit("a", PARAMS, edit={LAYER: fail})
    with pytest.raises(LookupError, match="mine"):
        list(iterated)


def test_alternatives_in_the_background(llm):
    params = SamplingParams(max_tokens=8, temperature=1.0, seed=3, n=4)
    expected = [choice.text for choice in llm.generate("the", params).choices]
    assert [choice.text for choice in llm.submit("the", params).result(HANG).choices] == expected


# --- timeouts


def test_a_timeout_ends_the_waiting_and_not_the_work(llm, alone):
    door = Door(1)
    request = llm.submit(PROMPTS[0], PARAMS, edit={LAYER: door})
    with pytest.raises(TimeoutError, match=r"not done after 0\.01 seconds"):
        request.result(0.01)
    door.open()
    assert request.result(HANG).text == alone[0]


def test_a_timeout_in_the_foreground(llm, alone):
    stream = llm.stream(PROMPTS[0], PARAMS)
    with pytest.raises(TimeoutError, match="not done after 0 seconds"):
        stream.result(timeout=0)
    assert 0 < len(stream.token_ids) < 12
    assert stream.result().text == alone[0]


# --- closing


def test_closing_while_requests_run(llm):
    door = Door(1)
    request = llm.submit(PROMPTS[0], SamplingParams(max_tokens=100), edit={LAYER: door})
    stream = llm.stream(PROMPTS[1], PARAMS)
    door.wait()
    closing = threading.Thread(target=llm.close)
    closing.start()
    door.open()
    closing.join(HANG)
    for use in (request.result, lambda: next(stream), stream.result, lambda: llm.submit("the")):
        with pytest.raises(NybbleError, match="has been closed"):
            use()
    request.cancel()
    stream.cancel()
    assert not closing.is_alive()


def test_who_waits_for_a_request_hears_of_the_closing(llm):
    door, errors = Door(1), []
    request = llm.submit(PROMPTS[0], SamplingParams(max_tokens=100), edit={LAYER: door})

    def wait():
        try:
            request.result(HANG)
        except NybbleError as error:
            errors.append(str(error))

    door.wait()
    threads = [threading.Thread(target=wait), threading.Thread(target=llm.close)]
    for thread in threads:
        thread.start()
    door.open()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    assert len(errors) == 1 and "has been closed" in errors[0]


# --- Ctrl-C


class Interrupt:
    """An edit that interrupts, as Ctrl-C does, at a position, once."""

    def __init__(self, position):
        self._position = position

    def __call__(self, value, info):
        if self._position in info.positions:
            self._position = -1
            raise KeyboardInterrupt


@pytest.mark.parametrize("position", [0, 3, 6])
def test_ctrl_c_in_the_middle_of_a_batch(llm, alone, position):
    edit = {LAYER: Interrupt(position)}
    with pytest.raises(KeyboardInterrupt):
        llm.generate(PROMPTS, PARAMS, edit=[None, edit, None, None])
    assert llm.scheduler._jobs == []
    assert [out.text for out in llm.generate(PROMPTS, PARAMS)] == alone
    assert np.isfinite(llm.logits("the")).all()


def test_a_stream_goes_on_after_ctrl_c(llm, alone):
    stream = llm.stream(PROMPTS[0], PARAMS, edit={LAYER: Interrupt(10)})
    other = llm.stream(PROMPTS[1], PARAMS)
    text, rest = "", next(other)
    with pytest.raises(KeyboardInterrupt):
        for piece in stream:
            text += piece
    assert len(stream.token_ids) > 1
    assert rest + "".join(other) == alone[1]
    assert text + "".join(stream) == alone[0]


def test_an_edit_that_ends_the_program_ends_its_request_only(llm):
    def leave(value, info):
        raise SystemExit("leave")

    first = llm.submit([70], PARAMS, edit={LAYER: leave})
    with pytest.raises(SystemExit, match="leave"):
        first.result(HANG)
    assert llm.submit([71], PARAMS).result(HANG).token_ids == llm.generate([71], PARAMS).token_ids
