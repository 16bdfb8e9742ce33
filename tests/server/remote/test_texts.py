"""The texts of an engine's process: what is sent of them, and when."""

import pickle
from collections import Counter

import numpy as np
import pytest
from served import wait_for

import nybble
from nybble import RequestError, SamplingParams
from nybble.engine.grammar.grammar import Grammar
from nybble.server.remote.messages import Begin, Begun, Cancel, News, portable
from nybble.server.remote.step_turn import StepTurn
from nybble.server.remote.texts import Texts

IDS = np.arange(5, 20, dtype=np.int32)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def texts(tiny_path, sent):
    with nybble.LLM(tiny_path, n_ctx=1024, n_threads=1) as llm:
        texts = Texts(llm, sent.append)
        llm.scheduler.executor.turn = StepTurn(texts.tell_begun)
        yield texts


def ended(sent):
    news = [each for message in sent if isinstance(message, News) for each in message.texts]
    return [each for each in news if each.end is not None]


def test_a_step_is_one_message(texts, sent):
    n_steps = 30
    for key in range(8):
        texts.begin(
            Begin(key, IDS, SamplingParams(max_tokens=n_steps, ignore_eos=True, n=2, seed=1), None, None)
        )
    wait_for(lambda: len(ended(sent)) == 16)
    messages = [message for message in sent if isinstance(message, News)]
    assert len(messages) <= n_steps + 8  # they may have begun in different steps
    assert all(max(Counter((t.key, t.choice) for t in each.texts).values()) == 1 for each in messages)
    assert all(len(each.end.finish_reason) for each in ended(sent))
    assert not texts._running


def test_what_begins_is_told_before_its_first_news(texts, sent):
    texts.begin(Begin(1, IDS, SamplingParams(max_tokens=3), None, None))
    wait_for(lambda: ended(sent))
    assert isinstance(sent[0], Begun) and list(sent[0].keys) == [1]
    assert sum(isinstance(message, Begun) for message in sent) == 1
    assert not texts._waiting


def test_a_cancelled_text_ends_within_a_step(texts, sent):
    texts.begin(Begin(1, IDS, SamplingParams(max_tokens=1000, ignore_eos=True, n=2), None, None))
    wait_for(lambda: any(isinstance(message, News) for message in sent))
    texts.cancel(Cancel(1, 0))
    wait_for(lambda: ended(sent))
    (end,) = ended(sent)
    assert end.choice == 0 and end.end.finish_reason is None and end.end.error is None
    at_end = end.n_chosen
    texts.cancel(Cancel(1, 1))
    wait_for(lambda: len(ended(sent)) == 2)
    n = Counter(each.choice for message in sent if isinstance(message, News) for each in message.texts)
    assert at_end < 900 and n[0] <= n[1]
    texts.cancel(Cancel(7, 0))  # of one that is not known, or has ended, nothing comes
    assert not texts._running


def test_what_cannot_begin_ends_with_its_error(texts, sent):
    bad = SamplingParams(grammar=Grammar("lark", "start: /(/"), n=2)
    texts.begin(Begin(1, IDS, bad, None, None))
    assert [each.choice for each in ended(sent)] == [0, 1]
    assert all(isinstance(each.end.error, RequestError) for each in ended(sent))


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def test_errors_are_what_they_were_or_say_it():
    error = portable(FileNotFoundError(2, "No such file", "x"))
    assert pickle.loads(pickle.dumps(error)).filename == "x"
    assert str(portable(Odd(1, 2))) == "Odd: 1 and 2"
    assert isinstance(portable(Odd(1, 2)), nybble.NybbleError)
    assert isinstance(portable(MemoryError("none")), MemoryError)
