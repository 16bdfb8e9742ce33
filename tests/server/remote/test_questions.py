"""What is asked of an engine's process ends within a step when nobody wants it any more."""

import threading

import pytest
from accounts import require_free
from served import wait_for
from stuck_backend import SlowSteps

import nybble
from nybble.errors import EngineError
from nybble.server.remote.errands import RemoteCall
from nybble.server.remote.ledger import Ledger
from nybble.server.remote.messages import Answer, Cancel, Question
from nybble.server.remote.questions import Questions
from nybble.system.asker import Asker, AskerLeftError

LONG = list(range(5, 105))
EMBED = ("embed", ([LONG] * 20,), {"pooling": "mean"})


@pytest.fixture
def short_steps(tiny_path):
    with nybble.LLM(tiny_path, n_ctx=256, n_threads=1, n_batch=16) as llm:
        yield llm


def test_a_cancelled_one_ends_within_a_step(short_steps):
    sent = []
    questions = Questions(short_steps, sent.append)
    steps = SlowSteps(short_steps)
    questions.begin(Question(1, *EMBED))
    assert steps.is_held.wait(20)
    for key in range(2, 8):
        questions.begin(Question(key, *EMBED))
    for key in range(1, 8):  # some of them have no thread yet
        questions.cancel(Cancel(key))
    steps.go_on()
    wait_for(lambda: len(sent) == 7)
    assert sorted(answer.key for answer in sent) == list(range(1, 8))
    assert all(isinstance(answer.error, AskerLeftError) and answer.value is None for answer in sent)
    assert steps.n_begun == 3 and not questions._running
    require_free(short_steps)
    questions.cancel(Cancel(1))  # it has crossed with the answer
    assert len(sent) == 7


def test_what_cannot_be_sent_is_told(short_steps):
    sent = []

    def send(message):
        if message.error is None:
            raise TypeError("it cannot be pickled")
        sent.append(message)

    Questions(short_steps, send).begin(Question(1, "stats", (), {}))
    wait_for(lambda: sent)
    assert isinstance(sent[0].error, TypeError)


def test_a_call_that_is_given_up_is_cancelled_and_forgotten():
    sent = []
    ledger = Ledger(lambda error: error)
    ledger.begin(sent.append)
    call = RemoteCall(*EMBED)
    ledger.add(call)
    ledger.give_up(call)
    with pytest.raises(AskerLeftError):
        call.result()
    assert sent == [Question(1, *EMBED), Cancel(1)]
    ledger.read(Answer(1, "too late", None))
    with pytest.raises(AskerLeftError):
        call.result()
    assert not ledger._errands


def test_a_call_that_is_given_up_is_not_asked_again():
    """The process has died meanwhile, or was not there yet."""
    sent = []
    ledger = Ledger(lambda error: error)
    waiting, running = RemoteCall(*EMBED), RemoteCall(*EMBED)
    ledger.add(waiting)
    ledger.give_up(waiting)
    ledger.begin(sent.append)
    assert not sent and not ledger._errands
    ledger.add(running)
    ledger.give_up(running)
    ledger.after_death(EngineError)
    ledger.begin(sent.append)
    assert sent == [Question(2, *EMBED), Cancel(2)] and not ledger._errands


@pytest.mark.parametrize(
    "work",
    [
        lambda engine: engine.embed([LONG] * 1000, pooling="mean"),
        lambda engine: engine.capture(LONG * 9, "blk.*.resid_post"),
    ],
)
def test_a_real_one_ends(opened, work):
    """In another process, in its short steps: thousands of them would be left."""
    engine = opened(n_batch=1)
    asker, errors = Asker(), []

    def run():
        try:
            asker.run(work, engine)
        except AskerLeftError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: engine.stats().n_steps > 2)
    asker.leave()
    thread.join(20)
    assert len(errors) == 1
    wait_for(lambda: not engine._ledger._errands)
    stats = engine.stats()
    assert stats.n_running == stats.n_waiting == 0 and stats.n_tokens < 900
    assert stats.n_pages_used == 0
