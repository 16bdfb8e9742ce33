"""What is done for somebody ends when he leaves, and nothing else does."""

import threading

import pytest

from nybble.system.asker import Asker, AskerLeftError, check_asker, unless_asker_leaves, while_asked


def test_what_waits_is_told_and_then_ends():
    asker, waits, told = Asker(), threading.Event(), threading.Event()
    errors = []

    def work():
        try:
            with unless_asker_leaves(told.set):
                waits.set()
                assert told.wait(20)
        except AskerLeftError as error:
            errors.append(error)

    thread = threading.Thread(target=asker.run, args=[work])
    thread.start()
    assert waits.wait(20)
    asker.leave()
    thread.join(20)
    assert len(errors) == 1 and not asker._on_leave


def test_nothing_begins_for_one_who_has_left():
    asker, begun = Asker(), []
    asker.leave()
    with pytest.raises(AskerLeftError):
        asker.run(begun.append, 1)
    assert not begun


def test_leaving_counts_more_than_what_it_has_led_to():
    asker = Asker()

    def work():
        with unless_asker_leaves(lambda: None):
            asker.leave()
            raise ValueError("a job has ended without a result")

    with pytest.raises(AskerLeftError):
        asker.run(work)


def test_others_go_on():
    asker, told = Asker(), []

    def work():
        with unless_asker_leaves(lambda: told.append(1)):
            return 7

    assert asker.run(work) == 7
    asker.leave()
    asker.leave()
    assert not told
    check_asker()  # this thread works for nobody
    with unless_asker_leaves(lambda: told.append(2)):
        pass
    assert list(while_asked(range(3000))) == list(range(3000))


def test_long_lists_end_in_between():
    asker, seen = Asker(), []

    def work():
        for i in while_asked(range(10_000)):
            seen.append(i)
            if i == 5:
                asker.leave()

    with pytest.raises(AskerLeftError):
        asker.run(work)
    assert 5 < len(seen) < 2000
