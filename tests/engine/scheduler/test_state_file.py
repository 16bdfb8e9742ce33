"""States on disk: what is loaded has the bits of what is computed; a bad file is refused with the reason."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from state_kinds import KINDS, N_CTX, write_model

import nybble
import nybble.gguf_io.content_hash as content_hash
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.job import LogitsJob
from nybble.engine.scheduler.scheduler import Scheduler
from nybble.engine.scheduler.state_file import MAGIC, load_state, read_state, save_state, write_state
from nybble.engine.scheduler.state_key import StateKey
from nybble.errors import NybbleError, RequestError

SAVING = {"n_threads": 1, "n_batch": 100, "n_seq_max": 4}
LOADING = [  # other threads, steps, seats and pools
    {"n_threads": 2, "n_batch": 7, "n_seq_max": 1},
    {"n_threads": 1, "n_batch": 512, "n_seq_max": 3, "n_pool_tokens": 2 * N_CTX},
]
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


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("hybrid") / "m.gguf", "hybrid")


def loaded(path, **options):
    return nybble.LLM(path, n_ctx=options.pop("n_ctx", N_CTX), **options)


def text(llm, n, seed=1):
    return np.random.default_rng(seed).integers(0, llm.config.n_vocab, n).tolist()


def rows(llm, ids, n=3, cache_prompt=True):
    """How many of `ids` were computed already, and the logits of the n tokens that follow greedily."""
    with llm.sequence(ids, cache_prompt=cache_prompt) as sequence:
        found = []
        for _ in range(n):
            found.append(sequence.logits.tobytes())
            sequence.append(int(sequence.logits.argmax()))
        return sequence.n_cached_tokens, found


def require_whole(llm):
    """All pages are free when nobody is there."""
    seating = llm.scheduler.seating
    assert not seating.seated and seating.seats.n_free == llm.scheduler.executor.n_seq_max
    seating.index.clear()
    assert len(seating.index) == 0
    assert all(pool.n_free == pool.pages.n for pool in seating.seats.pools)


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


@pytest.fixture(scope="module")
def saved(hybrid, tmp_path_factory):
    """A state of 100 tokens, its bytes, and an LLM that can load it."""
    file = tmp_path_factory.mktemp("saved") / "a.state"
    with loaded(hybrid, **SAVING) as llm:
        ids = text(llm, 100)
        llm.save_state(file, ids)
    with loaded(hybrid, **LOADING[0]) as llm:
        yield file, ids, llm


def refusal(llm, file):
    with pytest.raises(RequestError) as caught:
        llm.load_state(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_another_model(llama, tmp_path):
    other = tiny_model.write(tmp_path / "other.gguf", "llama", "Q8_0", n_ctx=N_CTX, seed=1)
    copy = shutil.copy(llama, tmp_path / "copy.gguf")
    file = tmp_path / "a.state"
    with loaded(llama, **SAVING) as llm:
        llm.save_state(file, [1, 2, 3])
    with loaded(other) as llm:
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (llama, other)]
        assert "another model: the SHA-256 of its file is {}, that of this model's {}".format(*digests) in (
            refusal(llm, file)
        )
        require_whole(llm)
    with loaded(copy) as llm:
        assert llm.load_state(file).tolist() == [1, 2, 3]


OTHERS = {
    "nybble": ("0.0.1", "saved by nybble 0.0.1"),
    "executor": ("Other", "another executor"),
    "page_size": (32, "pages of 32 tokens"),
    "windows": ((0, 5), "other windows"),
    "pages": (((("<f4", (2, 3)),),), r"another cache type.*<f4.*load the model as"),
    "states": ((), "recurrent states are"),
    "angles": ("", "n_ctx that it had"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_key(saved, tmp_path, name):
    file, _, llm = saved
    value, reason = OTHERS[name]
    key = StateKey.of(llm.scheduler.executor, llm.scheduler.model_hash())
    state = read_state(file, key, llm.n_ctx, llm.config.n_vocab)
    write_state(tmp_path / "other.state", replace(key, **{name: value}), state)
    with pytest.raises(RequestError, match=reason):
        llm.load_state(tmp_path / "other.state")


def test_too_many_tokens(llama, tmp_path):
    with loaded(llama) as llm:
        llm.save_state(tmp_path / "a.state", text(llm, 200))
        require_whole(llm)
    with loaded(llama, n_ctx=150) as llm:
        assert "has 200 tokens, more than n_ctx=150; load the model with n_ctx=200" in (
            refusal(llm, tmp_path / "a.state")
        )
        require_whole(llm)


@pytest.mark.parametrize("content", [b"", b"nybble", b"GGUF" + bytes(100), b"\x80\x04.", bytes(5000)])
def test_no_state_file(saved, tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert "no state file" in refusal(saved[2], tmp_path / "a")


def test_paths_without_a_state(saved, tmp_path):
    llm = saved[2]
    with pytest.raises(FileNotFoundError):
        llm.load_state(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        llm.load_state(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "no regular file" in refusal(llm, tmp_path / "pipe")


def test_another_version(saved, tmp_path):
    file, _, llm = saved
    (tmp_path / "a").write_bytes(file.read_bytes().replace(b"state 1", b"state 2", 1))
    assert "another version of nybble" in refusal(llm, tmp_path / "a")


def lengths_of_parts(content):
    """Where the parts of a state file end, as its documentation says."""
    n_header = int.from_bytes(content[len(MAGIC) :][:4], "little")
    ends = np.cumsum([len(MAGIC), 4, n_header, 32])
    n_tokens = json.loads(content[ends[1] : ends[2]])["n_tokens"]
    return [*ends.tolist(), int(ends[-1]) + 4 * n_tokens, len(content) - 32]


def test_files_that_are_cut_short_or_longer(saved, tmp_path):
    file, ids, llm = saved
    content = file.read_bytes()
    parts = lengths_of_parts(content)
    near = {end + by for end in (0, *parts, len(content)) for by in (-1, 0, 1)}
    random = np.random.default_rng(2).integers(len(content), size=100).tolist()
    for n in sorted({n for n in (*near, *random) if 0 <= n < len(content)}):
        (tmp_path / "a").write_bytes(content[:n])
        reason = refusal(llm, tmp_path / "a")
        assert n < len(MAGIC) or "cut short" in reason
    for more in (b"\0", content, bytes(1 << 20)):
        (tmp_path / "a").write_bytes(content + more)
        assert "cut short or changed" in refusal(llm, tmp_path / "a")
    assert llm.load_state(file).tolist() == ids


def test_every_changed_byte_is_seen(saved, tmp_path):
    file, ids, llm = saved
    content, random = file.read_bytes(), np.random.default_rng(3)
    parts = lengths_of_parts(content)
    places = [
        *range(100),
        *parts,
        *random.integers(len(content), size=200),
        *random.integers(parts[3], size=100),
    ]
    for place in places:
        mutant = bytearray(content)
        mutant[place] ^= 1 << random.integers(8)
        (tmp_path / "a").write_bytes(mutant)
        refusal(llm, tmp_path / "a")
    llm.load_state(file)
    assert rows(llm, [*ids, 1])[1] == rows(llm, [*ids, 1], cache_prompt=False)[1]
    require_whole(llm)


def signed(header, body):
    """A file with right checksums."""
    start = MAGIC + len(header).to_bytes(4, "little") + header
    content = start + hashlib.sha256(start).digest() + body
    return content + hashlib.sha256(content).digest()


def parts_of(content):
    parts = lengths_of_parts(content)
    return content[parts[1] : parts[2]], content[parts[3] : -32]


def test_forged_bodies_do_no_harm(saved, tmp_path):
    """Bytes changed, taken out and put in, with right checksums: they are refused, or are other numbers."""
    file, ids, llm = saved
    header, body = parts_of(file.read_bytes())
    random = np.random.default_rng(6)
    n_refused = 0
    for _ in range(300):
        mutant = bytearray(body)
        for _ in range(random.integers(1, 4)):
            place = int(random.integers(len(body) if random.random() < 0.3 else 420))
            what = random.integers(4)
            if what == 0:
                del mutant[place : place + int(random.integers(1, 3000))]
            elif what == 1:
                mutant[place:place] = random.bytes(random.integers(1, 3000))
            else:
                mutant[place : place + 1] = random.bytes(1)
        (tmp_path / "a").write_bytes(signed(header, mutant))
        try:
            assert len(llm.load_state(tmp_path / "a")) == 100
        except NybbleError:
            n_refused += 1
        require_whole(llm)
    assert 100 < n_refused < 300
    assert rows(llm, [*ids, 1])[1] == rows(llm, [*ids, 1], cache_prompt=False)[1]


HEADERS = [
    b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"key": 1}', b"\xff\xfe", b"1" * 5000,
    {"n_tokens": 0}, {"n_tokens": -1}, {"n_tokens": 99}, {"n_tokens": 101}, {"n_tokens": "100"},
    {"n_tokens": 1e2}, {"n_tokens": None}, {"n_tokens": 10**18}, {"n_tokens": True}, {"salt": "x"},
    {"salt": 3}, {"key": None}, {"key": []}, {"key": {}},
]  # fmt: skip


@pytest.mark.parametrize("change", HEADERS, ids=lambda change: str(change)[:30])
def test_forged_headers(saved, tmp_path, change):
    file, _, llm = saved
    header, body = parts_of(file.read_bytes())
    forged = change if isinstance(change, bytes) else json.dumps(json.loads(header) | change).encode()
    (tmp_path / "a").write_bytes(signed(forged, body))
    refusal(llm, tmp_path / "a")
    require_whole(llm)


def test_forged_numbers_of_tokens_take_no_memory(saved, tmp_path):
    """A header that asks for gigabytes is refused before these are taken."""
    file, _, llm = saved
    (tmp_path / "a").write_bytes(MAGIC + b"\xff\xff\xff\xff" + file.read_bytes()[len(MAGIC) + 4 :])
    refusal(llm, tmp_path / "a")


def test_ids_outside_the_vocabulary(saved, tmp_path):
    file, ids, llm = saved
    header, body = parts_of(file.read_bytes())
    for bad in (-1, llm.config.n_vocab, 2**31 - 1):
        forged = np.array([*ids[:-1], bad], "<i4").tobytes() + body[400:]
        (tmp_path / "a").write_bytes(signed(header, forged))
        assert "contradicts itself" in refusal(llm, tmp_path / "a")


def test_states_and_pages_that_are_missing(saved, tmp_path):
    """Without what the next token needs a state is of no use."""
    file, _, llm = saved
    key = StateKey.of(llm.scheduler.executor, llm.scheduler.model_hash())
    state = read_state(file, key, llm.n_ctx, llm.config.n_vocab)
    last = state.blocks[-1]
    for block in (replace(last, states=None), replace(last, pages=[None] * len(last.pages))):
        write_state(tmp_path / "a", key, replace(state, blocks=[*state.blocks[:-1], block]))
        assert "contradicts itself" in refusal(llm, tmp_path / "a")
