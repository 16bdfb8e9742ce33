"""States on disk: what is loaded goes on with the bits of what is computed."""

from dataclasses import replace

import numpy as np
import pytest
from saved_states import LOADING, SAVING, loaded, require_whole, rows, text
from state_kinds import KINDS, N_CTX, write_model

import nybble
import nybble.gguf_io.content_hash as content_hash
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.job import LogitsJob
from nybble.engine.scheduler.scheduler import Scheduler
from nybble.engine.scheduler.state_file import load_state, save_state
from nybble.errors import NybbleError, RequestError

LENGTHS = [1, 2, 63, 64, 65, 130, 200]


@pytest.fixture(scope="module", autouse=True)
def hashes(tmp_path_factory):
    """The hashes of these models are not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_hash, "cache_folder", lambda: tmp_path_factory.getbasetemp() / "cache")
        yield


@pytest.fixture(scope="module", params=KINDS)
def path(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("state") / "m.gguf", request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("full") / "m.gguf", "full")


def test_what_is_loaded_goes_on_with_the_same_bits(path, tmp_path):
    file = tmp_path / "a.state"
    with loaded(path, **SAVING) as saving:
        for n, options in zip(LENGTHS, LOADING * len(LENGTHS), strict=False):
            ids = text(saving, n)
            assert saving.save_state(file, ids).tolist() == ids
            with loaded(path, **options) as llm:
                assert llm.load_state(file).tolist() == ids
                longer, other = [*ids, 5, 6], [*ids[: n // 2], 7]
                n_cached, found = rows(llm, longer)
                assert n_cached == n and found == rows(llm, longer, cache_prompt=False)[1]
                assert rows(llm, ids)[1] == rows(saving, ids, cache_prompt=False)[1]
                assert rows(llm, other)[1] == rows(saving, other, cache_prompt=False)[1]
                require_whole(llm)
        require_whole(saving)


def test_the_same_prompt_is_taken_over(path, tmp_path):
    """But for its last token; of recurrent layers from the last page on."""
    with loaded(path, **SAVING) as saving:
        ids = text(saving, 150)
        saving.save_state(tmp_path / "a.state", ids)
        expected = rows(saving, ids)
    with loaded(path, **LOADING[0]) as llm:
        llm.load_state(tmp_path / "a.state")
        assert rows(llm, ids) == expected and expected[0] in (128, 149)


def test_sequences_and_requests(path, tmp_path):
    """They go on after they are saved, and what they have generated is saved, too."""
    file, params = tmp_path / "a.state", nybble.SamplingParams(max_tokens=80)
    with loaded(path, **SAVING) as saving, loaded(path, **LOADING[1]) as llm:
        ids = text(saving, 100)
        sequence = saving.sequence(ids)
        sequence.append([3, 4, 5])
        assert sequence.save(file).tolist() == [*ids, 3, 4, 5] == llm.load_state(file).tolist()
        logits = [sequence.logits.tobytes()]
        sequence.append(9)
        logits.append(sequence.logits.tobytes())
        with llm.sequence([*ids, 3, 4, 5, 9]) as other:
            assert other.logits.tobytes() == logits[1] and other.n_cached_tokens == 103
        sequence.truncate(101)
        assert saving.save_state(file, sequence).tolist() == [*ids, 3]
        fork = sequence.fork()
        sequence.close()
        fork.append(2)
        assert fork.save(file).tolist() == [*ids, 3, 2]
        fork.close()

        stream = saving.stream(text(saving, 90, seed=2), params)
        for _ in range(20):
            next(stream)
        so_far = saving.save_state(file, stream)
        assert so_far.tolist() == [*text(saving, 90, seed=2), *stream.token_ids][:-1]
        llm.load_state(file)
        assert rows(llm, [*so_far.tolist(), 1]) == (len(so_far), rows(saving, [*so_far.tolist(), 1])[1])
        done = stream.result()
        assert done.token_ids == saving.generate(text(saving, 90, seed=2), params).token_ids
        assert len(stream.save(file)) == 90 + len(done.token_ids) - (done.finish_reason == "length")
        for one in (saving, llm):
            require_whole(one)


def test_many_states_beside_each_other(path, tmp_path):
    """They share their first pages; when pages run out, those that were not used for long go."""
    with loaded(path, **SAVING) as saving, loaded(path, **LOADING[0]) as llm:
        stem, files = text(saving, 70), []
        for i in range(6):
            files.append((tmp_path / f"{i}.state", [*stem, *text(saving, 20 * i + 1, seed=i)]))
            saving.save_state(*files[-1])
        random = np.random.default_rng(4)
        for i in random.integers(6, size=20):
            file, ids = files[i]
            assert llm.load_state(file).tolist() == ids
            assert rows(llm, [*ids, 1]) == (len(ids), rows(saving, [*ids, 1], cache_prompt=False)[1])
        require_whole(llm)


@pytest.mark.parametrize("n_seq_max", [1, 2])
def test_running_requests_give_their_pages_and_go_on(path, tmp_path, n_seq_max):
    params = nybble.SamplingParams(max_tokens=40)
    with loaded(path, n_threads=1, n_seq_max=n_seq_max) as llm:
        ids, prompts = text(llm, 250), [text(llm, n, seed=n) for n in (200, 140)]
        llm.save_state(tmp_path / "a.state", ids)
        alone = [llm.generate(prompt, replace(params, cache_prompt=False)).token_ids for prompt in prompts]
        streams = [llm.stream(prompt, params) for prompt in prompts]
        for stream in (*streams, *streams):
            next(stream)
        llm.load_state(tmp_path / "a.state")
        assert "250 of 251 tokens are computed" in llm.explain_cache([*ids, 1])
        assert [stream.result().token_ids for stream in streams] == alone
        require_whole(llm)


def test_a_pool_that_is_too_small(tmp_path, llama):
    """That of an LLM has room for n_ctx tokens; another executor's may not."""
    model = Model.load(llama)
    executors = [NumbaExecutor(model.plan, N_CTX, 1, n_pool_tokens=n) for n in (N_CTX, 100)]
    job = LogitsJob(np.arange(200, dtype=np.int32) % 90, np.array([199]), executors[0].n_outputs)
    job.salt = b""
    large, small = map(Scheduler, executors)
    large.add(job)
    while large.step():
        pass
    assert len(save_state(large, tmp_path / "a", job)) == 200
    with pytest.raises(
        RequestError, match=r"no room for its 200 tokens: .* of 3 is free; .*n_pool_tokens=200"
    ):
        load_state(small, tmp_path / "a")
    small.seating.index.clear()
    assert all(pool.n_free == pool.pages.n for pool in small.seating.seats.pools)
    for executor in executors:
        executor.close()
    model.close()


def test_edits_with_a_key(llama, tmp_path):
    def edit(value, info):
        value[:] *= 1.5

    file, edits = tmp_path / "a.state", {"blk.0.resid_post": edit}
    with loaded(llama, **SAVING) as saving, loaded(llama, **LOADING[0]) as llm:
        ids = text(saving, 100)
        with saving.sequence(ids, edit=edits) as sequence:
            with pytest.raises(RequestError, match=r"cannot be saved: edits .*cache_key"):
                sequence.save(file)
            with pytest.raises(RequestError, match="cannot be saved: edits"):
                saving.save_state(file, saving.stream(ids, edit=edits))
        with pytest.raises(RequestError, match="cache_prompt=False"):
            saving.sequence(ids, cache_prompt=False).save(file)
        assert not file.exists()
        edit.cache_key = "times 1.5"
        saving.sequence(ids, edit=edits).save(file)
        llm.load_state(file)
        assert llm.sequence(ids).n_cached_tokens == rows(llm, ids)[0] == 0
        edited = [one.sequence(ids, edit=edits) for one in (llm, saving)]
        assert edited[0].logits.tobytes() == edited[1].logits.tobytes()
        assert edited[0].n_cached_tokens == 99


def test_what_cannot_be_saved(llama, tmp_path):
    with loaded(llama, **SAVING) as llm, loaded(llama, **LOADING[0]) as other:
        for prompt in ([], [10**6], "", None):
            with pytest.raises(RequestError):
                llm.save_state(tmp_path / "a.state", prompt)
        with pytest.raises(RequestError, match="belong to this LLM"):
            llm.save_state(tmp_path / "a.state", other.sequence([1, 2]))
        with pytest.raises(RequestError, match="n=2"):
            llm.save_state(tmp_path / "a.state", llm.stream([1, 2], nybble.SamplingParams(n=2)))
        with pytest.raises(RequestError, match="nothing of these tokens is computed"):
            llm.save_state(tmp_path / "a.state", llm.stream([1, 2]))
        with pytest.raises(FileNotFoundError):
            llm.save_state(tmp_path / "no folder" / "a.state", [1, 2])
        sequence = llm.sequence([1, 2])
        sequence.close()
        with pytest.raises(RequestError, match="closed"):
            sequence.save(tmp_path / "a.state")
        llm.save_state(tmp_path / "b.state", [1, 2])
    for closed in (lambda: llm.save_state(tmp_path / "a", [1]), lambda: llm.load_state(tmp_path / "b.state")):
        with pytest.raises(NybbleError, match="closed"):
            closed()
    assert [file.name for file in tmp_path.iterdir()] == ["b.state"]
    with nybble.LLM(llama, executor="reference") as llm:
        for refused in (lambda: llm.save_state(tmp_path / "a", [1]), lambda: llm.load_state(tmp_path / "b")):
            with pytest.raises(RequestError, match=r'no pages.*executor="numba"'):
                refused()
