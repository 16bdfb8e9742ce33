"""Models that are loaded on demand and unloaded to make room, by a clock and doors that the test opens."""

import asyncio
import math

import pytest
from model_house import Guest, House, settled, until

from nybble.errors import ModelError
from nybble.server.wire.errors import APIError


def run(scenario):
    """Runs `scenario(house, loader, entries)`."""

    async def whole(house, budget):
        loader = house.loader(budget)
        try:
            await scenario(house, loader, house.entries())
        finally:
            for gate in house.may_open.values():
                gate.set()
            loader.close()

    return lambda house, budget=None: asyncio.run(asyncio.wait_for(whole(house, budget), 60))


def unloaded(house):
    return [(facts["model"], facts["why"]) for message, facts in house.told if message == "unloaded"]


def test_many_wait_for_one_load():
    @run
    async def scenario(house, loader, entries):
        house.may_open["a"].clear()
        guests = [Guest(loader, entries["a"]) for _ in range(20)]
        await until(lambda: house.opened)
        await settled()
        assert entries["a"].state == "loading" and not any(guest.task.done() for guest in guests)
        house.may_open["a"].set()
        models = await asyncio.gather(*(guest.task for guest in guests))
        assert len(set(map(id, models))) == 1 and house.opened == ["a"]
        assert entries["a"].n_users == 20 and [guest.waited for guest in guests] == [1] * 20
        late = Guest(loader, entries["a"])
        assert await late.task is models[0] and late.waited == 0
        for guest in (*guests, late):
            guest.leave()
        assert entries["a"].n_users == 0 and entries["a"].state == "loaded"
        ((_, facts),) = [told for told in house.told if told[0] == "loaded"]
        assert facts["bytes"] == 5 and facts["seconds"] >= 0

    scenario(House(a=5))


def test_the_least_recently_used_goes_first():
    @run
    async def scenario(house, loader, entries):
        for name in "abcab":  # c was used last but two
            house.now += 1
            guest = Guest(loader, entries[name])
            await guest.task
            guest.leave()
        await Guest(loader, entries["d"]).task
        assert unloaded(house) == [("c", "room for d")] and house.closed == ["c"]
        assert loader.n_bytes == 9 and (loader.n_loads, loader.n_unloads) == (4, 1)

    scenario(House(a=3, b=3, c=3, d=3), 9)


def test_as_many_go_as_it_takes():
    @run
    async def scenario(house, loader, entries):
        for name in "abc":
            house.now += 1
            guest = Guest(loader, entries[name])
            await guest.task
            guest.leave()
        await Guest(loader, entries["d"]).task
        assert [name for name, _ in unloaded(house)] == ["a", "b"] and entries["c"].state == "loaded"

    scenario(House(a=3, b=3, c=3, d=6), 9)


def test_what_cannot_fit_is_refused_before_anything_goes():
    @run
    async def scenario(house, loader, entries):
        guest = Guest(loader, entries["a"])
        await guest.task
        guest.leave()
        large = Guest(loader, entries["b"])
        with pytest.raises(APIError, match=r"needs 10,000 MB of memory, and .* 9,000 MB") as refused:
            await large.task
        assert (refused.value.status, refused.value.code) == (400, "model_too_large")
        assert large.waited == 0 and house.opened == ["a"] and not house.closed

    scenario(House(a=3 * 10**9, b=10**10), 9 * 10**9)


def test_busy_ones_are_waited_for_and_nobody_overtakes():
    @run
    async def scenario(house, loader, entries):
        busy, other = Guest(loader, entries["a"]), Guest(loader, entries["b"])
        await asyncio.gather(busy.task, other.task)
        other.leave()
        waiting = Guest(loader, entries["c"])  # needs the room of both
        behind = Guest(loader, entries["a"])
        await settled()
        assert not waiting.task.done() and not behind.task.done()
        assert entries["b"].state == "loaded", "nothing goes before all can"
        busy.leave()
        await waiting.task
        assert sorted(house.closed) == ["a", "b"] and not behind.task.done()
        waiting.leave()
        await behind.task
        assert house.opened == ["a", "b", "c", "a"]

    scenario(House(a=4, b=4, c=8), 8)


def test_who_leaves_while_waiting_frees_the_way():
    @run
    async def scenario(house, loader, entries):
        busy = Guest(loader, entries["a"])
        await busy.task
        waiting = Guest(loader, entries["b"])
        behind = Guest(loader, entries["a"])
        await settled()
        assert not behind.task.done()
        waiting.leave()
        await behind.task
        assert house.opened == ["a"] and not house.closed and not entries["b"].waiters
        busy.leave()
        behind.leave()
        assert entries["a"].n_users == 0 and entries["a"].is_ready

    scenario(House(a=5, b=5), 8)


def test_a_load_that_nobody_waits_for_any_more_ends_idle():
    @run
    async def scenario(house, loader, entries):
        house.may_open["a"].clear()
        guest = Guest(loader, entries["a"])
        await until(lambda: house.opened)
        guest.leave()
        await settled()
        house.may_open["a"].set()
        await until(lambda: entries["a"].is_idle)
        await Guest(loader, entries["b"]).task
        assert unloaded(house) == [("a", "room for b")]

    scenario(House(a=5, b=5), 8)


def test_who_leaves_at_the_moment_of_the_answer_does_not_keep_it():
    @run
    async def scenario(house, loader, entries):
        guest = Guest(loader, entries["a"])
        loop, tell = asyncio.get_running_loop(), house.tell

        def leaving(message, level=20, **facts):
            tell(message, **facts)
            if message == "loaded":  # the model is about to be given
                loop.call_soon(guest.task.cancel)

        loader._tell = leaving
        with pytest.raises(asyncio.CancelledError):
            await guest.task
        assert entries["a"].n_users == 0

    scenario(House(a=5))


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            ModelError("/models/a.gguf: blk.0 is missing"),
            503,
            "the model a cannot be loaded: the model a: blk",
        ),
        (PermissionError(13, "Permission denied", "/models/a-00002.gguf"), 503, "denied: 'a-00002.gguf'"),
        (MemoryError(), 503, "no memory is left"),
        (ZeroDivisionError(), 500, "its log has the cause"),
    ],
)
def test_a_failing_load_answers_all_and_is_tried_again(error, status, text):
    @run
    async def scenario(house, loader, entries):
        house.errors["a"] = error
        house.may_open["a"].clear()
        guests = [Guest(loader, entries["a"]) for _ in range(3)]
        await until(lambda: house.opened)
        house.may_open["a"].set()
        for guest in guests:
            with pytest.raises(APIError) as refused:
                await guest.task
            assert refused.value.status == status and text in refused.value.message
            assert "/models" not in refused.value.message
        assert house.opened == ["a"] and loader.n_bytes == 0 and loader.n_failed == 1
        assert entries["a"].problem and house.failures == ([error] if status == 500 else [])
        del house.errors["a"]
        await Guest(loader, entries["a"]).task
        assert house.opened == ["a", "a"] and not entries["a"].problem

    scenario(House(a=5), 8)


def test_others_go_on_while_one_is_loaded():
    @run
    async def scenario(house, loader, entries):
        await Guest(loader, entries["a"]).task
        house.may_open["b"].clear()
        slow, next_ = Guest(loader, entries["b"]), Guest(loader, entries["c"])
        await until(lambda: "b" in house.opened)
        await asyncio.wait_for(Guest(loader, entries["a"]).task, 20)
        assert not slow.task.done() and house.opened == ["a", "b"], "one load after the other"
        house.may_open["b"].set()
        await asyncio.gather(slow.task, next_.task)

    scenario(House(a=1, b=1, c=1))


def test_what_has_no_work_goes_after_its_time():
    @run
    async def scenario(house, loader, entries):
        entries["b"].usual_keep_alive = math.inf
        guests = [Guest(loader, entries[name]) for name in "ab"]
        await asyncio.gather(*(guest.task for guest in guests))
        house.now += 1000
        loader.unload_expired()
        assert entries["a"].state == "loaded", "it works"
        for guest in guests:
            guest.leave()
        house.now += 299
        loader.unload_expired()
        assert entries["a"].state == "loaded"
        house.now += 1
        loader.unload_expired()
        await until(lambda: entries["a"].state == "not loaded")
        house.now += 10**9
        loader.unload_expired()
        await settled()
        assert unloaded(house) == [("a", "idle for 300 s")] and entries["b"].state == "loaded"

    scenario(House(a=5, b=5))


def test_the_clock_wakes_it_up():
    @run
    async def scenario(house, loader, entries):
        entries["a"].usual_keep_alive = 0.001
        guest = Guest(loader, entries["a"])
        await guest.task
        house.now += 1
        guest.leave()
        house.now += 1
        await until(lambda: house.closed == ["a"])

    scenario(House(a=5))


def test_a_time_of_zero_ends_with_the_last_request():
    @run
    async def scenario(house, loader, entries):
        guests = [Guest(loader, entries["a"]) for _ in range(2)]
        await asyncio.gather(*(guest.task for guest in guests))
        entries["a"].keep_alive = 0
        guests[0].leave()
        assert entries["a"].state == "loaded"
        guests[1].leave()
        assert entries["a"].state == "unloading"
        again = Guest(loader, entries["a"])
        await again.task
        assert house.opened == ["a", "a"] and entries["a"].keep_alive == 300

    scenario(House(a=5))


def test_a_queue_that_is_full_keeps_nothing():
    @run
    async def scenario(house, loader, entries):
        def full():
            raise APIError(503, "full")

        with pytest.raises(APIError, match="full"):
            await loader.take(entries["a"], full)
        assert not entries["a"].waiters and not house.opened

    scenario(House(a=5))


def test_when_the_server_ends_all_are_closed():
    @run
    async def scenario(house, loader, entries):
        await Guest(loader, entries["a"]).task
        house.may_open["b"].clear()
        loading, queueing = Guest(loader, entries["b"]), Guest(loader, entries["c"])
        await until(lambda: "b" in house.opened)
        loader.fail_all(RuntimeError("the server ends"))
        for guest in (loading, queueing):
            with pytest.raises(APIError, match="the server ends"):
                await guest.task
        loader.close()
        loader.close()
        assert house.closed == ["a"]
        house.may_open["b"].set()
        await until(lambda: house.closed == ["a", "b"])
        assert "c" not in house.opened

    scenario(House(a=5, b=5, c=5))
