"""State files that are damaged, forged, or of something else: each is refused, with the reason."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from saved_states import LOADING, SAVING, loaded, require_whole, rows, text
from state_kinds import N_CTX, write_model

import nybble.gguf_io.content_hash as content_hash
from nybble.engine.scheduler.state_file import MAGIC, read_state, write_state
from nybble.engine.scheduler.state_key import StateKey
from nybble.errors import NybbleError, RequestError


@pytest.fixture(scope="module", autouse=True)
def hashes(tmp_path_factory):
    """The hashes of these models are not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_hash, "cache_folder", lambda: tmp_path_factory.getbasetemp() / "cache")
        yield


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("full") / "m.gguf", "full")


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("hybrid") / "m.gguf", "hybrid")


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
