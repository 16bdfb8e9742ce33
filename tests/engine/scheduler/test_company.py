"""Jobs in random company: whoever comes, leaves, waits or shares, each has the bits that it has alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from state_kinds import KINDS, N_CTX, loaded, write_model

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.numba.storage.caches import KVCache
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.scheduler.job import DraftingJob
from nybble.engine.scheduler.scheduler import Scheduler
from nybble.engine.scheduler.seats import single_seat
from nybble.engine.speculation.drafter import Drafter

EXECUTORS = [  # threads, tokens in a step, sequences, tokens in the pool
    (1, 40, 1, N_CTX),
    (2, 64, 3, N_CTX),
    (1, 512, 2, 2 * N_CTX),
    (2, 7, 4, N_CTX + 64),
]


class Greedy(DraftingJob):
    """Takes the most probable token n times, and keeps all logits."""

    def __init__(self, ids, n, salt=b"", taps=None):
        super().__init__(np.asarray(ids, np.int32), taps, salt)
        self.n_most, self.rows, self.is_paused = n, [], False

    @property
    def is_ready(self):
        return super().is_ready and not self.is_paused

    def wanted(self, first, end):
        return np.arange(end - 1, end) if end == len(self.ids) else np.arange(0)

    def take(self, end, positions, logits):
        if len(positions):
            self.rows.append(logits[0].tobytes())
            self.ids.append(int(logits[0].argmax()))
            self.is_done = len(self.rows) == self.n_most

    @property
    def n_draftable(self):
        return self.n_most - len(self.rows) - 1

    def verify(self, drafted, logits):
        for i, row in enumerate(logits):
            self.take(0, [i], [row])
            if self.is_done or i == len(drafted) or self.ids[-1] != drafted[i]:
                return i
        return len(drafted)


class Guess:
    """Drafts of a text that is known, wrong now and then."""

    def __init__(self, text, random):
        self.text, self.random, self.n = text, random, 0

    def extend(self, ids):
        self.n += len(ids)

    def propose(self, n):
        drafted = self.text[self.n : self.n + n]
        return [id_ if self.random.random() < 0.8 else 1 for id_ in drafted]


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    yield from loaded(write_model(tmp_path_factory.mktemp("company") / "m.gguf", request.param))


@pytest.fixture(scope="module")
def executors(model):
    made = [
        NumbaExecutor(model.plan, N_CTX, n_threads, n_batch, n_seq_max=n_seq_max, n_pool_tokens=n_pool_tokens)
        for n_threads, n_batch, n_seq_max, n_pool_tokens in EXECUTORS
    ]
    yield made
    for executor in made:
        executor.close()


@pytest.fixture(scope="module")
def alone(model):
    """The rows that a job has alone, by its prompt: (n_most, n_vocab) logits."""
    executor = NumbaExecutor(model.plan, N_CTX, 1, 50)
    seat, known = single_seat(executor), {}

    def rows(prompt, n):
        found = known.setdefault(tuple(prompt), [])
        if len(found) < n:
            seat.reset()
            ids, found[:] = list(prompt), []
            while len(found) < n:
                new = np.array(ids[seat.n_positions :], np.int32)
                logits = seat.forward(new, seat.n_positions, np.array([len(new) - 1]))[0]
                found.append(logits.tobytes())
                ids.append(int(logits.argmax()))
        return found[:n]

    yield rows
    executor.close()


def prompts(n_vocab):
    """Prompts that often have long beginnings in common."""
    random = np.random.default_rng(5)
    stems = random.integers(0, n_vocab, (3, 230)).tolist()
    tails = random.integers(0, n_vocab, (4, 12)).tolist()
    return st.builds(
        lambda stem, n, tail, m: stems[stem][:n] + tails[tail][:m],
        st.integers(0, 2),
        st.sampled_from([1, 3, 63, 64, 65, 100, 128, 130, 200, 230]),
        st.integers(0, 3),
        st.integers(0, 12),
    )


def contents(executor, shared):
    """What the pages of each pool hold that more than one sequence uses."""
    digest = hashlib.sha256()
    for cache in executor.caches:
        if isinstance(cache, KVCache):
            pages = shared[executor.pages.index(cache.pages)]
            for part in (cache.keys.array, cache.values.array):
                digest.update(part.reshape(len(part), cache.pages.n, -1)[:, pages].tobytes())
    return digest.digest()


def shared_pages(scheduler):
    return [
        [page for page in range(pool.pages.n) if pool.n_users(page) > 1]
        for pool in scheduler.seating.seats.pools
    ]


class Guarded:
    """An executor that is looked at in each step: of pages that several sequences use nothing is written."""

    def __init__(self, executor):
        self._executor = executor

    def __getattr__(self, name):
        return getattr(self._executor, name)

    def step(self, pieces):
        shared = shared_pages(self.scheduler)
        before = contents(self._executor, shared)
        results = self._executor.step(pieces)
        assert contents(self._executor, shared) == before
        return results


def close(scheduler):
    """All pages are free when nobody is there."""
    seating = scheduler.seating
    assert not seating.seated and seating.seats.n_free == scheduler.executor.n_seq_max
    if seating.index is not None:
        seating.index.clear()
        assert len(seating.index) == 0
    assert all(pool.n_free == pool.pages.n for pool in seating.seats.pools)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
)
@given(data=st.data())
def test_same_bits_in_any_company(executors, alone, model, data):
    scheduler = Scheduler(Guarded(data.draw(st.sampled_from(executors))))
    scheduler.executor.scheduler = scheduler
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    scheduler._speculation._lengths.choose = lambda n_rows, texts: [
        int(random.integers(min(n, 7) + 1)) for _, n in texts
    ]
    jobs: list[Greedy] = []
    asked = {}
    for _ in range(data.draw(st.integers(5, 40))):
        what = data.draw(st.sampled_from(["add", "add", "step", "step", "step", "pause", "cancel", "lose"]))
        active = [job for job in jobs if not job.is_done]
        if what == "add" and len(active) < 8:
            prompt, n = data.draw(prompts(model.config.n_vocab)), data.draw(st.integers(1, 9))
            jobs.append(Greedy(prompt, n, data.draw(st.sampled_from([b"", b"", b"other", None]))))
            asked[jobs[-1]] = prompt, n
            if data.draw(st.booleans()):
                text = prompt + [int(np.frombuffer(row, np.float32).argmax()) for row in alone(prompt, n)]
                jobs[-1].make_drafter = lambda text=text: Drafter(Guess(text, random))
            scheduler.add(jobs[-1])
        elif what == "step":
            scheduler.step()
        elif active:
            job = data.draw(st.sampled_from(active))
            if what == "pause":
                job.is_paused = not job.is_paused
            elif what == "cancel":
                scheduler.remove(job)
            else:  # as after an interrupted step
                scheduler.seating.unseat(job, keeps=False)
    for job in jobs:
        job.is_paused = False
    while scheduler.step():
        pass
    assert not scheduler._jobs
    for job, (prompt, n) in asked.items():
        assert job.is_done and job.error is None
        assert job.rows == alone(prompt, n)[: len(job.rows)]
        assert job.n_cached_tokens < len(prompt) and (job.salt is not None or job.n_cached_tokens == 0)
    close(scheduler)


@pytest.mark.parametrize("share_right", [1.0, 0.7, 0.0])
def test_drafts_save_steps_and_change_no_bits(executors, alone, model, share_right):
    """Also where states cannot go back to before a wrong token: then the right ones run once more."""

    class Sometimes:
        def random(self):
            return 0.0 if random.random() < share_right else 1.0

    random = np.random.default_rng(5)
    prompt, n = random.integers(0, model.config.n_vocab, 50).tolist(), 24
    text = prompt + [int(np.frombuffer(row, np.float32).argmax()) for row in alone(prompt, n)]
    scheduler = Scheduler(executors[0])
    scheduler._speculation._lengths.choose = lambda n_rows, texts: [min(n, 5) for _, n in texts]
    job = Greedy(prompt, n)
    job.make_drafter = lambda: Drafter(Guess(text, Sometimes()))
    scheduler.add(job)
    n_steps = 0
    while scheduler.step():
        n_steps += 1
    assert job.error is None and job.rows == alone(prompt, n)
    n_prompt_steps, n_again = 2, 5 if executors[0].n_state_bytes else 0
    assert n_steps <= n_prompt_steps + {1.0: 5, 0.7: 14 + n_again, 0.0: n}[share_right]
    close(scheduler)


def test_a_prefix_is_computed_once(executors, alone, model):
    """Eight prompts that share their first 200 tokens, all at the same time."""
    random = np.random.default_rng(7)
    stem = random.integers(0, model.config.n_vocab, 200).tolist()
    tails = [[i, 5, 6] for i in range(8)]
    for executor in executors:
        scheduler = Scheduler(executor)
        jobs = [Greedy(stem + tail, 2) for tail in tails]
        scheduler.add(*jobs)
        while scheduler.step():
            pass
        assert [job.error for job in jobs] == [None] * 8
        assert [job.rows for job in jobs] == [alone(stem + tail, 2) for tail in tails]
        cached = sorted(job.n_cached_tokens for job in jobs)
        assert cached[0] == 0
        assert all(192 <= n <= 200 for n in cached[1:]), cached
        close(scheduler)


def test_the_pool_is_whole_after_many_requests(executors, model):
    """Of texts that share beginnings of any length, some of which end before they have run."""
    random = np.random.default_rng(5)
    stems = random.integers(0, model.config.n_vocab, (6, 200)).tolist()
    scheduler = Scheduler(executors[1])
    live = []
    for _ in range(500):
        stem = stems[random.integers(6)]
        prompt = [*stem[: random.integers(1, 201)], int(random.integers(5))]
        job = Greedy(prompt, int(random.integers(1, 4)), [b"", b"x", None][random.integers(3)])
        scheduler.add(job)
        live.append(job)
        if random.random() < 0.2:
            scheduler.remove(live[random.integers(len(live))])
        while len(live) > 6:
            assert scheduler.step()
            assert all(job.error is None for job in live)
            live = [job for job in live if not job.is_done]
    while scheduler.step():
        pass
    assert all(job.is_done for job in live)
    close(scheduler)


def test_the_reference_runs_the_same_schedules(model):
    """It shares nothing, but jobs come and go there, too."""
    executor = ReferenceExecutor(model.plan, N_CTX, 64, n_seq_max=3)
    random = np.random.default_rng(3)
    texts = [random.integers(0, model.config.n_vocab, n).tolist() for n in (5, 70, 12, 30)]

    def run(*texts):
        scheduler, jobs = Scheduler(executor), [Greedy(text, 4) for text in texts]
        scheduler.add(*jobs)
        while scheduler.step():
            pass
        close(scheduler)
        return [job.ids for job in jobs]

    assert run(*texts) == [run(text)[0] for text in texts]
    executor.close()
